//! Rooms: making one, finding them, seeing one, giving it another topic.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use hubbub_core::ids::{RoomId, UserId};
use hubbub_core::limits::{check_name, check_topic};
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_wire::native::request::BadRequest;

use super::HttpState;
use super::body::Small;
use super::caller::{Reader, Writer};
use super::documented::{for_owner, in_room, problems, signed_in, with_body};
use super::fault::{Fault, bad_field};
use super::params::{InRoom, ListParams, Params, key, limit};
use super::shape::{ListedRoom, MakeRoom, Room, RoomRef, Rooms, SetTopic, need};
use crate::actions::room_id;
use crate::error::Failure;

/// Refuses one who is in as many rooms as one may be, unless this is one of them.
pub async fn one_more_room(state: &HttpState, user: &UserId, room: &RoomId) -> Result<(), Fault> {
    let rooms = state.gateway.asker.rooms_of(user.clone()).await?;
    let full = rooms.len() >= state.gateway.config.rooms_of_user_max;
    match full && !rooms.iter().any(|joined| joined.room == *room) {
        true => Err(Failure::TooManyRooms.into()),
        false => Ok(()),
    }
}

fn bad_text(bad: hubbub_core::limits::BadText) -> Fault {
    BadRequest::from(bad).into()
}

problems!(CreateProblems, Other: signed_in(), with_body("name"),
    [Failure::TooManyRooms.into(), Refusal::RoomTaken.into(), Failure::Unavailable.into()]);

/// Make a room. Its maker is its owner and its first member.
#[utoipa::path(post, path = "/v1/chat/rooms", tag = "rooms", request_body = MakeRoom,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 64,
        description = "A repeat with the same key makes no second room. The body's `key` is the same thing: if both are given they must be equal")),
    responses((status = 200, description = "The room is made", body = RoomRef), CreateProblems))]
pub async fn create(
    State(state): State<HttpState>,
    Writer(user, told): Writer,
    headers: HeaderMap,
    Small(body): Small<MakeRoom>,
) -> Result<Json<RoomRef>, Fault> {
    let name = check_name(&need("name", body.name)?).map_err(bad_text)?;
    let topic = check_topic(body.topic.as_deref().unwrap_or_default()).map_err(bad_text)?;
    let id = room_id(&user.id, key(&headers, body.key.as_deref())?.as_ref());
    one_more_room(&state, &user.id, &id).await?;
    match state.gateway.asker.act(id, user, Verb::Create { name, topic }, told).await? {
        Answer::Made(info) => Ok(Json(RoomRef { id: info.id })),
        Answer::Kept { .. } | Answer::Refused(_) => Err(Fault::Internal),
    }
}

problems!(DirectoryProblems, Other: signed_in(),
    [bad_field("cursor", "cursor is not one that this server gave"), Failure::Unavailable.into()]);

/// The directory: all rooms, the newest first.
#[utoipa::path(get, path = "/v1/chat/rooms", tag = "rooms", params(ListParams),
    responses((status = 200, description = "A page of the directory", body = Rooms), DirectoryProblems))]
pub async fn directory(
    State(state): State<HttpState>,
    _: Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Rooms>, Fault> {
    let limit = limit(params.limit, 50, 200)?;
    let (rooms, next) = state.gateway.asker.directory(params.cursor, limit).await?;
    Ok(Json(Rooms { rooms: rooms.into_iter().map(ListedRoom::from).collect(), next }))
}

problems!(ShowProblems, Other: signed_in(), in_room());

/// One room: name, topic, owner, head of its log, number of members.
#[utoipa::path(get, path = "/v1/chat/rooms/{id}", tag = "rooms", params(("id" = String, Path, description = "The room")),
    responses((status = 200, description = "The room", body = Room), ShowProblems))]
pub async fn show(
    State(state): State<HttpState>,
    _: Reader,
    InRoom(room): InRoom,
) -> Result<Json<Room>, Fault> {
    let (synced, _) = state.gateway.asker.sync(&room, 0, Vec::new()).await?;
    Ok(Json(synced.info.into()))
}

problems!(TopicProblems, Other: signed_in(), in_room(), with_body("topic"), for_owner());

/// Give a room another topic: for its owner.
#[utoipa::path(put, path = "/v1/chat/rooms/{id}/topic", tag = "rooms", request_body = SetTopic,
    params(("id" = String, Path, description = "The room")),
    responses((status = 200, description = "The topic is set", body = RoomRef), TopicProblems))]
pub async fn set_topic(
    State(state): State<HttpState>,
    Writer(user, told): Writer,
    InRoom(room): InRoom,
    Small(body): Small<SetTopic>,
) -> Result<Json<RoomRef>, Fault> {
    let topic = check_topic(&need("topic", body.topic)?).map_err(bad_text)?;
    state.gateway.asker.act(room.clone(), user, Verb::Topic { topic }, told).await?;
    Ok(Json(RoomRef { id: room }))
}

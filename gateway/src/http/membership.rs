//! Who is a member of a room: joining, leaving, removing, listing.

use axum::Json;
use axum::extract::State;
use hubbub_core::ids::UserId;
use hubbub_core::room::{Refusal, Verb};
use hubbub_wire::tier::ephemera::Passing;

use super::HttpState;
use super::caller::{Reader, Writer};
use super::documented::{for_owner, in_room, problems, signed_in};
use super::fault::{Fault, bad_field};
use super::params::{InRoom, InRoomUser, ListParams, Params, limit};
use super::rooms::one_more_room;
use super::shape::{Member, Members, RoomRef};
use crate::error::Failure;

problems!(JoinProblems, Other: signed_in(), in_room(), [Failure::TooManyRooms.into(), Refusal::Full.into()]);

/// Join a room. Joining twice is no error and makes no second entry.
#[utoipa::path(post, path = "/v1/chat/rooms/join/{id}", tag = "membership",
    params(("id" = String, Path, description = "The room")),
    responses((status = 200, description = "A member now, or since earlier", body = RoomRef), JoinProblems))]
pub async fn join(
    State(state): State<HttpState>,
    Writer(user, told): Writer,
    InRoom(room): InRoom,
) -> Result<Json<RoomRef>, Fault> {
    one_more_room(&state, &user.id, &room).await?;
    state.gateway.asker.act(room.clone(), user.clone(), Verb::Join, told).await?;
    if !state.gateway.is_online(&user.id) {
        // Whoever joins is taken to be there.
        state.gateway.publish_passing(&room, Passing::Presence { user, online: false });
    }
    Ok(Json(RoomRef { id: room }))
}

problems!(LeaveProblems, Other: signed_in(), in_room(), [Refusal::NotMember.into()]);

/// Leave a room.
#[utoipa::path(delete, path = "/v1/chat/rooms/leave/{id}", tag = "membership",
    params(("id" = String, Path, description = "The room")),
    responses((status = 200, description = "A member no more", body = RoomRef), LeaveProblems))]
pub async fn leave(
    State(state): State<HttpState>,
    Writer(user, told): Writer,
    InRoom(room): InRoom,
) -> Result<Json<RoomRef>, Fault> {
    state.gateway.asker.act(room.clone(), user, Verb::Leave, told).await?;
    Ok(Json(RoomRef { id: room }))
}

problems!(RemoveProblems, Other: signed_in(), in_room(), for_owner(), [Refusal::NoSuchMember.into()]);

/// Remove a member: for the room's owner.
#[utoipa::path(delete, path = "/v1/chat/rooms/{id}/members/{user}", tag = "membership",
    params(("id" = String, Path, description = "The room"), ("user" = String, Path, description = "Who is to go")),
    responses((status = 200, description = "The user is a member no more", body = RoomRef), RemoveProblems))]
pub async fn remove(
    State(state): State<HttpState>,
    Writer(user, told): Writer,
    InRoomUser(room, member): InRoomUser,
) -> Result<Json<RoomRef>, Fault> {
    state.gateway.asker.act(room.clone(), user, Verb::Kick { member }, told).await?;
    Ok(Json(RoomRef { id: room }))
}

problems!(MembersProblems, Other: signed_in(), in_room(), [bad_cursor()]);

fn bad_cursor() -> Fault {
    bad_field("cursor", "cursor is not one that this server gave")
}

/// The members of a room, and who of them is online.
#[utoipa::path(get, path = "/v1/chat/rooms/{id}/members", tag = "membership",
    params(("id" = String, Path, description = "The room"), ListParams),
    responses((status = 200, description = "A page of members", body = Members), MembersProblems))]
pub async fn members(
    State(state): State<HttpState>,
    _: Reader,
    InRoom(room): InRoom,
    Params(params): Params<ListParams>,
) -> Result<Json<Members>, Fault> {
    let limit = limit(params.limit, 50, 200)?;
    let after = params.cursor.map(|id| UserId::parse(&id)).transpose().map_err(|_| bad_cursor())?;
    let (members, next) = state.gateway.asker.members(room, after, limit).await?;
    let members = state.gateway.with_presence(members).into_iter().map(Member::from).collect();
    Ok(Json(Members { members, next }))
}

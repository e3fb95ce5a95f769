//! A room's log: adding a message to it, reading it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use hubbub_core::ids::{Key, RoomId, User};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_wire::native::request::range;
use hubbub_wire::tier::query::{AFTER_ALL, PAGE_ENTRIES_MAX, Range, Replay};

use super::HttpState;
use super::body::Large;
use super::caller::{Reader, Speaker};
use super::documented::{in_room, problems, signed_in, with_body_up_to};
use super::fault::{Fault, bad_field, unreadable};
use super::params::{HistoryParams, InRoom, Params, key, kinds, limit};
use super::shape::{Commanded, History, Said, Say, Sent, shown};
use crate::bots::{Given, command_in};
use crate::config::Config;
use crate::content::content;
use crate::error::Failure;

problems!(SendProblems, Send: signed_in(), in_room(), with_body_up_to("message", Config::default().frame_bytes_max),
    [Refusal::NotMember.into(), Refusal::RepeatUnknown.into(), Refusal::BeyondHead.into(), Failure::NoBots.into(),
        Failure::BotsAway.into(), unreadable("there is no command /foo; there are /hello=NAME, /stock=CODE")]);

/// Send a message to a room. The answer says that it is kept: durable, and in its place for ever. A text that begins with `/` is a
/// command: it is no message, and the answer says that the bots have it.
#[utoipa::path(post, path = "/v1/chat/rooms/message/{id}", tag = "messages", request_body = Say,
    params(("id" = String, Path, description = "The room"),
        ("Idempotency-Key" = Option<String>, Header, max_length = 64,
            description = "A repeat with the same key, by the same user in the same room, makes no second message and gets the first one's answer. As in the draft of the header it may stand in double quotes. The body's `key` is the same thing: if both are given they must be equal")),
    responses((status = 200, description = "The message is kept, or the bots have the command", body = Said), SendProblems))]
pub async fn send(
    State(state): State<HttpState>,
    Speaker(user, token, told): Speaker,
    InRoom(room): InRoom,
    headers: HeaderMap,
    Large(body): Large<Say>,
) -> Result<Json<Said>, Fault> {
    let (content, key) = (content(body.message, body.image)?, key(&headers, body.key.as_deref())?);
    if let Some(text) = command_in(&content) {
        return command(&state, &user, &token, room, text.to_owned(), key.as_ref()).await;
    }
    let verb = Verb::Send { content, key, after: body.after };
    match state.gateway.asker.act(room.clone(), user, verb, told).await? {
        Answer::Kept { seq, .. } => Ok(Json(Said::Sent(Sent { id: format!("{room}-{seq}"), seq }))),
        Answer::Made(_) | Answer::Refused(_) => Err(Fault::Internal),
    }
}

/// Only members give commands.
async fn command(
    state: &HttpState,
    user: &User,
    token: &Secret,
    room: RoomId,
    text: String,
    key: Option<&Key>,
) -> Result<Json<Said>, Fault> {
    state.gateway.check_member(&room, &user.id).await?;
    let Given { command, notice } = state.gateway.give_command(user, Some(token), room, text, key).await?;
    Ok(Json(Said::Commanded(Commanded { command, notice })))
}

problems!(HistoryProblems, History: signed_in(), in_room(), [bad_field("limit", "limit must be 1 to 1000")]);

/// Read a room's log, in pages. Anyone signed in may.
#[utoipa::path(get, path = "/v1/chat/rooms/{id}/messages", tag = "messages",
    params(("id" = String, Path, description = "The room"), HistoryParams),
    responses((status = 200, description = "A page of the log", body = History<'static>), HistoryProblems))]
pub async fn history(
    State(state): State<HttpState>,
    _: Reader,
    InRoom(room): InRoom,
    Params(params): Params<HistoryParams>,
) -> Result<Response, Fault> {
    let range = match (params.before, params.after) {
        (None, None) => Range::Before(AFTER_ALL),
        (before, after) => range(before, after)?,
    };
    let limit = limit(params.limit, 50, PAGE_ENTRIES_MAX)?;
    let replay = Replay { room, range, limit, kinds: kinds(params.kinds.as_deref())?, read_to: None };
    let page = state.gateway.asker.replay(replay).await?;
    let entries = page.entries.iter().map(shown).collect::<Result<_, _>>()?;
    let (more, next, first) = (page.more, page.next, page.first);
    Ok(Json(History { entries, more, next, first }).into_response())
}

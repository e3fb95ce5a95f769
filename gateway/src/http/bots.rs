//! The commands that bots have announced.

use axum::Json;
use axum::extract::State;

use super::HttpState;
use super::caller::Reader;
use super::documented::{problems, signed_in};
use super::fault::Fault;
use super::shape::Commands;
use crate::error::Failure;

problems!(CommandsProblems, Other: signed_in(), [Failure::Unavailable.into()]);

/// The commands that bots have announced. A bot may have others, unless it announced some.
#[utoipa::path(get, path = "/v1/bots/commands", tag = "messages",
    responses((status = 200, description = "All commands, by their names", body = Commands), CommandsProblems))]
pub async fn commands(State(state): State<HttpState>, _: Reader) -> Result<Json<Commands>, Fault> {
    let commands = state.gateway.asker.commands().await?;
    Ok(Json(Commands { commands: commands.into_iter().map(Into::into).collect() }))
}

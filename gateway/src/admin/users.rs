//! Users: where they have been, calling a token back, and who may not come in at all.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hubbub_core::code::Code;
use hubbub_core::ids::{RoomId, UserId};
use hubbub_core::ports::accounts::{AccountsError, Secret};
use hubbub_core::ports::bans::{Ban, REASON_CHARS_MAX};
use hubbub_core::ports::bus::Subject;
use hubbub_core::ports::store::StoreError;
use hubbub_wire::admin::{self, Reason, Revoke, Revoked, RoomsOfUser};
use hubbub_wire::tier::control::Control;
use hubbub_wire::tier::parcel;
use serde::Deserialize;

use super::guard::{On, Operator};
use super::{Admin, refusal};
use crate::error::Failure;
use crate::http::body::Small;
use crate::http::fault::{Fault, bad_field};
use crate::http::params::{Params, limit};
use crate::revoked::done_to_its_end;

/// Most rooms of one page.
const ROOMS_MAX: u32 = 1_000;

/// A page of a user's rooms.
#[derive(Deserialize)]
pub(super) struct RoomParams {
    /// After this room.
    after: Option<RoomId>,
    /// At most so many.
    limit: Option<u32>,
}

/// The rooms that a user is or was a member of: only there a person can have said something.
pub(super) async fn rooms(
    State(admin): State<Admin>,
    Who(user): Who,
    Params(RoomParams { after, limit: given }): Params<RoomParams>,
) -> Result<Json<RoomsOfUser>, Fault> {
    let limit = limit(given, 50, ROOMS_MAX)?;
    let (rooms, next) = admin.gateway.asker.rooms_ever_of(user, after, limit).await?;
    Ok(Json(RoomsOfUser { rooms, next }))
}

/// Calls a token back.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    Small(Revoke { token }): Small<Revoke>,
) -> Result<Response, Fault> {
    let token = Secret::new(token.trim().to_owned());
    // Of a banned user as well, so not the gateway's own check.
    let account = match admin.gateway.accounts.validate(&token).await {
        Ok(account) => account,
        Err(AccountsError::InvalidToken) => {
            let message = "this is no valid access token, or it has ended: there is nothing to call back";
            return Err(refusal(Code::BadRequest, Some("token"), message));
        }
        Err(error) => return Err(error.into()),
    };
    let (user, until) = (account.user.id, account.expires_at);
    admin.gateway.revoke(user.clone(), &token, until).await?;
    Ok((Extension(On(user.to_string())), Json(Revoked { user, until })).into_response())
}

/// All who are banned.
pub(super) async fn bans(State(admin): State<Admin>) -> Result<Json<admin::Bans>, Fault> {
    let bans = admin.ports.bans.bans().await.map_err(unavailable)?;
    Ok(Json(admin::Bans { bans: bans.into_iter().map(shown).collect() }))
}

/// Bans a user. What is kept counts, whether or not the other gateways can be told just now: they read it again.
pub(super) async fn ban(
    State(admin): State<Admin>,
    Extension(Operator(by)): Extension<Operator>,
    user: Who,
    Small(Reason { reason }): Small<Reason>,
) -> Result<Json<admin::Ban>, Fault> {
    let Who(user) = user;
    if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        let message = format!("reason may have up to {REASON_CHARS_MAX} characters, in one line");
        return Err(bad_field("reason", message));
    }
    let ban = Ban { user: user.clone(), at: SystemTime::now().into(), by, reason };
    let kept = ban.clone();
    done_to_its_end(async move {
        admin.ports.bans.put_ban(kept).await.map_err(unavailable)?;
        admin.gateway.banned.ban(user.clone());
        admin.gateway.close_banned(&user);
        admin.tell(&Control::Banned { user });
        Ok(())
    })
    .await?;
    Ok(Json(shown(ban)))
}

/// Lifts a ban. One that is not there is no error.
pub(super) async fn unban(State(admin): State<Admin>, user: Who) -> Result<StatusCode, Fault> {
    let Who(user) = user;
    done_to_its_end(async move {
        admin.ports.bans.lift_ban(user.clone()).await.map_err(unavailable)?;
        admin.gateway.banned.lift(&user);
        admin.tell(&Control::BanLifted { user });
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Admin {
    fn tell(&self, control: &Control) {
        if let Err(error) = self.gateway.bus.publish(&Subject::Control, parcel::pack(control).into()) {
            tracing::warn!(%error, "the other nodes were not told of a ban; they read it again within seconds");
        }
    }
}

/// The user in the path.
pub(super) struct Who(UserId);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Who {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, Fault> {
        let bad = || bad_field("user", "a user's id is 1 to 64 of A-Z a-z 0-9 _ -");
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| bad())?;
        UserId::parse(&id).map(Self).map_err(|_| bad())
    }
}

fn shown(ban: Ban) -> admin::Ban {
    admin::Ban { user: ban.user, at: ban.at, by: ban.by, reason: ban.reason }
}

fn unavailable(error: StoreError) -> Failure {
    match error {
        StoreError::Unavailable { inside } => tracing::warn!(inside, "bans can't be read or kept just now"),
        StoreError::Damaged { what } => tracing::error!(what, "the store is damaged"),
    }
    Failure::Unavailable
}

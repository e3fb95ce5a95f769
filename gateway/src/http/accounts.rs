//! Built-in accounts: making one, logging in; and who a token stands for, as an account service would answer.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use hubbub_core::ports::accounts::{AccountsError, BuiltInAccounts, CommandRight, Registration, Role};

use super::HttpState;
use super::body::Small;
use super::caller::{Stranger, token};
use super::documented::{problems, with_body, with_token};
use super::fault::Fault;
use super::shape::{LogIn, LoggedOut, Register, Registered, Token, Validated, WhereAccountsAre, need};
use crate::error::Failure;

fn built_in(state: &HttpState) -> Result<&dyn BuiltInAccounts, Fault> {
    state.gateway.accounts.built_in().ok_or(Fault::AccountsElsewhere)
}

fn too_many() -> Fault {
    AccountsError::RateLimited { retry_after: std::time::Duration::from_secs(30) }.into()
}

/// Where accounts are: a page asks before it shows a form that nobody could fill in.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", security(()),
    responses((status = 200, description = "Here or elsewhere", body = WhereAccountsAre)))]
pub async fn whereabouts(State(state): State<HttpState>) -> Json<WhereAccountsAre> {
    Json(WhereAccountsAre { built_in: built_in(&state).is_ok() })
}

problems!(RegisterProblems, Accounts:
    with_body("email"), [AccountsError::AddressTaken.into(), too_many(), Fault::AccountsElsewhere, Failure::Unavailable.into()]);

/// Make an account.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", security(()), request_body = Register,
    responses((status = 201, description = "The account is made", body = Registered), RegisterProblems))]
pub async fn register(
    State(state): State<HttpState>,
    Stranger(from): Stranger,
    Small(body): Small<Register>,
) -> Result<(StatusCode, Json<Registered>), Fault> {
    // First of all: who is told of one wrong field after the other should not learn this in the end.
    let accounts = built_in(&state)?;
    let registration = Registration {
        name: need("name", body.name)?,
        email: need("email", body.email)?,
        password: need("password", body.password)?,
    };
    let user = accounts.register(registration, from).await?;
    Ok((StatusCode::CREATED, Json(Registered { id: user.id, name: user.name })))
}

problems!(LogInProblems, Accounts:
    with_body("email"), [AccountsError::InvalidCredentials.into(), Failure::Banned.into(), too_many(), Fault::AccountsElsewhere, Failure::Unavailable.into()]);

/// Log in: an access token for address and password.
#[utoipa::path(post, path = "/v1/accounts/login", tag = "accounts", security(()), request_body = LogIn,
    responses((status = 200, description = "An access token", body = Token), LogInProblems))]
pub async fn log_in(
    State(state): State<HttpState>,
    Stranger(from): Stranger,
    Small(body): Small<LogIn>,
) -> Result<Json<Token>, Fault> {
    let accounts = built_in(&state)?;
    let (email, password) = (need("email", body.email)?, need("password", body.password)?);
    let token = accounts.log_in(email, password, from).await?;
    // Only now is it known who that is.
    state.gateway.validate(&token).await?;
    Ok(Json(Token { token: token.reveal().to_owned() }))
}

problems!(ValidateProblems, Accounts: with_token(), [Failure::Banned.into()]);

/// Who an access token stands for: the answer of an account service. Of a token that came to a bot with a command: who gave it, and
/// where.
#[utoipa::path(get, path = "/v1/accounts/validate", tag = "accounts",
    responses((status = 200, description = "The token is valid", body = Validated), ValidateProblems))]
pub async fn validate(State(state): State<HttpState>, headers: HeaderMap) -> Result<Json<Validated>, Fault> {
    let token = token(&headers)?;
    let right = state.gateway.accounts.built_in().and_then(|accounts| accounts.check_command_token(&token));
    let (user, roles, of_command) = match right {
        Some(CommandRight { user, room, command }) => (user, Vec::new(), Some((room, command))),
        None => {
            // Not `authenticate`: a bot's token is valid too, though a bot may not chat.
            let (account, _) = state.gateway.validate(&token).await?;
            (account.user, account.roles, None)
        }
    };
    let now = std::time::Instant::now();
    state.gateway.reads.check(&user.id, now).map_err(Failure::TooQuick)?;
    let kind = if roles.contains(&Role::Bot) { BOT } else { PERSON };
    let (chatroom, command) = of_command.unzip();
    Ok(Json(Validated { user: user.id, name: user.name, kind, roles, chatroom, command }))
}

problems!(LogOutProblems, Accounts:
    with_token(), [Failure::Banned.into(), Fault::AccountsElsewhere, Failure::Unavailable.into()]);

/// Log out: the access token that comes with the request is refused from now on, and its connections are closed.
#[utoipa::path(post, path = "/v1/accounts/logout", tag = "accounts",
    responses((status = 200, description = "The token is refused", body = LoggedOut), LogOutProblems))]
pub async fn log_out(State(state): State<HttpState>, headers: HeaderMap) -> Result<Json<LoggedOut>, Fault> {
    let token = token(&headers)?;
    // Whoever gives the tokens calls them back.
    built_in(&state)?;
    let (account, _) = state.gateway.validate(&token).await?;
    let now = std::time::Instant::now();
    state.gateway.reads.check(&account.user.id, now).map_err(Failure::TooQuick)?;
    state.gateway.revoke(account.user.id, &token, account.expires_at).await?;
    Ok(Json(LoggedOut { until: account.expires_at }))
}

const PERSON: u8 = 1;
const BOT: u8 = 3;

//! Why an HTTP request failed: the one table of what can be wrong, and how it shows.
//!
//! A handler returns a [`Fault`]. It travels in the response's extensions to [`render`](super::render), which knows the
//! request's path, and so what was attempted, and writes the [document](super::problem).

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hubbub_core::code::Code;
use hubbub_core::ports::accounts::AccountsError;
use hubbub_core::room::Refusal;
use hubbub_wire::native::request::BadRequest;
pub use hubbub_wire::seed::Attempt;
use hubbub_wire::seed::{self, ErrorNumber};

use crate::error::Failure;

/// What a request to this path attempts.
pub fn attempt_of(path: &str) -> Attempt {
    if path.starts_with("/v1/chat/rooms/message/") {
        Attempt::Send
    } else if path.starts_with("/v1/chat/rooms/") && path.ends_with("/messages") {
        Attempt::History
    } else if path.starts_with("/v1/accounts") {
        Attempt::Accounts
    } else {
        Attempt::Other
    }
}

/// A request over HTTP that failed: as over any door, or in a way that only HTTP knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// As over any door.
    Failed(Failure),
    /// A request that needs an access token, and has none that can be read.
    NoToken,
    /// Nothing is at this path.
    NoSuchPath,
    /// Something is at this path, but not for this method; `Allow` says for which.
    MethodNotAllowed,
    /// The body is not said to be JSON.
    NotJson,
    /// The body is larger than this many bytes.
    BodyTooLarge(usize),
    /// The body did not come in time.
    BodyTooSlow,
    /// Accounts are made and logged in to elsewhere.
    AccountsElsewhere,
    /// A defect on our side; the log knows more.
    Internal,
}

/// What all faults of one kind have in common.
pub struct KindOf {
    /// The last part of the problem's `type`.
    pub name: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// The protocol's code.
    pub code: Code,
    /// The problem's `title`.
    pub title: &'static str,
}

impl Fault {
    /// The kind, which never changes: clients may depend on it.
    pub fn kind(&self) -> KindOf {
        let kind = |name, status, code, title| KindOf { name, status, code, title };
        match self {
            Self::Failed(failure) => of_code(failure.code()),
            Self::NoToken => of_code(Code::Unauthorized),
            Self::Internal => of_code(Code::Internal),
            Self::BodyTooLarge(_) => of_code(Code::TooLarge),
            Self::NoSuchPath => {
                kind("no_such_path", StatusCode::NOT_FOUND, Code::BadRequest, "Nothing is at this path")
            }
            Self::MethodNotAllowed => kind(
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                Code::BadRequest,
                "This path does not take this method",
            ),
            Self::NotJson => kind(
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::BadRequest,
                "The body must be JSON",
            ),
            Self::BodyTooSlow => kind(
                "request_timeout",
                StatusCode::REQUEST_TIMEOUT,
                Code::BadRequest,
                "The body did not come in time",
            ),
            Self::AccountsElsewhere => kind(
                "accounts_elsewhere",
                StatusCode::NOT_FOUND,
                Code::BadRequest,
                "Accounts are made and logged in to at another service",
            ),
        }
    }

    /// All kinds.
    pub fn kinds() -> impl Iterator<Item = KindOf> {
        let only_here = [
            Self::NoSuchPath,
            Self::MethodNotAllowed,
            Self::NotJson,
            Self::BodyTooSlow,
            Self::AccountsElsewhere,
        ];
        Code::ALL.into_iter().map(of_code).chain(only_here.map(|fault| fault.kind()))
    }

    /// This very one, in a sentence for a person.
    pub fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::Failed(failure) => failure.message(),
            Self::NoToken => "send an access token as `Authorization: Bearer TOKEN`".into(),
            Self::NoSuchPath => "the paths there are stand in /openapi.json".into(),
            Self::MethodNotAllowed => "the header Allow names the methods that this path takes".into(),
            Self::NotJson => "send JSON, and say so: `Content-Type: application/json`".into(),
            Self::BodyTooLarge(max) => format!("the body may have up to {max} bytes").into(),
            Self::BodyTooSlow => "the body must follow its header without a long pause".into(),
            Self::AccountsElsewhere => {
                "this server checks tokens of an account service: register and log in there".into()
            }
            Self::Internal => "this is a defect of the server; its log says more".into(),
        }
    }

    /// The number that the seed gave such a failure.
    pub fn seed_number(&self, attempt: Attempt) -> ErrorNumber {
        match self {
            Self::Failed(Failure::Accounts(
                AccountsError::AddressTaken
                | AccountsError::BadField { .. }
                | AccountsError::RateLimited { .. },
            ))
            | Self::AccountsElsewhere => seed::ACCOUNTS_REFUSED,
            Self::Failed(failure) => failure.seed_number(attempt),
            Self::NoToken => seed::INVALID_TOKEN,
            _ => attempt.number(),
        }
    }

    /// When to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(failure) => failure.retry_after(),
            _ => None,
        }
    }

    /// The challenge that goes with a 401.
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Failed(Failure::Accounts(AccountsError::InvalidToken)) => {
                Some("Bearer error=\"invalid_token\"")
            }
            fault => (fault.kind().status == StatusCode::UNAUTHORIZED).then_some("Bearer"),
        }
    }
}

fn of_code(code: Code) -> KindOf {
    let title = match code {
        Code::BadRequest => "The request can't be read, or a field of it is wrong",
        Code::Unauthorized => "The access token or the password is not valid",
        Code::Forbidden => "This user may not do this",
        Code::NotMember => "Only members of the room may do this",
        Code::NoSuchRoom => "There is no such room",
        Code::TooLarge => "Over a limit of size",
        Code::RateLimited => "Too many requests",
        Code::Conflict => "At odds with what is there already",
        Code::Unavailable => "Not possible just now",
        Code::Internal => "A defect on the server's side",
    };
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    KindOf { name: code.as_str(), status, code, title }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.kind().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl<F: Into<Failure>> From<F> for Fault {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// There is no such room: also for an id that is no id.
pub fn no_such_room() -> Fault {
    Refusal::NoSuchRoom.into()
}

/// A field of the request is wrong.
pub fn bad_field(field: &'static str, message: impl Into<String>) -> Fault {
    BadRequest { code: Code::BadRequest, field: Some(field), message: message.into() }.into()
}

/// The request can't be read.
pub fn unreadable(message: impl Into<String>) -> Fault {
    BadRequest { code: Code::BadRequest, field: None, message: message.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_numbers_a_failure_by_what_was_attempted() {
        let number = |fault: Fault, path| fault.problem(attempt_of(path)).error;
        let (send, history) = ("/v1/chat/rooms/message/r", "/v1/chat/rooms/r/messages");
        let not_member = || Fault::from(Refusal::NotMember);
        assert_eq!(number(not_member(), send), 602);
        assert_eq!(number(not_member(), "/v1/chat/rooms/leave/r"), 500);
        assert_eq!(number(Failure::Unavailable.into(), history), 604);
        assert_eq!(number(no_such_room(), send), 600);
        assert_eq!(number(no_such_room(), history), 600);
        assert_eq!(number(Fault::NoToken, send), 1000);
        assert_eq!(number(AccountsError::InvalidCredentials.into(), "/v1/accounts/login"), 1001);
        assert_eq!(number(Failure::RoleMissing.into(), send), 1002);
        let away = AccountsError::Unavailable { inside: "connection refused".into() };
        assert_eq!(number(away.into(), history), 1003);
        assert_eq!(number(AccountsError::AddressTaken.into(), "/v1/accounts"), 1004);
        assert_eq!(number(Fault::NotJson, "/v1/accounts"), 1004);
        assert_eq!(number(Fault::NoSuchPath, "/x"), 500);
    }

    #[test]
    fn what_is_for_the_log_stays_out_of_the_document() {
        let away = AccountsError::Unavailable { inside: "10.0.0.7 refused".into() };
        let shown = serde_json::to_string(&Fault::from(away).problem(Attempt::Accounts)).unwrap();
        assert!(!shown.contains("10.0.0.7"), "{shown}");
    }

    #[test]
    fn a_401_always_challenges() {
        let faults = [
            Fault::NoToken,
            AccountsError::InvalidToken.into(),
            AccountsError::InvalidCredentials.into(),
            Failure::NotAuthenticated.into(),
        ];
        for fault in faults {
            assert_eq!(fault.kind().status, 401);
            assert!(fault.challenge().is_some_and(|c| c.starts_with("Bearer")), "{fault:?}");
        }
        assert_eq!(Fault::NoSuchPath.challenge(), None);
    }
}

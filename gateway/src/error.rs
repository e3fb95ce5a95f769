//! Why a request failed: once for a person, once for the wire, once for the metrics.

use std::borrow::Cow;
use std::time::Duration;

use hubbub_core::code::Code;
use hubbub_core::ports::accounts::AccountsError;
use hubbub_core::ports::bus::BusError;
use hubbub_core::room::Refusal;
use hubbub_wire::native::request::BadRequest;
use hubbub_wire::seed::{self, Attempt, ErrorNumber};
use hubbub_wire::tier::parcel::BadParcel;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It can't be read, or a field is wrong.
    #[error("{}", .0.message)]
    Bad(BadRequest),
    /// The room does not do it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The account service says no, or nothing.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// Say hello first.
    #[error("say hello with an access token first")]
    NotAuthenticated,
    /// The account may not chat.
    #[error("this account may not chat: it has no role `user`")]
    RoleMissing,
    /// An operator banned the user.
    #[error("this user is banned from this server")]
    Banned,
    /// The connection belongs to somebody else.
    #[error("this connection belongs to another user; open a new one")]
    OtherUser,
    /// A page of another origin.
    #[error("pages of this origin may not connect; the operator can allow it")]
    OriginForbidden,
    /// As many rooms as one may be in.
    #[error("you are in as many rooms as one user may be; leave one first")]
    TooManyRooms,
    /// Too quick.
    #[error("too many requests; wait a moment")]
    TooQuick(Duration),
    /// A command, and no bot to take it.
    #[error("commands are not available: no bots are connected to this server")]
    NoBots,
    /// A command, and the bots can't be reached.
    #[error("the bots can't be reached just now; try again later")]
    BotsAway,
    /// There is too much to carry already.
    #[error("this server has as much to carry as it can; try again later")]
    Busy(Duration),
    /// Nobody could do it in time; whether it was done is unknown.
    #[error("this can't be done just now; try again with the same key")]
    Unavailable,
}

impl Failure {
    /// The code on the wire, which is also the metric's label.
    pub fn code(&self) -> Code {
        match self {
            Self::Bad(bad) => bad.code,
            Self::Refused(refusal) => refusal.code(),
            Self::Accounts(error) => match error {
                AccountsError::InvalidToken | AccountsError::InvalidCredentials => Code::Unauthorized,
                AccountsError::AddressTaken => Code::Conflict,
                AccountsError::BadField { is_long: true, .. } => Code::TooLarge,
                AccountsError::BadField { .. } => Code::BadRequest,
                AccountsError::RateLimited { .. } => Code::RateLimited,
                AccountsError::Unavailable { .. } => Code::Unavailable,
            },
            Self::NotAuthenticated => Code::Unauthorized,
            Self::RoleMissing
            | Self::Banned
            | Self::OtherUser
            | Self::TooManyRooms
            | Self::OriginForbidden => Code::Forbidden,
            Self::TooQuick(_) => Code::RateLimited,
            Self::NoBots | Self::BotsAway | Self::Busy(_) | Self::Unavailable => Code::Unavailable,
        }
    }

    /// The sentence for a person.
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Bad(bad) => Cow::Borrowed(&bad.message),
            other => Cow::Owned(other.to_string()),
        }
    }

    /// The field that is wrong.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Bad(bad) => bad.field,
            Self::Accounts(AccountsError::BadField { field, .. }) => Some(field),
            _ => None,
        }
    }

    /// When to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooQuick(after)
            | Self::Busy(after)
            | Self::Accounts(AccountsError::RateLimited { retry_after: after }) => Some(*after),
            Self::BotsAway => Some(Duration::from_secs(5)),
            Self::Unavailable | Self::Accounts(AccountsError::Unavailable { .. }) => {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    /// The number by which the system that this one replaces named such an error.
    pub fn seed_number(&self, attempt: Attempt) -> ErrorNumber {
        match self {
            Self::Accounts(AccountsError::InvalidToken) | Self::NotAuthenticated => seed::INVALID_TOKEN,
            Self::Accounts(AccountsError::InvalidCredentials) => seed::INVALID_CREDENTIALS,
            Self::RoleMissing | Self::Banned => seed::ROLE_MISSING,
            Self::Accounts(AccountsError::Unavailable { .. }) => seed::ACCOUNTS_AWAY,
            Self::Refused(Refusal::NoSuchRoom) => seed::NO_SUCH_ROOM,
            _ => attempt.number(),
        }
    }
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        tracing::debug!(%error, "the bus did not bring an answer");
        Self::Unavailable
    }
}

impl From<BadParcel> for Failure {
    fn from(error: BadParcel) -> Self {
        tracing::error!(%error, "a tier answered what can't be read");
        Self::Unavailable
    }
}

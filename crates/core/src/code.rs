//! The one table of error codes and close codes: what each means, whether to try again, how it shows
//! over HTTP, and the label it is counted under. Documents and tests follow this file.

use serde::{Deserialize, Serialize};

/// An error code of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request can't be read, or a field of it is wrong.
    BadRequest,
    /// No valid token.
    Unauthorized,
    /// A valid user, but not for this.
    Forbidden,
    /// Only members of the room may do this.
    NotMember,
    /// There is no such room.
    NoSuchRoom,
    /// Over a limit of size.
    TooLarge,
    /// Too many requests; `retry_after_ms` says when to come back.
    RateLimited,
    /// At odds with what is there already.
    Conflict,
    /// Can't be done now, and whether it was done is not known: retry with the same key.
    Unavailable,
    /// A defect on our side.
    Internal,
}

impl Code {
    /// All of them, in the order of the protocol page.
    pub const ALL: [Code; 10] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotMember,
        Self::NoSuchRoom,
        Self::TooLarge,
        Self::RateLimited,
        Self::Conflict,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code on the wire, which is also its metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotMember => "not_member",
            Self::NoSuchRoom => "no_such_room",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn retry(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable)
    }

    /// The HTTP status it goes with.
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::NotMember => 403,
            Self::NoSuchRoom => 404,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Conflict => 409,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// Why the server closes a connection: the code of its close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: the client closed, and we agree.
    Normal,
    /// 1001: this node is going away; connect again after the delay in `bye`.
    GoingAway,
    /// 1002: the client broke the WebSocket protocol.
    ProtocolError,
    /// 1007: a text that is not UTF-8.
    InvalidText,
    /// 1008: the client broke a rule of ours.
    Policy,
    /// 1009: a frame or message over the limit.
    TooBig,
    /// 1013: full just now; try again later.
    TryAgainLater,
    /// 4401: the token is not valid, or not any more.
    NotAuthenticated,
    /// 4408: no `hello` in time.
    AuthenticationTimeout,
    /// 4413: the client reads too slowly; connect again and resume.
    SlowConsumer,
    /// 4429: too many connections or requests.
    TooMany,
}

impl CloseCode {
    /// All of them, by their number.
    pub const ALL: [CloseCode; 11] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::InvalidText,
        Self::Policy,
        Self::TooBig,
        Self::TryAgainLater,
        Self::NotAuthenticated,
        Self::AuthenticationTimeout,
        Self::SlowConsumer,
        Self::TooMany,
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::InvalidText => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::TryAgainLater => 1013,
            Self::NotAuthenticated => 4401,
            Self::AuthenticationTimeout => 4408,
            Self::SlowConsumer => 4413,
            Self::TooMany => 4429,
        }
    }

    /// The reason, for `bye`, the close frame and the metric label.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::InvalidText => "invalid_text",
            Self::Policy => "policy",
            Self::TooBig => "too_big",
            Self::TryAgainLater => "try_again_later",
            Self::NotAuthenticated => "not_authenticated",
            Self::AuthenticationTimeout => "authentication_timeout",
            Self::SlowConsumer => "slow_consumer",
            Self::TooMany => "too_many",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_word_in_json_and_in_metrics() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
    }
}

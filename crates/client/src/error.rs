//! Why a request has no good answer.

use std::time::Duration;

use hubbub_core::code::Code;
use serde::Deserialize;

/// Why a request failed. A variant for each thing a caller would do differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server said no; nothing was done, unless [`Refusal::known_code`] is `unavailable`.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer in time. Whether it was done is unknown: ask again with the same key.
    #[error("no answer before the deadline; whether it was done is not known")]
    Deadline,
    /// The connection was lost before the answer and was not to be made again. Whether it was done is unknown.
    #[error("the connection is closed (code {code:?}, reason {reason:?})")]
    Closed {
        /// The close frame's code; `None` when the socket just ended.
        code: Option<u16>,
        /// The close frame's reason, or what the system said.
        reason: String,
    },
    /// The server could not be reached or did not upgrade the connection.
    #[error("can't connect: {reason}")]
    Connect {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What happened.
        reason: String,
    },
    /// The answer can't be read.
    #[error("the answer can't be read: {0}")]
    BadAnswer(String),
}

impl Error {
    /// The code of a refusal, if it is one that we know.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refusal) => refusal.known_code(),
            _ => None,
        }
    }

    /// Whether it is unknown if the action was done.
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Deadline | Self::Closed { .. } | Self::BadAnswer(_) => true,
            Self::Refused(refusal) => refusal.known_code() == Some(Code::Unavailable),
            Self::Connect { .. } => false,
        }
    }
}

/// The server's `error`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The code as it came.
    pub code: String,
    /// For a person.
    #[serde(default)]
    pub message: String,
    /// Milliseconds after which the same request may succeed.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// The field that is wrong.
    #[serde(default)]
    pub field: Option<String>,
}

impl Refusal {
    /// The code, if it is in our table.
    pub fn known_code(&self) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == self.code)
    }

    /// When to come back.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

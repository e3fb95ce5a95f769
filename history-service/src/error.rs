//! Why a read found nothing to answer with.

use hubbub_core::chain::BrokenChain;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::store::StoreError;
use hubbub_wire::tier::parcel::BadParcel;
use hubbub_wire::tier::query::Found;

use crate::metrics;

/// Why a read found nothing to answer with. Cloned for each of those who wait for one read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody made the room.
    #[error("there is no such room")]
    NoSuchRoom,
    /// Not a cursor of ours.
    #[error("the cursor is not one of ours")]
    BadCursor,
    /// A part of a log that was vouched for is not there, or can't be read. Someone must look.
    #[error("the log of room {room} is damaged: {what}")]
    Damaged {
        /// Whose.
        room: RoomId,
        /// What was found.
        what: String,
    },
    /// The lists of the store can't be read. Someone must look.
    #[error("the store is damaged: {0}")]
    DamagedStore(String),
    /// The store is away.
    #[error("the store is not available: {0}")]
    Store(String),
    /// The room's holder can't be asked.
    #[error("the holder of the room can't be asked: {0}")]
    Holder(String),
    /// Too many reads wait for holders, or for that of the room's partition.
    #[error("too many reads wait for holders")]
    Full,
    /// The question can't be read.
    #[error("the question can't be read: {0}")]
    Unreadable(String),
    /// It took too long.
    #[error("no answer in time")]
    TooSlow,
}

impl Failure {
    pub(crate) fn broken(room: &RoomId, chain: &BrokenChain) -> Self {
        Self::Damaged { room: room.clone(), what: chain.to_string() }
    }

    pub(crate) fn missing(room: &RoomId, seq: u64) -> Self {
        Self::Damaged { room: room.clone(), what: format!("the committed entry {} is missing", Seq(seq)) }
    }

    pub(crate) fn of_log(room: &RoomId, error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { inside } => Self::Store(inside),
            StoreError::Damaged { what } => Self::Damaged { room: room.clone(), what },
        }
    }

    /// What the asker is told: damage is for us to know.
    pub(crate) fn told(&self) -> Found {
        match self {
            Self::NoSuchRoom => Found::NoSuchRoom,
            Self::BadCursor => Found::BadCursor,
            Self::Damaged { .. }
            | Self::DamagedStore(_)
            | Self::Store(_)
            | Self::Holder(_)
            | Self::Full
            | Self::Unreadable(_)
            | Self::TooSlow => Found::Unavailable,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::NoSuchRoom => "no_such_room",
            Self::BadCursor => "bad_cursor",
            Self::Damaged { .. } | Self::DamagedStore(_) => "damaged",
            Self::Store(_) => "store",
            Self::Holder(_) => "holder",
            Self::Full => "full",
            Self::Unreadable(_) => "unreadable",
            Self::TooSlow => "too_slow",
        }
    }

    /// Counts it, and tells those who have to know.
    pub(crate) fn log(&self) {
        metrics::count(self.label());
        match self {
            // Of a full service only the metric tells: lines would be as many as reads.
            Self::NoSuchRoom | Self::BadCursor | Self::Full => {}
            Self::Damaged { .. } | Self::DamagedStore(_) => {
                tracing::error!(failure = %self, "a read found damage")
            }
            Self::Store(_) | Self::Holder(_) | Self::Unreadable(_) | Self::TooSlow => {
                tracing::warn!(failure = %self, "a read failed");
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { inside } => Self::Store(inside),
            StoreError::Damaged { what } => Self::DamagedStore(what),
        }
    }
}

impl From<BadParcel> for Failure {
    fn from(bad: BadParcel) -> Self {
        Self::Unreadable(bad.to_string())
    }
}

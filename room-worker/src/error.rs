//! Why a room can't be opened.

use hubbub_core::chain::BrokenChain;
use hubbub_core::ids::{Epoch, RoomId, Seq};
use hubbub_core::ports::store::StoreError;

/// Why a room can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer holder has written to the room: this one is fenced.
    #[error("the room has a segment of a newer epoch, {0}")]
    Fenced(Epoch),
    /// The log or what is said about it does not hold together. Someone must look; nothing is written.
    #[error("the log of room {room} is damaged: {what}")]
    Damaged {
        /// Whose.
        room: RoomId,
        /// What was found.
        what: String,
    },
    /// Not now.
    #[error("the store is not available: {inside}")]
    Unavailable {
        /// What the product said.
        inside: String,
    },
}

impl OpenError {
    pub(crate) fn broken(room: &RoomId, chain: &BrokenChain) -> Self {
        Self::Damaged { room: room.clone(), what: chain.to_string() }
    }

    pub(crate) fn missing(room: &RoomId, seq: Seq) -> Self {
        Self::Damaged { room: room.clone(), what: format!("the committed entry {seq} is missing") }
    }

    pub(crate) fn of(room: &RoomId, error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { inside } => Self::Unavailable { inside },
            StoreError::Damaged { what } => Self::Damaged { room: room.clone(), what },
        }
    }
}

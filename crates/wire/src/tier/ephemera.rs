//! What gateways tell each other of a room that nobody keeps: who writes, who is there.

use hubbub_core::ids::{RoomId, User};
use serde::{Deserialize, Serialize};

/// Something that passes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ephemeron {
    /// In which room.
    pub room: RoomId,
    /// What.
    pub what: Passing,
}

/// What passes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passing {
    /// The user writes, or stopped.
    Typing {
        /// Who.
        user: User,
        /// Whether they write.
        on: bool,
    },
    /// The user's first connection opened, or the last one closed.
    Presence {
        /// Who.
        user: User,
        /// Whether they are there.
        online: bool,
    },
}

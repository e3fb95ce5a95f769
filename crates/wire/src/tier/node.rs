//! Signs of life that nodes give each other.

use hubbub_core::ids::NodeId;
use serde::{Deserialize, Serialize};

/// What a node does. In the all-in-one one node does all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Holds sockets.
    Gateway,
    /// Writes rooms.
    RoomWorker,
    /// Answers reads.
    HistoryService,
    /// Hands commands to bots.
    BotBridge,
}

/// A node lives. Said every [`HEARTBEAT_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Which one: another at each start.
    pub node: NodeId,
    /// What it does.
    pub tier: Tier,
    /// It ends: from now on nobody counts on it. The last word of a node that ends in order.
    pub leaving: bool,
}

/// Time between two signs of life, in milliseconds.
pub const HEARTBEAT_MS: u64 = 500;
/// Silence after which a node counts as dead, in milliseconds.
pub const SILENCE_MAX_MS: u64 = 2_500;

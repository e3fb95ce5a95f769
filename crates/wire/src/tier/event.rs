//! What a room's holder publishes.

use std::sync::Arc;

use hubbub_core::ids::{Epoch, LogId, RoomId, Seq, User, UserId};
use serde::{Deserialize, Serialize};

/// Header of a batch of consecutive entries; they follow it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// Which room's.
    pub room: RoomId,
    /// Which log's.
    pub log: LogId,
    /// By which holder.
    pub epoch: Epoch,
    /// How many members the room has after the batch.
    pub members: u64,
}

/// Where the logs of a partition's busy rooms end, said once a second: how a reader finds that it missed the *last* entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heads {
    /// Which log's.
    pub log: LogId,
    /// By which holder.
    pub epoch: Epoch,
    /// Rooms, and the last committed entry of each.
    pub heads: Vec<(RoomId, Seq)>,
}

/// A user became a member of a room: for gateways that have the user but not the room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    /// The room.
    pub room: RoomId,
    /// Who.
    pub user: User,
    /// The entry that says so.
    pub seq: Seq,
}

/// A room was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomMade {
    /// Which.
    pub id: RoomId,
    /// Its name.
    pub name: Arc<str>,
    /// Its topic.
    pub topic: Arc<str>,
    /// Who made it.
    pub owner: UserId,
}

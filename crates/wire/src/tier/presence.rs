//! What gateways tell each other of their users: changes, each message with a number, so that a lost one is noticed; and
//! all of it, in pages, to one who asks. And of how much they carry.

use std::sync::Arc;

use hubbub_core::ids::{NodeId, RoomId, User, UserId};
use serde::{Deserialize, Serialize};

/// What changed at a gateway since its last message; or, without changes, that this is still so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Which gateway.
    pub node: NodeId,
    /// Of its last message with changes: this one, if it has any.
    pub number: u64,
    /// Users whose first connection there opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub came: Vec<User>,
    /// Users whose last connection there closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub went: Vec<Went>,
    /// How many members of a large room are there now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<(RoomId, u64)>,
    /// What it carries now; one of an older version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Carried>,
    /// It ends, in order: the last message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

impl Changes {
    /// Whether anything changed.
    pub fn is_news(&self) -> bool {
        !(self.came.is_empty() && self.went.is_empty() && self.counts.is_empty())
    }
}

/// What a gateway carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Connections of all clients.
    pub connections: u64,
    /// Whether it takes more of them.
    pub takes: bool,
    /// Whether it is letting them go.
    pub ends: bool,
}

/// A user's last connection at a gateway closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Went {
    /// Who.
    pub user: UserId,
    /// Whether the gateway told their rooms: it knew of no other gateway where they are.
    pub told: bool,
}

/// A question to one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Who is there?
    Present {
        /// From here on.
        from: Place,
    },
}

/// Where in the whole a page begins: users by ascending id, then counts by ascending room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// After this user.
    Users(Option<UserId>),
    /// After this room.
    Counts(Option<RoomId>),
}

/// A page of all that a gateway would have told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The last message that is in it for certain.
    pub number: u64,
    /// Who is there, and what to call them.
    pub users: Vec<(UserId, Arc<str>)>,
    /// How many members of large rooms are there.
    pub counts: Vec<(RoomId, u64)>,
    /// Where to go on, unless this was all.
    pub next: Option<Place>,
}

//! What the server answers to each request. Fields that this client doesn't know are ignored.

use std::collections::BTreeMap;

use hubbub_core::entry::Retention;
use hubbub_core::ids::{Millis, RoomId, Seq, User, UserId};
use serde::Deserialize;
use serde_json::Value;

use crate::Entry;

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Welcome {
    /// Who we are.
    pub user: Me,
    /// The rooms that we are a member of.
    #[serde(default)]
    pub rooms: Vec<Room>,
    /// Which log the seqs of the rooms are of: told again with them in a resume.
    pub log: Option<String>,
    /// The server's limits by name.
    #[serde(default)]
    pub limits: BTreeMap<String, Value>,
    /// Seconds within which each side shows a sign of life.
    pub heartbeat: Option<u64>,
}

/// Our own account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Me {
    /// Who.
    pub id: UserId,
    /// What others see.
    pub name: String,
    /// What we may do.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A room. Which fields are there depends on the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Room {
    /// Which.
    pub id: RoomId,
    /// What it is called.
    pub name: String,
    /// What it is about; empty for nothing.
    #[serde(default)]
    pub topic: String,
    /// Who made it.
    pub owner: Option<UserId>,
    /// The log's last seq.
    pub head: Option<Seq>,
    /// How many members.
    pub members: Option<u64>,
    /// How long its entries are kept, if not for ever.
    pub retention: Option<Retention>,
    /// Where its log begins, if entries before went.
    pub first: Option<Seq>,
}

/// A member as `open` and `members` show them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Who, and what they are called.
    #[serde(flatten)]
    pub user: User,
    /// Whether they are there just now.
    #[serde(default)]
    pub online: bool,
}

/// The answer to `create`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Created {
    /// The new room.
    pub room: Room,
}

/// The answer to `open`. What follows live begins at the room's head + 1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Opened {
    /// The room.
    pub room: Room,
    /// The first page of its members.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Its newest entries, ascending.
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// The answer to `join` and `leave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Moved {
    /// The place of the join or leave in the log.
    pub seq: Seq,
}

/// The answer to `send`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Sent {
    /// The message is an entry, and durable.
    Kept(Kept),
    /// The message was a command, and the bots have it.
    Command {
        /// The command's id.
        command: String,
    },
}

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kept {
    /// Its place in the log.
    pub seq: Seq,
    /// When it got it.
    pub at: Option<Millis>,
    /// What it survives: `disk` or `quorum`.
    #[serde(default)]
    pub durability: String,
}

impl Sent {
    /// The place of the message; `None` for a command.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Kept(kept) => Some(kept.seq),
            Self::Command { .. } => None,
        }
    }
}

/// The answer to `history`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// Ascending.
    #[serde(default)]
    pub entries: Vec<Entry>,
    /// Whether there are more in the direction asked for.
    #[serde(default)]
    pub more: bool,
    /// If so: the seq to go on from, in the same direction.
    pub next: Option<Seq>,
    /// Where the log begins, if entries before went.
    pub first: Option<Seq>,
}

/// The answer to `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rooms {
    /// A page of the directory.
    #[serde(default)]
    pub rooms: Vec<Room>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// The answer to `members`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Members {
    /// A page of them.
    #[serde(default)]
    pub members: Vec<Member>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// An answer that says no more than that the request was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Done {}

/// Which entries `history` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The ones right before this seq.
    Before(Seq),
    /// The ones right after this seq.
    After(Seq),
}

impl Range {
    /// The newest entries: those before a seq that no log reaches.
    pub const NEWEST: Self = Self::Before(Seq(1 << 53));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_kept_or_is_a_command() {
        let kept = r#"{"type":"ok","ref":1,"seq":5,"at":1700,"durability":"quorum"}"#;
        assert_eq!(serde_json::from_str::<Sent>(kept).unwrap().seq(), Some(Seq(5)));
        let command = r#"{"type":"ok","ref":1,"command":"c1"}"#;
        assert_eq!(serde_json::from_str::<Sent>(command).unwrap(), Sent::Command { command: "c1".into() });
    }

    #[test]
    fn a_member_is_flat() {
        let member: Member = serde_json::from_str(r#"{"id":"u","name":"Ann","online":true}"#).unwrap();
        assert_eq!((member.user.id.as_str(), member.online), ("u", true));
    }
}

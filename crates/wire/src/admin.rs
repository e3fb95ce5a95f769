//! What the admin API answers, and takes: for the gateway that makes it and the command line that reads it.

use hubbub_core::entry::Kept;
use hubbub_core::ids::{Epoch, LogId, Millis, NodeId, Partition, RoomId, Seq, UserId};
use serde::{Deserialize, Serialize};

use crate::tier::act::EraseFrom;
use crate::tier::agent::{Held, Report};

/// Where it is.
pub const PREFIX: &str = "/v1/admin";

/// `GET nodes`: every process that was heard of within the last ten minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nodes {
    /// By tier, then the oldest first.
    pub nodes: Vec<Node>,
    /// How many partitions there are.
    pub partitions: u16,
    /// Partitions that nobody has a lease of; their rooms take nothing just now.
    pub free_partitions: Vec<Partition>,
    /// Partitions whose lease is of a process that was not heard of within the last ten minutes.
    pub lost_partitions: Vec<Partition>,
    /// Partitions whose lease could not be read.
    pub unknown_partitions: Vec<Partition>,
}

/// A process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// What it said of itself last.
    #[serde(flatten)]
    pub report: Report,
    /// How long ago that was.
    pub heard_ms_ago: u64,
    /// Whether that is too long ago for one that works.
    pub silent: bool,
    /// The partitions that it has the lease of.
    pub partitions: Vec<Partition>,
}

/// `GET connections`: connections of clients, over all gateways or of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connections {
    /// Those that most waits for come first.
    pub connections: Vec<Connection>,
    /// Whether there are more of the kind that was asked for.
    pub more: bool,
    /// Gateways that did not answer in time.
    pub unanswered: Vec<NodeId>,
}

/// A connection of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    /// At which gateway.
    pub node: NodeId,
    /// What that says of it.
    #[serde(flatten)]
    pub held: Held,
}

/// `GET rooms`: a page of the directory, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rooms {
    /// The page.
    pub rooms: Vec<Listed>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

/// A room in a list: as its projection has it, which is some moments old.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// Which.
    pub id: RoomId,
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// Who made it.
    pub owner: UserId,
    /// How many members.
    pub members: u64,
    /// When it was made.
    pub created_at: Millis,
    /// Which partition it is of.
    pub partition: Partition,
}

/// `GET rooms/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Room {
    /// Which.
    pub id: RoomId,
    /// Which partition it is of.
    pub partition: Partition,
    /// Who has the lease of that partition; absent if nobody has, or it can't be read.
    pub holder: Option<Holder>,
    /// What the holder says of it; absent if it does not answer.
    pub held: Option<RoomHeld>,
    /// Why something is not known.
    pub trouble: Option<String>,
}

/// The holder of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// Which process.
    pub node: NodeId,
    /// How it is, if it was heard of.
    pub as_node: Option<Node>,
}

/// A room as its holder vouches for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomHeld {
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// Who made it.
    pub owner: UserId,
    /// Its log's last entry.
    pub head: Seq,
    /// How many members.
    pub members: u64,
    /// Which log it is.
    pub log: LogId,
    /// The holder's epoch.
    pub epoch: Epoch,
    /// What is kept of its log.
    #[serde(flatten)]
    pub kept: Kept,
}

/// `GET rooms/{id}/members`: a page of them, by ascending id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Members {
    /// The page.
    pub members: Vec<Member>,
    /// The `after` of the next page, if there is one.
    pub next: Option<UserId>,
}

/// A member of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub id: UserId,
    /// The name they joined with.
    pub name: String,
    /// Whether they have a connection at any gateway.
    pub online: bool,
}

/// `POST nodes/{id}/drain` was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Draining {
    /// What it was, as it was last heard of.
    pub node: Node,
}

/// `DELETE rooms/{id}/members/{user}` was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kicked {
    /// The entry that says so.
    pub seq: Seq,
}

/// `GET users/{user}/rooms`: rooms that the user is or was a member of, by ascending id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomsOfUser {
    /// The page.
    pub rooms: Vec<RoomId>,
    /// The `after` of the next page, if there is one.
    pub next: Option<RoomId>,
}

/// `POST rooms/{id}/erasures` takes this: a part of the room's log is gone through.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Whose messages.
    pub user: UserId,
    /// Where to go on: the `next` of the answer before, as it is; to begin, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<EraseFrom>,
}

/// `POST rooms/{id}/erasures` was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Erased {
    /// How many messages were erased in this part.
    pub erased: u64,
    /// The `from` of the next part, if that was not the last.
    pub next: Option<EraseFrom>,
    /// With the last part: the entry that says that all of the user's messages up to then are erased; null if there is none of theirs.
    pub seq: Option<Seq>,
}

/// `PUT rooms/{id}/retention` takes this: a [`Retention`](hubbub_core::entry::Retention), and no other field, for one that is misspelt would lift a bound.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retain {
    /// See there.
    #[serde(default)]
    pub entries: Option<u64>,
    /// See there.
    #[serde(default)]
    pub days: Option<u32>,
}

/// `PUT rooms/{id}/retention` was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Retained {
    /// The entry that says so, this time's or an earlier one; 0 if all was kept ever since.
    pub seq: Seq,
}

/// `POST rooms/{id}/trims` takes this.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trim {
    /// Whether what is beyond a bound by less than a day, or a tenth, is to go too. Asked so again and again, a busy room has always more to go.
    #[serde(default)]
    pub fully: bool,
}

/// `POST rooms/{id}/trims` was done: a part of what is not kept went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trimmed {
    /// The room's log begins here; 0 if nothing of it ever went.
    pub first: Seq,
    /// What was before this seq is gone from the store.
    pub gone: Seq,
    /// Whether there is more to do: ask again.
    pub more: bool,
}

/// `POST revocations` takes this.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The access token.
    pub token: String,
}

/// `POST revocations` was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoked {
    /// Whose token it was.
    pub user: UserId,
    /// When it would have ended by itself.
    pub until: Millis,
}

/// `PUT bans/{user}` takes this.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, for those who look at it later.
    #[serde(default)]
    pub reason: String,
}

/// `GET bans`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bans {
    /// By ascending user.
    pub bans: Vec<Ban>,
}

/// A ban; what `PUT bans/{user}` answers as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    pub user: UserId,
    /// When it was said.
    pub at: Millis,
    /// The name of the credential that said it.
    pub by: String,
    /// Why; empty if nobody said.
    pub reason: String,
}

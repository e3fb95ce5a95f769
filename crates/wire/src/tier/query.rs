//! What is asked of the history service, and what it answers.

use bytes::Bytes;
use hubbub_core::entry::RoomFacts;
use hubbub_core::ids::{LogId, Millis, RoomId, Seq, UserId};
use hubbub_core::ports::bus::Whole;
use serde::{Deserialize, Serialize};

use super::act::ReadTo;
use super::parcel;

/// Bytes of a question, of an answer beside its list, and of an element of a list: about, as they are in JSON.
const OVERHEAD: usize = 256;

/// Most entries of one page.
pub const PAGE_ENTRIES_MAX: u32 = 1_000;
/// Most bytes of a page's entries, but for one that is larger alone: so it fits the bus, and what clients take by default.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;

/// Before this seq are all: the largest that any store can count to.
pub const AFTER_ALL: Seq = Seq(i64::MAX as u64);

/// A read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// A page of a room's log.
    Replay(Replay),
    /// Members of a room, by ascending id.
    Members {
        /// Which room.
        room: RoomId,
        /// After this user.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// Rooms of a user.
    RoomsOf {
        /// Whose.
        user: UserId,
    },
    /// Rooms that a user is or was a member of, by ascending id.
    RoomsEverOf {
        /// Whose.
        user: UserId,
        /// After this room.
        after: Option<RoomId>,
        /// At most so many.
        limit: u32,
    },
    /// What was fixed at the birth of the store.
    Facts,
    /// Rooms, the newest first.
    Directory {
        /// An opaque cursor from the page before.
        cursor: Option<String>,
        /// At most so many.
        limit: u32,
    },
}

impl Whole for Query {
    fn to_bytes(&self) -> Bytes {
        parcel::pack(self)
    }

    fn size(&self) -> usize {
        match self {
            // As long as whoever asks makes it.
            Self::Directory { cursor: Some(cursor), .. } => OVERHEAD + cursor.len(),
            _ => OVERHEAD,
        }
    }
}

/// A page of a room's log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replay {
    /// Which room.
    pub room: RoomId,
    /// Where.
    pub range: Range,
    /// At most so many entries: 1 to [`PAGE_ENTRIES_MAX`].
    pub limit: u32,
    /// Only entries of these kinds or types; empty for all.
    pub kinds: Vec<String>,
    /// Up to where the log may be read, if the asker knows; else the service asks the holder.
    pub read_to: Option<ReadTo>,
}

/// Which end of a log a page is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// The last ones before this seq.
    Before(Seq),
    /// The first ones after this seq.
    After(Seq),
}

/// The answer's header. After [`Found::Page`] the entries follow, ascending.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// A page of a log.
    Page {
        /// Whether there is more in the direction of the range.
        more: bool,
        /// If so: the seq to ask from next.
        next: Option<Seq>,
        /// The log begins here: what was before is gone. 0 if nothing ever went.
        #[serde(default)]
        first: Seq,
    },
    /// Members, and the id to go on after if there are more.
    Members {
        /// The page.
        members: Vec<Member>,
        /// Go on after this one.
        next: Option<UserId>,
    },
    /// Rooms of a user.
    RoomsOf {
        /// All of them.
        rooms: Vec<Joined>,
    },
    /// Rooms that a user is or was a member of.
    RoomsEverOf {
        /// The page.
        rooms: Vec<RoomId>,
        /// Go on after this one.
        next: Option<RoomId>,
    },
    /// Rooms, and the cursor of the next page if there is one.
    Directory {
        /// The page.
        rooms: Vec<Listed>,
        /// Opaque.
        next: Option<String>,
    },
    /// What was fixed at the birth of the store.
    Facts {
        /// Which store it is.
        log: LogId,
        /// How many partitions there are.
        partitions: u16,
    },
    /// There is no such room.
    NoSuchRoom,
    /// The cursor is not one of ours.
    BadCursor,
    /// Not now.
    Unavailable,
}

impl Whole for Found {
    fn to_bytes(&self) -> Bytes {
        parcel::pack(self)
    }

    fn size(&self) -> usize {
        let elements = match self {
            Self::Members { members, .. } => members.len(),
            Self::RoomsOf { rooms } => rooms.len(),
            Self::RoomsEverOf { rooms, .. } => rooms.len(),
            Self::Directory { rooms, .. } => rooms.len(),
            Self::Page { .. } | Self::Facts { .. } => 0,
            Self::NoSuchRoom | Self::BadCursor | Self::Unavailable => 0,
        };
        OVERHEAD * (1 + elements)
    }
}

/// A member of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub id: UserId,
    /// What to call them.
    pub name: std::sync::Arc<str>,
}

/// A room of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    /// Which.
    pub room: RoomId,
    /// The seq of the join.
    pub seq: Seq,
}

/// A room in the directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// Which.
    pub id: RoomId,
    /// Name, topic, owner.
    #[serde(flatten)]
    pub facts: RoomFacts,
    /// How many members.
    pub members: u64,
    /// When it was made.
    pub created_at: Millis,
}

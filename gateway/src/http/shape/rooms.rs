//! Rooms and their members.

use std::sync::Arc;

use hubbub_core::entry::Kept;
use hubbub_core::ids::{RoomId, Seq, UserId};
use hubbub_core::room::RoomInfo;
use hubbub_wire::native::answer::Present;
use hubbub_wire::tier::query::Listed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::log::Retention;

/// A room to make.
#[derive(Deserialize, ToSchema)]
pub struct MakeRoom {
    /// On one line.
    #[schema(value_type = String, required, min_length = 1, max_length = 80, example = "The lobby")]
    pub name: Option<String>,
    /// On one line.
    #[schema(max_length = 256, example = "Say hello")]
    pub topic: Option<String>,
    /// As the header `Idempotency-Key`: a repeat with the same key makes no second room.
    #[schema(min_length = 1, max_length = 64)]
    pub key: Option<String>,
}

/// A room's new topic.
#[derive(Deserialize, ToSchema)]
pub struct SetTopic {
    /// On one line; empty for none.
    #[schema(value_type = String, required, max_length = 256, example = "Say goodbye")]
    pub topic: Option<String>,
}

/// A room's id.
#[derive(Serialize, ToSchema)]
pub struct RoomRef {
    /// The room.
    #[schema(value_type = String, example = "0195f3c2a7b84d0e")]
    pub id: RoomId,
}

/// A room.
#[derive(Serialize, ToSchema)]
pub struct Room {
    /// Its id.
    #[schema(value_type = String, example = "0195f3c2a7b84d0e")]
    id: RoomId,
    /// Its name.
    #[schema(value_type = String, example = "The lobby")]
    name: Arc<str>,
    /// Its topic; empty for none.
    #[schema(value_type = String, example = "Say hello")]
    topic: Arc<str>,
    /// The user who made it.
    #[schema(value_type = String, example = "5f0c1d2e")]
    owner: UserId,
    /// The last seq of its log.
    #[schema(value_type = u64, example = 42)]
    head: Seq,
    /// How many members it has.
    #[schema(example = 2)]
    members: u64,
    /// How long its entries are kept, if not for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Retention>,
    /// The first seq of its log, if entries before went.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    first: Option<Seq>,
}

impl From<RoomInfo> for Room {
    fn from(info: RoomInfo) -> Self {
        let (facts, Kept { retention, first }) = (info.facts, info.kept);
        let kept = Retention { entries: retention.entries, days: retention.days };
        Self {
            id: info.id,
            name: facts.name,
            topic: facts.topic,
            owner: facts.owner,
            head: info.head,
            members: info.members,
            retention: (!retention.is_all()).then_some(kept),
            first: (first > Seq(0)).then_some(first),
        }
    }
}

/// A room in the directory.
#[derive(Serialize, ToSchema)]
pub struct ListedRoom {
    /// Its id.
    #[schema(value_type = String, example = "0195f3c2a7b84d0e")]
    id: RoomId,
    /// Its name.
    #[schema(value_type = String, example = "The lobby")]
    name: Arc<str>,
    /// Its topic; empty for none.
    #[schema(value_type = String, example = "Say hello")]
    topic: Arc<str>,
    /// The user who made it.
    #[schema(value_type = String, example = "5f0c1d2e")]
    owner: UserId,
    /// How many members it has.
    #[schema(example = 2)]
    members: u64,
    /// When it was made: Unix milliseconds.
    #[schema(example = 1_764_000_000_000_u64)]
    created_at: u64,
}

impl From<Listed> for ListedRoom {
    fn from(listed: Listed) -> Self {
        let (facts, created_at) = (listed.facts, listed.created_at.0);
        Self {
            id: listed.id,
            name: facts.name,
            topic: facts.topic,
            owner: facts.owner,
            members: listed.members,
            created_at,
        }
    }
}

/// A page of the directory.
#[derive(Serialize, ToSchema)]
pub struct Rooms {
    /// The newest first.
    pub rooms: Vec<ListedRoom>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A member of a room.
#[derive(Serialize, ToSchema)]
pub struct Member {
    /// The user's id.
    #[schema(value_type = String, example = "5f0c1d2e")]
    pub id: UserId,
    /// The user's name.
    #[schema(value_type = String, example = "Ann")]
    pub name: Arc<str>,
    /// Whether they are there: best effort.
    pub online: bool,
}

impl From<Present> for Member {
    fn from(present: Present) -> Self {
        Self { id: present.id, name: present.name, online: present.online }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub struct Members {
    /// By ascending id.
    pub members: Vec<Member>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<UserId>,
}

//! The JSON of requests and answers. The descriptions are made from these types.

use std::sync::Arc;

use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, Seq, UserId};
use hubbub_core::ports::accounts::{Role, Secret};
use hubbub_core::room::RoomInfo;
use hubbub_wire::native::answer;
use hubbub_wire::tier::query::Listed;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::problem::{Fault, bad_field};

/// A field that must be there.
pub fn need<T>(field: &'static str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| bad_field(field, format!("{field} is missing")))
}

/// A new account.
#[derive(Deserialize, ToSchema)]
pub struct Register {
    /// What others see.
    #[schema(value_type = String, required, min_length = 1, max_length = 80, example = "Ann")]
    pub name: Option<String>,
    /// The address to log in with.
    #[schema(value_type = String, required, max_length = 254, example = "ann@example.org")]
    pub email: Option<String>,
    /// 8 to 256 bytes.
    #[schema(value_type = String, required, format = Password, min_length = 8, max_length = 256, example = "correct horse")]
    pub password: Option<Secret>,
}

/// An account that was made.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// The user's id.
    #[schema(value_type = String, example = "5f0c1d2e")]
    pub id: UserId,
    /// The user's name.
    #[schema(value_type = String, example = "Ann")]
    pub name: Arc<str>,
}

/// Address and password.
#[derive(Deserialize, ToSchema)]
pub struct LogIn {
    /// The address of the account.
    #[schema(value_type = String, required, example = "ann@example.org")]
    pub email: Option<String>,
    /// Its password.
    #[schema(value_type = String, required, format = Password, example = "correct horse")]
    pub password: Option<Secret>,
}

/// An access token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// For `Authorization: Bearer` and for `hello`. It lasts for a limited time.
    pub token: String,
}

/// Who a token stands for.
#[derive(Serialize, ToSchema)]
pub struct Validated {
    /// The user's id.
    #[schema(value_type = String, example = "5f0c1d2e")]
    pub user: UserId,
    /// The user's name.
    #[schema(value_type = String, example = "Ann")]
    pub name: Arc<str>,
    /// 1 a person, 3 a bot.
    #[serde(rename = "type")]
    #[schema(example = 1)]
    pub kind: u8,
    /// `user` may chat, `bot` answers commands.
    #[schema(value_type = Vec<String>, example = json!(["user"]))]
    pub roles: Vec<Role>,
}

/// A room to make.
#[derive(Deserialize, ToSchema)]
pub struct MakeRoom {
    /// On one line.
    #[schema(value_type = String, required, min_length = 1, max_length = 80, example = "The lobby")]
    pub name: Option<String>,
    /// On one line.
    #[schema(max_length = 256, example = "Say hello")]
    pub topic: Option<String>,
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
}

impl From<RoomInfo> for Room {
    fn from(info: RoomInfo) -> Self {
        let facts = info.facts;
        Self {
            id: info.id,
            name: facts.name,
            topic: facts.topic,
            owner: facts.owner,
            head: info.head,
            members: info.members,
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

/// Something to say: a text or a picture.
#[derive(Deserialize, ToSchema)]
pub struct Say {
    /// A text.
    #[schema(min_length = 1, max_length = 4096, example = "Hello, all")]
    pub message: Option<String>,
    /// A png, jpeg, gif or webp of up to 256 KiB: base64, or a data URL.
    pub image: Option<String>,
    /// With `Idempotency-Key`: the last seq of the room that the client had seen when it first sent the key. It makes
    /// finding the first one exact, however late the retry comes.
    #[schema(value_type = Option<u64>)]
    pub after: Option<Seq>,
}

/// A message that is kept.
#[derive(Serialize, ToSchema)]
pub struct Sent {
    /// Unique and stable: the room's id, a dash, and the seq.
    #[schema(example = "0195f3c2a7b84d0e-43")]
    pub id: String,
    /// Its place in the room's log.
    #[schema(value_type = u64, example = 43)]
    pub seq: Seq,
}

/// A page of a room's log.
#[derive(Serialize, ToSchema)]
pub struct History<'a> {
    /// Ascending by seq.
    #[schema(value_type = Vec<LogEntry>)]
    pub entries: Vec<&'a RawValue>,
    /// Whether there is more in the asked direction.
    pub more: bool,
    /// If so: the seq to give as `before` or `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub next: Option<Seq>,
}

/// An entry's JSON, passed on as its room's holder made it.
pub fn shown(entry: &Entry) -> Result<&RawValue, Fault> {
    answer::shown(entry).ok_or_else(|| {
        tracing::error!(seq = entry.seq.0, "an entry's content is not json");
        Fault::Internal
    })
}

/// A user as an entry shows them: the name is the one they had at that moment.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is passed on as it is")]
pub struct EntryUser {
    #[schema(example = "5f0c1d2e")]
    id: String,
    #[schema(example = "Ann")]
    name: String,
}

/// One element of a room's log.
#[derive(ToSchema)]
#[schema(as = Entry)]
#[expect(dead_code, reason = "describes what is passed on as it is")]
pub struct LogEntry {
    /// `message`, `join`, `leave` or `topic`.
    #[schema(rename = "type", example = "message")]
    entry_type: String,
    /// The room.
    #[schema(example = "0195f3c2a7b84d0e")]
    room: String,
    /// Place in the log: 1, 2, 3 … without gaps.
    #[schema(example = 43)]
    seq: u64,
    /// Whose it is.
    user: EntryUser,
    /// Unix milliseconds.
    #[schema(example = 1_764_000_000_000_u64)]
    at: u64,
    /// Of a message: `text`, `link`, `image` or `bot`.
    #[schema(required = false, example = "text")]
    kind: Option<String>,
    /// Of a text, link or bot's message.
    #[schema(required = false, example = "Hello, all")]
    text: Option<String>,
    /// Of a picture: a data URL.
    #[schema(required = false)]
    image: Option<String>,
    /// Of a topic.
    #[schema(required = false)]
    topic: Option<String>,
    /// Of a leave that was not the member's own wish: who removed them.
    #[schema(required = false)]
    by: Option<EntryUser>,
}

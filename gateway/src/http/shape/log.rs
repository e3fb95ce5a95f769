//! Messages, and the log that they are in.

use hubbub_core::entry::Entry;
use hubbub_core::ids::Seq;
use hubbub_wire::native::answer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::fault::Fault;

/// Something to say: a text or a picture.
#[derive(Deserialize, ToSchema)]
pub struct Say {
    /// A text.
    #[schema(min_length = 1, max_length = 4096, example = "Hello, all")]
    pub message: Option<String>,
    /// A png, jpeg, gif or webp of up to 256 KiB: base64, or a data URL.
    pub image: Option<String>,
    /// As the header `Idempotency-Key`: a repeat with the same key makes no second message.
    #[schema(min_length = 1, max_length = 64)]
    pub key: Option<String>,
    /// With a key: the last seq of the room that the client had seen when it first sent the key. It makes
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

/// A command that the bots have.
#[derive(Serialize, ToSchema)]
pub struct Commanded {
    /// Its id.
    #[schema(example = "0195f3c2a7b84d0e")]
    pub command: String,
    /// A text for its sender alone, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// What became of what was said.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Said {
    /// It is kept.
    Sent(Sent),
    /// It was a command, and the bots have it.
    Commanded(Commanded),
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
    /// Where the log begins, if entries before went because the room keeps no older ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub first: Option<Seq>,
}

/// How long a room's entries are kept: those beyond either bound go. Without a bound all are kept.
#[derive(Serialize, ToSchema)]
pub struct Retention {
    /// The newest entries, so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10000)]
    pub entries: Option<u64>,
    /// Entries that are younger than so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub days: Option<u32>,
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
    /// `message`, `join`, `leave`, `topic`, `erase` or `retention`.
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
    /// Of a message: `text`, `link`, `image`, `bot`, or `erased` if there is nothing left of it but its place.
    #[schema(required = false, example = "text")]
    kind: Option<String>,
    /// Of a text, link or bot's message.
    #[schema(required = false, example = "Hello, all")]
    text: Option<String>,
    /// Of a picture: a data URL.
    #[schema(required = false)]
    image: Option<String>,
    /// Of a bot's message: true if it says what was wrong with a command.
    #[schema(required = false)]
    error: Option<bool>,
    /// Of a topic.
    #[schema(required = false)]
    topic: Option<String>,
    /// Of a leave that was not the member's own wish: who removed them. Of an `erase`: who had it done.
    #[schema(required = false)]
    by: Option<EntryUser>,
    /// Of an `erase`: all messages of the user up to this one are erased.
    #[schema(required = false)]
    upto: Option<u64>,
    /// Of a `retention`: how long entries are kept from here on.
    #[schema(required = false)]
    retention: Option<Retention>,
    /// Of a `retention`: the log begins here, what was before is gone. Not there if nothing ever went.
    #[schema(required = false)]
    first: Option<u64>,
}

//! An entry of a room's log: the one form that it has live, in `open`, in `history` and over HTTP, and
//! the one layout in which it is stored and travels between tiers.
//!
//! The JSON of an entry is made once, by the room's holder, and never again: the store keeps it, the bus
//! carries it, a gateway puts a frame header before it. What the tiers need to know of an entry without
//! reading its JSON stands beside it in [`Entry`].
//!
//! # Layout, version 1
//! Numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | [`Kind`] |
//! | 8 | seq |
//! | 8 | at, Unix milliseconds |
//! | 1 + n | user id |
//! | 1 + n | key; length 0 for none |
//! | 2 + n | facts of the room after this entry, JSON; length 0 for none |
//! | 4 + n | the JSON of the entry, without `key` |
//! | 8 | xxh3-64 of the room's id and all of the above |
//!
//! The sum covers room and seq, so that a whole entry in a wrong place is found as well as a torn one.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::ids::{Key, Millis, RoomId, Seq, User, UserId};
use crate::limits::{BotText, Content};
use crate::scan;

/// Version of the layout: the first byte of an encoded entry.
pub const VERSION: u8 = 1;

/// What an entry is. The number is stored and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A user became a member. The first entry of every log is its owner's join.
    Join = 1,
    /// A user is a member no more, by their own wish or the owner's.
    Leave = 2,
    /// The owner gave the room another topic.
    Topic = 3,
    /// A message: plain text.
    Text = 4,
    /// A message: one web address.
    Link = 5,
    /// A message: a picture.
    Image = 6,
    /// A message: a bot's answer.
    Bot = 7,
    /// An operator had the messages of a user erased. Made when they are.
    Erase = 8,
    /// A message whose content was erased.
    Erased = 9,
    /// An operator said how long the room's entries are kept, or old ones went by what was said.
    Retention = 10,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        use Kind::{Bot, Erase, Erased, Image, Join, Leave, Link, Retention, Text, Topic};
        let all = [Join, Leave, Topic, Text, Link, Image, Bot, Erase, Erased, Retention];
        all.into_iter().find(|k| *k as u8 == number)
    }

    /// The entry's `type` on the wire.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Topic => "topic",
            Self::Text | Self::Link | Self::Image | Self::Bot | Self::Erased => "message",
            Self::Erase => "erase",
            Self::Retention => "retention",
        }
    }

    /// Whether an entry of this kind says something that its author may want gone.
    pub fn has_content(self) -> bool {
        matches!(self, Self::Text | Self::Link | Self::Image | Self::Bot)
    }

    /// Whether `name` asks for entries of this kind: a `type`, or a message's `kind`.
    pub fn is_named(self, name: &str) -> bool {
        let kind = match self {
            Self::Text => "text",
            Self::Link => "link",
            Self::Image => "image",
            Self::Bot => "bot",
            Self::Erased => "erased",
            Self::Join | Self::Leave | Self::Topic | Self::Erase | Self::Retention => "",
        };
        name == self.type_name() || (name == kind && !kind.is_empty())
    }
}

/// What a room is, as far as its log says: carried by the entries that change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFacts {
    /// 1 to 80 characters.
    pub name: Arc<str>,
    /// Up to 256 characters; empty for none.
    pub topic: Arc<str>,
    /// Who made the room.
    pub owner: UserId,
}

/// One element of a room's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Place in the log.
    pub seq: Seq,
    /// When its holder gave it its place; never lower than the entry's before it.
    pub at: Millis,
    /// What it is.
    pub kind: Kind,
    /// Whose it is: who wrote, joined, left. When the owner removes a member, that member.
    pub user: UserId,
    /// The idempotency key of the action that made it.
    pub key: Option<Key>,
    /// The room's facts from here on, where this entry changes them.
    pub facts: Option<RoomFacts>,
    /// The JSON object that clients are shown, without `key`.
    pub json: Bytes,
}

/// What an entry says of its user's messages: all up to one are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The last of them.
    pub upto: Seq,
    /// The entry that says so.
    pub seq: Seq,
    /// When that was.
    pub at: Millis,
}

/// How long a room's entries are kept: those beyond either bound may go. Without a bound all are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// The newest entries, so many: [`REPEAT_WINDOW`](crate::limits::REPEAT_WINDOW) at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Entries that are younger than so many days: 1 at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

impl Retention {
    /// Whether all entries are kept.
    pub fn is_all(&self) -> bool {
        self.entries.is_none() && self.days.is_none()
    }
}

/// What is kept of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kept {
    /// What was said about it.
    #[serde(default, skip_serializing_if = "Retention::is_all")]
    pub retention: Retention,
    /// The log's entries begin here: those before are gone. 0 if none ever went.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first: Seq,
}

fn is_zero(seq: &Seq) -> bool {
    seq.0 == 0
}

/// Erases, in memory, what later ones of these consecutive entries say is erased.
pub fn obey_all(room: &RoomId, entries: &mut [Entry]) {
    for at in 0..entries.len() {
        let (before, [order, ..]) = entries.split_at_mut(at) else { return };
        if order.kind == Kind::Erase {
            before.iter_mut().for_each(|entry| _ = entry.obey(room, order));
        }
    }
}

/// Bytes that should be an entry and are not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} of room {room} is damaged: {what}")]
pub struct Damaged {
    /// The room whose log it is.
    pub room: RoomId,
    /// Where in the log.
    pub seq: Seq,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Bytes of an entry's JSON beside its room's id and what it says, mostly: it is written without being moved.
const SHOWN_BYTES: usize = 224;

/// Begins a field. Its name needs no escapes.
fn put_name(json: &mut Vec<u8>, name: &str) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    json.push(b'"');
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
}

/// Appends a field.
fn put<T: Serialize + ?Sized>(json: &mut Vec<u8>, name: &str, value: &T) {
    put_name(json, name);
    // Writing plain strings and numbers to memory has no error to return.
    serde_json::to_writer(json, value).expect("an entry is always valid JSON");
}

/// Appends a field whose value is an id or a word of ours: a string without anything to escape.
fn put_plain(json: &mut Vec<u8>, name: &str, value: &str) {
    put_name(json, name);
    json.push(b'"');
    json.extend_from_slice(value.as_bytes());
    json.push(b'"');
}

/// Appends a field whose value is what somebody wrote. Mostly nothing of it is escaped: to look for that takes a tenth of what going
/// through it byte by byte does.
fn put_text(json: &mut Vec<u8>, name: &str, text: &str) {
    let is_escaped = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    match scan::any(text, is_escaped) {
        true => put(json, name, text),
        false => put_plain(json, name, text),
    }
}

fn put_user(json: &mut Vec<u8>, name: &str, user: &User) {
    put_name(json, name);
    json.push(b'{');
    put_plain(json, "id", user.id.as_str());
    put_text(json, "name", &user.name);
    json.push(b'}');
}

/// What an entry says beside who, where and when: the argument of [`Entry::new`].
#[derive(Debug, Clone, Copy)]
pub enum Says<'a> {
    /// The user joined; for the first entry with the room's facts.
    Join(Option<&'a RoomFacts>),
    /// The user left, or was removed by the owner.
    Leave {
        /// Who removed them, if they did not leave themselves.
        by: Option<&'a User>,
    },
    /// The room's facts with the new topic.
    Topic(&'a RoomFacts),
    /// A message.
    Message(&'a Content),
    /// A bot's answer.
    Bot(&'a BotText),
    /// The user's messages were erased.
    Erase {
        /// Who had it done.
        by: &'a User,
        /// The last of them, and all before it.
        upto: Seq,
    },
    /// A message without what it said.
    Erased,
    /// What is kept of the log from here on.
    Retention(Kept),
}

impl Entry {
    /// Makes an entry and its JSON.
    pub fn new(room: &RoomId, seq: Seq, at: Millis, user: &User, key: Option<Key>, says: Says<'_>) -> Self {
        let (mut by, mut topic, mut text, mut image, mut message_kind) = (None, None, None, None, None);
        let (mut error, mut erased_upto, mut kept) = (false, None, None::<Kept>);
        let (kind, facts) = match says {
            Says::Join(facts) => (Kind::Join, facts.cloned()),
            Says::Leave { by: remover } => {
                by = remover;
                (Kind::Leave, None)
            }
            Says::Topic(facts) => {
                topic = Some(&*facts.topic);
                (Kind::Topic, Some(facts.clone()))
            }
            Says::Message(content) => {
                let (kind, name) = match content {
                    Content::Text(t) => {
                        text = Some(t.as_str());
                        (Kind::Text, "text")
                    }
                    Content::Link(t) => {
                        text = Some(t.as_str());
                        (Kind::Link, "link")
                    }
                    Content::Image(t) => {
                        image = Some(t.as_str());
                        (Kind::Image, "image")
                    }
                };
                message_kind = Some(name);
                (kind, None)
            }
            Says::Bot(answer) => {
                (text, error, message_kind) = (Some(answer.text()), answer.is_complaint(), Some("bot"));
                (Kind::Bot, None)
            }
            Says::Erase { by: operator, upto } => {
                (by, erased_upto) = (Some(operator), Some(upto));
                (Kind::Erase, None)
            }
            Says::Erased => {
                message_kind = Some("erased");
                (Kind::Erased, None)
            }
            Says::Retention(what) => {
                kept = Some(what);
                (Kind::Retention, None)
            }
        };
        // Field by field: a struct of so many optional ones takes serde half as long again.
        let said = text.or(image).or(topic).map_or(0, str::len);
        let mut json = Vec::with_capacity(SHOWN_BYTES + room.as_str().len() + said + said / 16);
        json.push(b'{');
        put_plain(&mut json, "type", kind.type_name());
        put_plain(&mut json, "room", room.as_str());
        put(&mut json, "seq", &seq);
        put_user(&mut json, "user", user);
        by.into_iter().for_each(|by| put_user(&mut json, "by", by));
        erased_upto.into_iter().for_each(|upto| put(&mut json, "upto", &upto));
        topic.into_iter().for_each(|topic| put_text(&mut json, "topic", topic));
        message_kind.into_iter().for_each(|kind| put_plain(&mut json, "kind", kind));
        text.into_iter().for_each(|text| put_text(&mut json, "text", text));
        image.into_iter().for_each(|image| put_text(&mut json, "image", image));
        error.then(|| put(&mut json, "error", &true));
        if let Some(Kept { retention, first }) = kept {
            put(&mut json, "retention", &retention);
            (!is_zero(&first)).then(|| put(&mut json, "first", &first));
        }
        put(&mut json, "at", &at);
        json.push(b'}');
        Self { seq, at, kind, user: user.id.clone(), key, facts, json: json.into() }
    }

    /// Whose it is, with the name that it shows.
    pub fn shown_user(&self) -> User {
        #[derive(Deserialize)]
        struct Shown {
            user: User,
        }
        let named_by_id = || User { id: self.user.clone(), name: self.user.as_str().into() };
        serde_json::from_slice(&self.json).map_or_else(|_| named_by_id(), |shown: Shown| shown.user)
    }

    /// What is left of it when its content is erased: its place, time, user and key. Always the same bytes, also of one that was
    /// erased before; `None` if there is no content in an entry of its kind.
    pub fn erased(&self, room: &RoomId) -> Option<Self> {
        (self.kind.has_content() || self.kind == Kind::Erased)
            .then(|| Self::new(room, self.seq, self.at, &self.shown_user(), self.key.clone(), Says::Erased))
    }

    /// What it says of its user's messages, if it says that they are erased.
    pub fn erasure(&self) -> Option<Erasure> {
        #[derive(Deserialize)]
        struct Shown {
            upto: Seq,
        }
        if self.kind != Kind::Erase {
            return None;
        }
        // Made by `Entry::new` and kept under a checksum.
        let Shown { upto } = serde_json::from_slice(&self.json).ok()?;
        Some(Erasure { upto, seq: self.seq, at: self.at })
    }

    /// What is kept of the log from here on, if it says so.
    pub fn kept(&self) -> Option<Kept> {
        // Made by `Entry::new` and kept under a checksum.
        (self.kind == Kind::Retention).then(|| serde_json::from_slice(&self.json).ok()).flatten()
    }

    /// Erases this one, in memory, if `order` is the entry that says so of it. Whether it was.
    pub fn obey(&mut self, room: &RoomId, order: &Self) -> bool {
        let is_meant = self.kind.has_content()
            && self.user == order.user
            && order.erasure().is_some_and(|erasure| self.seq <= erasure.upto);
        match is_meant.then(|| self.erased(room)).flatten() {
            Some(erased) => {
                *self = erased;
                true
            }
            None => false,
        }
    }

    /// The bytes of this entry in the layout above.
    pub fn encode(&self, room: &RoomId) -> Bytes {
        let facts = self.facts.as_ref().map(|f| serde_json::to_vec(f).expect("facts are always valid JSON"));
        let mut to = BytesMut::with_capacity(self.json.len() + 256);
        to.put_u8(VERSION);
        to.put_u8(self.kind as u8);
        to.put_u64(self.seq.0);
        to.put_u64(self.at.0);
        put_short(&mut to, self.user.as_str());
        put_short(&mut to, self.key.as_ref().map_or("", Key::as_str));
        let facts = facts.unwrap_or_default();
        // A name and a topic of their limits, escaped, are far below 64 KiB.
        to.put_u16(facts.len() as u16);
        to.put_slice(&facts);
        to.put_u32(self.json.len() as u32);
        to.put_slice(&self.json);
        let sum = sum(room, &to);
        to.put_u64(sum);
        to.freeze()
    }

    /// Reads an entry that stood at `seq` of `room`. The JSON shares the memory of `bytes`.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not exactly an entry of that place.
    pub fn decode(room: &RoomId, seq: Seq, bytes: Bytes) -> Result<Self, Damaged> {
        let damaged = |what| Damaged { room: room.clone(), seq, what };
        let body = bytes.len().checked_sub(8).ok_or_else(|| damaged("cut short"))?;
        let mut stored = &bytes[body..];
        if stored.get_u64() != sum(room, &bytes[..body]) {
            return Err(damaged("checksum does not match"));
        }
        let mut from = bytes.slice(..body);
        let entry = Self::read(&mut from).ok_or_else(|| damaged("layout is not known"))?;
        match entry.seq == seq && from.is_empty() {
            true => Ok(entry),
            false => Err(damaged("belongs to another place")),
        }
    }

    fn read(from: &mut Bytes) -> Option<Self> {
        if from.try_get_u8().ok()? != VERSION {
            return None;
        }
        let kind = Kind::from_number(from.try_get_u8().ok()?)?;
        let seq = Seq(from.try_get_u64().ok()?);
        let at = Millis(from.try_get_u64().ok()?);
        let user = UserId::parse(&take_short(from)?).ok()?;
        let key = match take_short(from)? {
            none if none.is_empty() => None,
            key => Some(Key::parse(&key).ok()?),
        };
        let facts_len = usize::from(from.try_get_u16().ok()?);
        let facts = match take(from, facts_len)? {
            none if none.is_empty() => None,
            json => Some(serde_json::from_slice(&json).ok()?),
        };
        let json_len = usize::try_from(from.try_get_u32().ok()?).ok()?;
        let json = take(from, json_len)?;
        Some(Self { seq, at, kind, user, key, facts, json })
    }
}

fn put_short(to: &mut BytesMut, text: &str) {
    // Ids and keys are at most 64 bytes long.
    to.put_u8(text.len() as u8);
    to.put_slice(text.as_bytes());
}

fn take(from: &mut Bytes, len: usize) -> Option<Bytes> {
    (from.len() >= len).then(|| from.split_to(len))
}

fn take_short(from: &mut Bytes) -> Option<String> {
    let len = usize::from(from.try_get_u8().ok()?);
    String::from_utf8(take(from, len)?.into()).ok()
}

fn sum(room: &RoomId, body: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(room.as_str().as_bytes());
    sum.update(body);
    sum.digest()
}

#[cfg(test)]
mod tests;

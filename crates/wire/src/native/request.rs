//! A client's frame becomes a request, or a refusal that says which field is wrong.
//!
//! A `send` is read in one pass. Whatever that does not take is read in two: `type` and `ref` first, then the fields of that
//! type. An internally tagged enum would take three times as long, and could not name the `ref` of a request that is
//! otherwise wrong.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use hubbub_core::code::Code;
use hubbub_core::ids::{BadId, Key, LogId, RoomId, Seq, UserId};
use hubbub_core::limits::{BadText, Content, check_name, check_topic};
use hubbub_core::ports::accounts::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::{self, Unread};
use crate::tier::query::{PAGE_ENTRIES_MAX, Range};

/// Longest `ref`, in bytes of the string.
pub const REF_BYTES_MAX: usize = 64;
/// Most rooms that one `hello` may resume.
pub const RESUME_ROOMS_MAX: usize = 1_000;
const CLIENT_BYTES_MAX: usize = 128;
const LIST_DEFAULT: u32 = 50;
const LIST_MAX: u32 = 200;

/// A client's name for a request, as JSON: given back as it came.
pub type Ref = Option<Box<RawValue>>;

/// Why a frame is not a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    /// `bad_request` or `too_large`.
    pub code: Code,
    /// The field that is wrong, if it is one.
    pub field: Option<&'static str>,
    /// A sentence for a person.
    pub message: String,
}

impl BadRequest {
    pub(crate) fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self { code: Code::BadRequest, field: Some(field), message: message.into() }
    }
}

impl From<Unread> for BadRequest {
    fn from(Unread { field, message }: Unread) -> Self {
        let message = if field.is_some() { message } else { format!("the request {message}") };
        Self { code: Code::BadRequest, field, message }
    }
}

impl From<BadText> for BadRequest {
    fn from(bad: BadText) -> Self {
        let code = if matches!(bad, BadText::TooLong { .. }) { Code::TooLarge } else { Code::BadRequest };
        Self { code, field: Some(bad.field()), message: bad.to_string() }
    }
}

/// What a client has seen, and goes on from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The last seq in each room.
    pub rooms: HashMap<RoomId, Seq>,
    /// Of which log, if it says so.
    pub log: Option<LogId>,
}

impl Resume {
    /// Whether what was seen is known to be of another log than this.
    pub fn is_of_another(&self, log: Option<LogId>) -> bool {
        self.log.is_some() && log.is_some() && self.log != log
    }
}

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Who it is, and where it was.
    Hello {
        /// The access token.
        token: Option<Secret>,
        /// What it has seen.
        resume: Resume,
        /// Name and version, for the logs.
        client: Option<String>,
    },
    /// Make a room.
    Create {
        /// Its name.
        name: Arc<str>,
        /// Its topic.
        topic: Arc<str>,
        /// So that a repeat is found.
        key: Option<Key>,
    },
    /// List rooms.
    Rooms {
        /// From an earlier page.
        cursor: Option<String>,
        /// At most so many.
        limit: u32,
    },
    /// Become a member.
    Join(RoomId),
    /// Be one no more.
    Leave(RoomId),
    /// Remove a member.
    Kick(RoomId, UserId),
    /// Change the topic.
    Topic(RoomId, Arc<str>),
    /// See a room as it is.
    Open {
        /// Which.
        room: RoomId,
        /// So many of its newest entries.
        limit: u32,
    },
    /// Say something.
    Send {
        /// Where.
        room: RoomId,
        /// What.
        content: Content,
        /// So that a repeat is found.
        key: Option<Key>,
        /// The last seq seen when the key was first sent.
        after: Option<Seq>,
    },
    /// The user writes, or stopped.
    Typing {
        /// Where.
        room: RoomId,
        /// Whether they write.
        on: bool,
    },
    /// Read old entries.
    History {
        /// Of which room.
        room: RoomId,
        /// Where in it.
        range: Range,
        /// At most so many.
        limit: u32,
        /// Only these kinds.
        kinds: Vec<String>,
    },
    /// List members.
    Members {
        /// Of which room.
        room: RoomId,
        /// From an earlier page.
        cursor: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// Hear of new rooms, or no more.
    Watch {
        /// Whether.
        directory: bool,
    },
    /// Are you there?
    Ping,
}

/// A frame taken apart: its `ref`, if one could be read, and the request or what is wrong with it.
#[derive(Debug)]
pub struct Frame {
    /// Goes back with the answer.
    pub reference: Ref,
    /// The request.
    pub request: Result<Request, BadRequest>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    type_name: Text<'a>,
    #[serde(rename = "ref", borrow)]
    reference: Option<&'a RawValue>,
}

/// A `send` with its envelope: nearly every frame that a busy server reads.
#[derive(Deserialize)]
struct Send<'a> {
    #[serde(rename = "type", borrow)]
    type_name: Text<'a>,
    #[serde(rename = "ref", borrow)]
    reference: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Text<'a>,
    text: Option<String>,
    image: Option<String>,
    #[serde(borrow)]
    key: Text<'a>,
    after: Option<Seq>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(rename = "ref", borrow)]
    reference: Option<&'a RawValue>,
}

/// Reads one frame's text.
pub fn parse(text: &str) -> Frame {
    // What does not say it anywhere is none, and need not be read for that.
    if text.starts_with('{')
        && text.contains("\"send\"")
        && let Ok(send) = serde_json::from_str::<Send<'_>>(text)
        && send.type_name.as_deref() == Some("send")
    {
        return named(send.reference, || send.check());
    }
    let envelope = match object::read::<Envelope<'_>>(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            // A `type` of another kind must not cost the client its `ref`.
            let reference = object::read::<Reference<'_>>(text).ok().and_then(|r| r.reference);
            let reference = reference.and_then(|raw| check_ref(raw).ok());
            return Frame { reference, request: Err(error.into()) };
        }
    };
    named(envelope.reference, || match envelope.type_name {
        Some(name) => parse_type(&name, text),
        None => Err(BadRequest::field("type", "a frame must be a JSON object with a type")),
    })
}

/// A frame of this `ref`; of a wrong one the request is not looked at.
fn named(reference: Option<&RawValue>, request: impl FnOnce() -> Result<Request, BadRequest>) -> Frame {
    match reference.map(check_ref).transpose() {
        Ok(reference) => Frame { reference, request: request() },
        Err(bad) => Frame { reference: None, request: Err(bad) },
    }
}

fn check_ref(raw: &RawValue) -> Result<Box<RawValue>, BadRequest> {
    let json = raw.get();
    let fits = match json.as_bytes().first() {
        Some(b'"') if json.len() <= REF_BYTES_MAX + 2 => true,
        // Escapes make the JSON longer than the string.
        Some(b'"') if json.len() <= REF_BYTES_MAX * 6 + 2 => {
            serde_json::from_str::<String>(json).is_ok_and(|text| text.len() <= REF_BYTES_MAX)
        }
        _ => json.parse::<i64>().is_ok() || json.parse::<u64>().is_ok(),
    };
    match fits {
        true => Ok(raw.to_owned()),
        false => Err(BadRequest::field("ref", "ref must be a string of up to 64 bytes or an integer")),
    }
}

fn parse_type(name: &str, text: &str) -> Result<Request, BadRequest> {
    match name {
        "send" => object::read::<Send<'_>>(text)?.check(),
        "typing" => parse_typing(text),
        "ping" => Ok(Request::Ping),
        "hello" => parse_hello(text),
        "join" => Ok(Request::Join(parse_room(text)?)),
        "leave" => Ok(Request::Leave(parse_room(text)?)),
        "kick" => parse_kick(text),
        "topic" => parse_topic(text),
        "open" => parse_open(text),
        "history" => parse_history(text),
        "members" => parse_members(text),
        "create" => parse_create(text),
        "rooms" => parse_rooms(text),
        "watch" => parse_watch(text),
        _ => {
            let shown: String = name.chars().take(32).collect();
            Err(BadRequest::field("type", format!("there is no request of type {shown:?}")))
        }
    }
}

/// A string field that may be missing.
pub(crate) type Text<'a> = Option<Borrowed<'a>>;

/// A string that is part of the frame if it has no escapes. An `Option<Cow<str>>` would be copied: serde borrows for a field that
/// is a `Cow` itself.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Borrowed<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

pub(crate) fn need<'a>(field: &'static str, text: Text<'a>) -> Result<Borrowed<'a>, BadRequest> {
    text.ok_or_else(|| BadRequest::field(field, format!("{field} is missing")))
}

pub(crate) fn id<T>(
    field: &'static str,
    text: Text<'_>,
    parse: fn(&str) -> Result<T, BadId>,
) -> Result<T, BadRequest> {
    parse(&need(field, text)?).map_err(|bad| BadRequest::field(field, format!("{field} {bad}")))
}

pub(crate) fn optional<T>(
    field: &'static str,
    text: Text<'_>,
    parse: fn(&str) -> Result<T, BadId>,
) -> Result<Option<T>, BadRequest> {
    text.is_some().then(|| id(field, text, parse)).transpose()
}

pub(crate) fn limit(given: Option<u32>, default: u32, max: u32) -> Result<u32, BadRequest> {
    match given.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(BadRequest::field("limit", format!("limit must be 1 to {max}"))),
    }
}

#[derive(Deserialize)]
struct RoomField<'a> {
    #[serde(borrow)]
    room: Text<'a>,
}

fn parse_room(text: &str) -> Result<RoomId, BadRequest> {
    let fields: RoomField<'_> = object::read(text)?;
    id("room", fields.room, RoomId::parse)
}

fn parse_hello(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields {
        token: Option<Secret>,
        rooms: Option<HashMap<String, Seq>>,
        log: Option<String>,
        client: Option<String>,
    }
    let fields: Fields = object::read(text)?;
    let rooms = fields.rooms.unwrap_or_default();
    if rooms.len() > RESUME_ROOMS_MAX {
        return Err(BadRequest::field("rooms", format!("at most {RESUME_ROOMS_MAX} rooms can be resumed")));
    }
    let rooms = rooms
        .into_iter()
        .map(|(room, seq)| Ok((id("rooms", Some(Borrowed(room.into())), RoomId::parse)?, seq)))
        .collect::<Result<_, BadRequest>>()?;
    let client =
        fields.client.map(|name| name.chars().filter(|c| !c.is_control()).take(CLIENT_BYTES_MAX).collect());
    let no_log = || BadRequest::field("log", "log is not one that a welcome named");
    let log = fields.log.map(|log| LogId::parse(&log).ok_or_else(no_log)).transpose()?;
    Ok(Request::Hello { token: fields.token, resume: Resume { rooms, log }, client })
}

fn parse_create(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow)]
        topic: Text<'a>,
        #[serde(borrow)]
        key: Text<'a>,
    }
    let fields: Fields<'_> = object::read(text)?;
    Ok(Request::Create {
        name: check_name(&need("name", fields.name)?)?,
        topic: check_topic(fields.topic.as_deref().unwrap_or_default())?,
        key: optional("key", fields.key, Key::parse)?,
    })
}

fn parse_rooms(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields {
        cursor: Option<String>,
        limit: Option<u32>,
    }
    let fields: Fields = object::read(text)?;
    Ok(Request::Rooms { cursor: fields.cursor, limit: limit(fields.limit, LIST_DEFAULT, LIST_MAX)? })
}

fn parse_kick(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        room: Text<'a>,
        #[serde(borrow)]
        user: Text<'a>,
    }
    let fields: Fields<'_> = object::read(text)?;
    Ok(Request::Kick(id("room", fields.room, RoomId::parse)?, id("user", fields.user, UserId::parse)?))
}

fn parse_topic(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        room: Text<'a>,
        #[serde(borrow)]
        topic: Text<'a>,
    }
    let fields: Fields<'_> = object::read(text)?;
    Ok(Request::Topic(id("room", fields.room, RoomId::parse)?, check_topic(&need("topic", fields.topic)?)?))
}

fn parse_open(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        room: Text<'a>,
        limit: Option<u32>,
    }
    let fields: Fields<'_> = object::read(text)?;
    Ok(Request::Open {
        room: id("room", fields.room, RoomId::parse)?,
        limit: limit(fields.limit, LIST_DEFAULT, LIST_MAX)?,
    })
}

impl Send<'_> {
    fn check(self) -> Result<Request, BadRequest> {
        let content = match (self.text, self.image) {
            (Some(text), None) => Content::text(text)?,
            (None, Some(image)) => Content::image(image)?,
            (None, None) => return Err(BadRequest::field("text", "text or image is missing")),
            (Some(_), Some(_)) => {
                return Err(BadRequest::field("image", "a message is a text or an image, not both"));
            }
        };
        Ok(Request::Send {
            room: id("room", self.room, RoomId::parse)?,
            content,
            key: optional("key", self.key, Key::parse)?,
            after: self.after,
        })
    }
}

fn parse_typing(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        room: Text<'a>,
        on: Option<bool>,
    }
    let fields: Fields<'_> = object::read(text)?;
    Ok(Request::Typing { room: id("room", fields.room, RoomId::parse)?, on: fields.on.unwrap_or(true) })
}

fn parse_history(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        room: Text<'a>,
        before: Option<Seq>,
        after: Option<Seq>,
        limit: Option<u32>,
        kinds: Option<Vec<String>>,
    }
    let fields: Fields<'_> = object::read(text)?;
    let range = range(fields.before, fields.after)?;
    Ok(Request::History {
        room: id("room", fields.room, RoomId::parse)?,
        range,
        limit: limit(fields.limit, LIST_DEFAULT, PAGE_ENTRIES_MAX)?,
        kinds: kinds(fields.kinds.unwrap_or_default())?,
    })
}

/// One of `before` and `after`, as a range.
pub fn range(before: Option<Seq>, after: Option<Seq>) -> Result<Range, BadRequest> {
    match (before, after) {
        (Some(seq), None) => Ok(Range::Before(seq)),
        (None, Some(seq)) => Ok(Range::After(seq)),
        (None, None) => Err(BadRequest::field("before", "one of before and after is needed")),
        (Some(_), Some(_)) => Err(BadRequest::field("after", "only one of before and after may be given")),
    }
}

fn kinds(kinds: Vec<String>) -> Result<Vec<String>, BadRequest> {
    const KNOWN: [&str; 11] =
        ["message", "join", "leave", "topic", "erase", "retention", "text", "link", "image", "bot", "erased"];
    if kinds.len() > KNOWN.len() {
        return Err(BadRequest::field(
            "kinds",
            format!("there are {} kinds, each to be named once", KNOWN.len()),
        ));
    }
    match kinds.iter().all(|kind| KNOWN.contains(&kind.as_str())) {
        true => Ok(kinds),
        false => Err(BadRequest::field("kinds", format!("kinds are of {}", KNOWN.join(", ")))),
    }
}

fn parse_members(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        room: Text<'a>,
        #[serde(borrow)]
        cursor: Text<'a>,
        limit: Option<u32>,
    }
    let fields: Fields<'_> = object::read(text)?;
    Ok(Request::Members {
        room: id("room", fields.room, RoomId::parse)?,
        cursor: optional("cursor", fields.cursor, UserId::parse)?,
        limit: limit(fields.limit, LIST_DEFAULT, LIST_MAX)?,
    })
}

fn parse_watch(text: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields {
        directory: Option<bool>,
    }
    let fields: Fields = object::read(text)?;
    let directory = fields.directory.ok_or_else(|| BadRequest::field("directory", "directory is missing"))?;
    Ok(Request::Watch { directory })
}

#[cfg(test)]
mod tests;

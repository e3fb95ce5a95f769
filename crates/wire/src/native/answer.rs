//! What clients are told, as whole text frames: a frame is made once and its bytes are shared.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use hubbub_core::code::{CloseCode, Code};
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Key, LogId, Millis, RoomId, Seq, User, UserId};
use hubbub_core::room::RoomInfo;
use hubbub_core::scan;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::native::request::Ref;
use crate::tier::event::RoomMade;
use crate::tier::query::Listed;
use crate::ws::{Opcode, encode};

/// Bytes kept free for the header before a payload is written, so that it need not be moved.
const HEADER_ROOM: usize = 10;
/// Bytes of most answers, at most: they are written without being moved.
pub(crate) const SHORT_BYTES: usize = 160;

/// One text frame around a JSON value.
pub fn frame<T: Serialize>(value: &T) -> Bytes {
    // Answers are plain structs with string keys: writing them to memory can't fail.
    framed(SHORT_BYTES, |out| serde_json::to_writer(out, value).expect("an answer is always valid JSON"))
}

/// One text frame around what is written: of about so many bytes.
pub(crate) fn framed(bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(&[0; HEADER_ROOM]);
    write(&mut out);
    let header = encode::header(Opcode::Text, out.len() - HEADER_ROOM);
    let from = HEADER_ROOM - header.len();
    out[from..HEADER_ROOM].copy_from_slice(&header);
    let mut out = Bytes::from(out);
    out.advance(from);
    out
}

/// Appends an entry's frame.
pub fn append_entry(out: &mut Vec<u8>, entry: &Entry) {
    encode::append_text(out, &[&entry.json]);
}

/// Appends an entry's frame as its sender's own connections see it: with the key.
pub fn append_own_entry(out: &mut Vec<u8>, entry: &Entry, key: &Key) {
    let json = entry.json.strip_suffix(b"}").unwrap_or(&entry.json);
    let escaped;
    let key = match key.as_str() {
        // A key has no control characters.
        plain if !scan::any(plain, |byte| matches!(byte, b'"' | b'\\')) => plain,
        other => {
            escaped = serde_json::to_string(other).expect("a string is always valid JSON");
            &escaped[1..escaped.len() - 1]
        }
    };
    encode::append_text(out, &[json, b",\"key\":\"", key.as_bytes(), b"\"}"]);
}

/// An entry's JSON as part of an answer: passed on as it is.
pub fn shown(entry: &Entry) -> Option<&RawValue> {
    // Made by `Entry::new` and kept under a checksum; the check here costs less than the copy.
    serde_json::from_slice(&entry.json).ok()
}

/// An `ok` frame with the fields of `body`, a struct. They are written behind ours: serde's `flatten` takes twice as long.
pub fn ok<T: Serialize>(reference: &Ref, body: T) -> Bytes {
    framed(SHORT_BYTES, |out| {
        put_ok(out, reference);
        let body_at = out.len();
        serde_json::to_writer(&mut *out, &body).expect("an answer is always valid JSON");
        match out[body_at..] == *b"{}" {
            true => _ = out.remove(body_at),
            false => out[body_at] = b',',
        }
    })
}

fn put_ok(out: &mut Vec<u8>, reference: &Ref) {
    out.extend_from_slice(br#"{"type":"ok""#);
    if let Some(reference) = reference {
        out.extend_from_slice(br#","ref":"#);
        out.extend_from_slice(reference.get().as_bytes());
    }
}

/// The `ok` of an entry that is kept: its seq and time, and `disk` or `quorum`. By hand, for each message has one.
pub fn kept(reference: &Ref, seq: Seq, at: Option<Millis>, durability: &'static str) -> Bytes {
    let put = |out: &mut Vec<u8>, number: u64| {
        serde_json::to_writer(out, &number).expect("a number is always valid JSON");
    };
    framed(SHORT_BYTES, |out| {
        put_ok(out, reference);
        out.extend_from_slice(br#","seq":"#);
        put(out, seq.0);
        out.extend_from_slice(br#","at":"#);
        match at {
            Some(at) => put(out, at.0),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","durability":""#);
        out.extend_from_slice(durability.as_bytes());
        out.extend_from_slice(b"\"}");
    })
}

/// Nothing beside the `ok`.
#[derive(Serialize)]
pub struct Nothing {}

/// An entry's place.
#[derive(Serialize)]
pub struct Placed {
    /// Its seq.
    pub seq: Seq,
}

/// A command that the bots have.
#[derive(Serialize)]
pub struct Commanded<'a> {
    /// Its id.
    pub command: &'a str,
    /// A text for its sender alone, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<&'a str>,
}

/// A room.
#[derive(Serialize)]
pub struct InRoom {
    /// The room.
    pub room: RoomInfo,
}

/// A room as it is.
#[derive(Serialize)]
pub struct Opened<'a> {
    /// The room.
    pub room: RoomInfo,
    /// The first page of its members.
    pub members: Vec<Present>,
    /// Its newest entries.
    pub entries: Vec<&'a RawValue>,
}

/// A page of a log.
#[derive(Serialize)]
pub struct Page<'a> {
    /// Ascending.
    pub entries: Vec<&'a RawValue>,
    /// Whether there is more in the asked direction.
    pub more: bool,
    /// If so: where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
    /// Where the log begins, if something of it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Seq>,
}

/// A member, and whether they are there.
#[derive(Debug, Serialize)]
pub struct Present {
    /// Who.
    pub id: UserId,
    /// What to call them.
    pub name: Arc<str>,
    /// Whether they have a connection.
    pub online: bool,
}

/// A page of members.
#[derive(Serialize)]
pub struct Members {
    /// By ascending id.
    pub members: Vec<Present>,
    /// The cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<UserId>,
}

/// A page of the directory.
#[derive(Serialize)]
pub struct Rooms {
    /// The newest first.
    pub rooms: Vec<Listed>,
    /// The cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An `error` frame.
#[derive(Serialize)]
pub struct Error<'a> {
    #[serde(rename = "type")]
    type_name: &'static str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: &'a Ref,
    code: Code,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// An `error` frame.
pub fn error(
    reference: &Ref,
    code: Code,
    message: &str,
    field: Option<&str>,
    retry_after_ms: Option<u64>,
) -> Bytes {
    frame(&Error { type_name: "error", reference, code, message, retry_after_ms, field })
}

/// What a connection is told when it is let in.
#[derive(Serialize)]
pub struct Welcome<'a> {
    /// Always `welcome`.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// The `ref` of the `hello`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: &'a Ref,
    /// Who the token stands for.
    pub user: WelcomeUser<'a>,
    /// The rooms whose entries the connection receives from here on.
    pub rooms: Vec<WelcomeRoom>,
    /// Which log the seqs of the rooms are of, and of those that are joined from now on.
    pub log: LogId,
    /// What a client may send.
    pub limits: &'a Limits,
    /// The server pings after so many seconds of silence; a client may do the same.
    pub heartbeat: u64,
}

/// Who is welcome.
#[derive(Serialize)]
pub struct WelcomeUser<'a> {
    /// Id.
    pub id: &'a UserId,
    /// Name.
    pub name: &'a str,
    /// Roles.
    pub roles: &'a [hubbub_core::ports::accounts::Role],
}

/// A room of a user who is let in.
#[derive(Serialize)]
pub struct WelcomeRoom {
    /// Which.
    pub id: RoomId,
    /// Its name.
    pub name: Arc<str>,
    /// Its topic, unless the topics are too long together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Arc<str>>,
    /// The last seq that this connection is not sent unless it resumes.
    pub head: Seq,
}

/// What a client may send, and how far back a resume reaches.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Characters of a text.
    pub text_chars: usize,
    /// Bytes of an image, before base64.
    pub image_bytes: usize,
    /// Bytes of a frame and of a message.
    pub frame_bytes: usize,
    /// Messages a second, in the long run.
    pub sends_per_second: u32,
    /// Requests that may wait for an answer at once.
    pub requests_in_flight: usize,
    /// Entries a room that a resume sends; beyond it, `behind`.
    pub resume_entries: u64,
    /// Rooms of a user.
    pub rooms: usize,
}

/// Events that are not entries.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event<'a> {
    /// A user writes, or stopped.
    Typing {
        /// Where.
        room: &'a RoomId,
        /// Who.
        user: &'a User,
        /// Whether.
        on: bool,
    },
    /// A user came or went; in a large room, how many are there.
    Presence {
        /// Where.
        room: &'a RoomId,
        /// Who.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a User>,
        /// Whether they are there; or how many are.
        #[serde(flatten)]
        online: Online,
    },
    /// A room was made.
    Room(&'a RoomMade),
    /// The log is not the one that was resumed from.
    Reset {
        /// Whose.
        room: &'a RoomId,
        /// Where it ends.
        head: Seq,
    },
    /// Entries were not sent; ask `history` for those after `after`.
    Behind {
        /// Of which room.
        room: &'a RoomId,
        /// The last one sent.
        after: Seq,
        /// What comes next begins after this one.
        head: Seq,
    },
    /// The connection is about to be closed.
    Bye {
        /// Why.
        reason: &'static str,
        /// When to come back.
        reconnect_after_ms: u64,
    },
    /// Here I am.
    Pong {
        /// The `ref` of the `ping`.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: &'a Ref,
    },
}

/// Whether a user is there, or how many are.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Online {
    /// Whether the user is.
    Online(bool),
    /// How many of a large room are.
    Count(u64),
}

/// `bye` with its reason, and the close frame behind it.
pub fn farewell(code: CloseCode, reason: &'static str, reconnect_after_ms: u64) -> Bytes {
    let bye = frame(&Event::Bye { reason, reconnect_after_ms });
    let mut out = bye.to_vec();
    encode::append_close(&mut out, code.number(), code.reason());
    out.into()
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::limits::Content;

    use super::*;

    fn json(frame: &Bytes) -> serde_json::Value {
        let header = if frame[1] < 126 { 2 } else { 4 };
        assert_eq!(frame[0], 0x81);
        serde_json::from_slice(&frame[header..]).unwrap()
    }

    #[test]
    fn an_answer_carries_the_ref_as_it_came() {
        let reference = Some(RawValue::from_string("\"a\\u0041\"".into()).unwrap());
        let frame = ok(&reference, Placed { seq: Seq(3) });
        assert!(frame.ends_with(br#"{"type":"ok","ref":"a\u0041","seq":3}"#), "{frame:?}");
        assert_eq!(json(&ok(&None, Nothing {})), serde_json::json!({"type": "ok"}));
        let long = error(&None, Code::NotMember, &"x".repeat(200), None, Some(5));
        assert_eq!(json(&long)["retry_after_ms"], 5);
    }

    #[test]
    fn only_its_sender_sees_a_key() {
        let room = RoomId::parse("r").unwrap();
        let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
        let key = Key::parse("k\"1").unwrap();
        let content = Content::text("x".into()).unwrap();
        let entry = Entry::new(&room, Seq(1), Millis(2), &user, Some(key.clone()), Says::Message(&content));
        let (mut all, mut own) = (Vec::new(), Vec::new());
        append_entry(&mut all, &entry);
        append_own_entry(&mut own, &entry, &key);
        assert!(json(&all.into()).get("key").is_none());
        assert_eq!(json(&own.into())["key"], "k\"1");
    }

    #[test]
    fn an_event_is_named_by_its_type() {
        let room = RoomId::parse("r").unwrap();
        let behind = frame(&Event::Behind { room: &room, after: Seq(1), head: Seq(9) });
        assert_eq!(json(&behind), serde_json::json!({"type": "behind", "room": "r", "after": 1, "head": 9}));
        let count = frame(&Event::Presence { room: &room, user: None, online: Online::Count(7) });
        assert_eq!(json(&count), serde_json::json!({"type": "presence", "room": "r", "count": 7}));
        let made = RoomMade {
            id: room.clone(),
            name: "R".into(),
            topic: "".into(),
            owner: UserId::parse("u").unwrap(),
        };
        assert_eq!(json(&frame(&Event::Room(&made)))["type"], "room");
    }
}

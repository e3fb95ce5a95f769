//! What Socket.IO's clients are told, as whole WebSocket text frames: an event is made once and its bytes are shared.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{RoomId, Seq, UserId};
use hubbub_core::ports::accounts::Role;
use memchr::{memchr2, memmem};
use serde::Serialize;
use serde_json::value::RawValue;

use super::NAMESPACE;
use super::engine::{Generation, Handshake};
use super::time::{Time, rfc3339};
use crate::native::answer::{SHORT_BYTES, framed};
use crate::seed::{self, ErrorNumber};
use crate::ws::encode;

/// A frame of these texts.
fn packet(parts: &[&str]) -> Bytes {
    framed(SHORT_BYTES, |out| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes())))
}

fn with_json<T: Serialize>(before: &[&str], value: &T, after: &str) -> Bytes {
    framed(SHORT_BYTES, |out| {
        before.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        // Answers are plain structs with string keys: writing them to memory can't fail.
        serde_json::to_writer(&mut *out, value).expect("an answer is always valid JSON");
        out.extend_from_slice(after.as_bytes());
    })
}

/// The first packet of a session.
pub fn open(handshake: &Handshake<'_>) -> Bytes {
    with_json(&["0"], handshake, "")
}

/// The server's ping.
pub fn ping() -> Bytes {
    packet(&["2"])
}

/// The answer to a client's ping, with what that carried.
pub fn pong(data: &str) -> Bytes {
    packet(&["3", data])
}

/// A client of generation 3 is in the root namespace without asking.
pub fn root_connected() -> Bytes {
    packet(&["40"])
}

/// The client is in the namespace.
pub fn connected(generation: Generation, sid: &str) -> Bytes {
    match generation {
        Generation::V3 => packet(&["40", NAMESPACE, ","]),
        Generation::V4 => with_json(&["40", NAMESPACE, ","], &Connected { sid }, ""),
    }
}

#[derive(Serialize)]
struct Connected<'a> {
    sid: &'a str,
}

/// The client is not in the namespace any more, and should not come again by itself.
pub fn disconnected() -> Bytes {
    packet(&["41", NAMESPACE, ","])
}

/// There is no such namespace.
pub fn no_such_namespace(generation: Generation, namespace: &str) -> Bytes {
    const MESSAGE: &str = "Invalid namespace";
    let comma = if namespace == "/" { "" } else { "," };
    let namespace = if namespace == "/" { "" } else { namespace };
    let before = ["44", namespace, comma];
    match generation {
        Generation::V3 => with_json(&before, &MESSAGE, ""),
        Generation::V4 => with_json(&before, &NamespaceError { message: MESSAGE }, ""),
    }
}

#[derive(Serialize)]
struct NamespaceError {
    message: &'static str,
}

/// An event.
pub fn event<T: Serialize>(name: &'static str, body: &T) -> Bytes {
    with_json(&["42", NAMESPACE, ",[\"", name, "\","], body, "]")
}

/// The callback of the client's event `id`.
pub fn ack<T: Serialize>(id: u64, body: &T) -> Bytes {
    with_json(&["43", NAMESPACE, ",", &id.to_string(), "["], body, "]")
}

/// Appends an entry's event, if it is one.
pub fn append_entry(out: &mut Vec<u8>, room: &RoomId, entry: &Entry) {
    let user = &entry.user;
    let frame = match entry.kind {
        Kind::Join => event("join", &Membership { user, chatroom: room }),
        Kind::Leave => event("leave", &Membership { user, chatroom: room }),
        Kind::Text | Kind::Link | Kind::Image | Kind::Bot => return append_message(out, room, entry),
        Kind::Erase => {
            let Some(erasure) = entry.erasure() else { return };
            event("erase", &Erase { chatroom: room, owner: user, upto: erasure.upto })
        }
        // The seed's clients know no event for it: they read it with the room; and what is erased is no message any more.
        Kind::Topic | Kind::Erased | Kind::Retention => return,
    };
    out.extend_from_slice(&frame);
}

#[derive(Serialize)]
struct Membership<'a> {
    user: &'a UserId,
    chatroom: &'a RoomId,
}

#[derive(Serialize)]
struct Erase<'a> {
    chatroom: &'a RoomId,
    owner: &'a UserId,
    upto: Seq,
}

/// Appends a message's event. Part by part, for it is what most of the traffic is: ids, numbers and times need no escapes, and what
/// was said is escaped already.
fn append_message(out: &mut Vec<u8>, room: &RoomId, entry: &Entry) {
    let (Some(kind), Some(said)) = (seed::message_type(entry.kind), said(entry)) else { return };
    let (seq, at) = (entry.seq.0.to_string(), rfc3339(entry.at));
    let (room, at) = (room.as_str().as_bytes(), at.as_str().as_bytes());
    let parts: [&[u8]; 21] = [
        b"42",
        NAMESPACE.as_bytes(),
        br#",["message",{"error":0,"chatroom":""#,
        room,
        br#"","msg":{"id":""#,
        room,
        b"-",
        seq.as_bytes(),
        br#"","owner":""#,
        entry.user.as_str().as_bytes(),
        br#"","chatroom":""#,
        room,
        br#"","type":"#,
        &[b'0' + kind],
        br#","message":"#,
        said,
        br#","createdAt":""#,
        at,
        br#"","updatedAt":""#,
        at,
        br#""}}]"#,
    ];
    encode::append_text(out, &parts);
}

/// A message.
#[derive(Serialize)]
pub struct Message<'a> {
    id: String,
    owner: &'a UserId,
    chatroom: &'a RoomId,
    #[serde(rename = "type")]
    kind: u8,
    /// A text, or a picture as a data URL. As it stands in the entry: nothing is escaped anew.
    message: &'a RawValue,
    #[serde(rename = "createdAt")]
    created_at: Time,
    #[serde(rename = "updatedAt")]
    updated_at: Time,
}

/// The id of a message, the same as over HTTP.
pub fn message_id(room: &RoomId, seq: Seq) -> String {
    format!("{room}-{seq}")
}

/// What a message says, as it stands in the entry's JSON: a string with its quotes.
fn said(entry: &Entry) -> Option<&[u8]> {
    let name: &[u8] = if entry.kind == Kind::Image { br#","image":""# } else { br#","text":""# };
    // Made by `Entry::new` and kept under a checksum. Within a string the quotes would be escaped, so it is found nowhere else.
    let from = memmem::find(&entry.json, name)? + name.len();
    let mut end = from;
    loop {
        end += memchr2(b'"', b'\\', entry.json.get(end..)?)?;
        if entry.json[end] == b'"' {
            return Some(&entry.json[from - 1..=end]);
        }
        // What is escaped is passed over.
        end += 2;
    }
}

/// An entry as a message, if it is one.
pub fn message<'a>(room: &'a RoomId, entry: &'a Entry) -> Option<Message<'a>> {
    let kind = seed::message_type(entry.kind)?;
    let message = serde_json::from_slice(said(entry)?).ok()?;
    let at = rfc3339(entry.at);
    Some(Message {
        id: message_id(room, entry.seq),
        owner: &entry.user,
        chatroom: room,
        kind,
        message,
        // A message is never changed.
        created_at: at,
        updated_at: at,
    })
}

/// `authentication`: who the token stands for.
#[derive(Serialize)]
pub struct Authentication<'a> {
    /// Who.
    pub user: &'a UserId,
    /// What others see.
    pub name: &'a str,
    /// 1 for a person, 3 for a bot.
    #[serde(rename = "type")]
    pub kind: u8,
    /// What the account may do.
    pub roles: &'a [Role],
}

/// `writing`: a user writes, or stopped.
#[derive(Serialize)]
pub struct Writing<'a> {
    /// Where.
    pub chatroom: &'a RoomId,
    /// Who.
    pub source: &'a UserId,
    /// 1 or 0.
    pub status: u8,
}

/// `status`: a user came or went.
#[derive(Serialize)]
pub struct Status<'a> {
    /// Who.
    pub user: &'a UserId,
    /// 1 or 0.
    pub status: u8,
}

/// `chatroom`: a room of the directory, or one that was made just now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chatroom<'a> {
    /// Which.
    pub id: &'a RoomId,
    /// Its name.
    pub name: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Who made it.
    pub owner: &'a UserId,
    /// How many members it has.
    pub count: u64,
    /// Whether the client's user is one.
    pub is_user: bool,
}

/// `behind`: messages after this place up to the head were dropped, for the client read too slowly. Not of the seed; clients that
/// do not know it lose nothing by it.
#[derive(Serialize)]
pub struct Behind<'a> {
    /// Of which room.
    pub chatroom: &'a RoomId,
    /// The last entry that was sent.
    pub after: Seq,
    /// What comes next begins after this one.
    pub head: Seq,
}

/// `reset`: the log is another one than before; read it again. Not of the seed.
#[derive(Serialize)]
pub struct Reset<'a> {
    /// Of which room.
    pub chatroom: &'a RoomId,
    /// Where it ends.
    pub head: Seq,
}

/// A callback that says no more than whether there was an error.
#[derive(Serialize)]
pub struct Done {
    /// 0.
    pub error: ErrorNumber,
}

/// A callback that names what was made, joined or left.
#[derive(Serialize)]
pub struct DoneTo<'a> {
    /// 0.
    pub error: ErrorNumber,
    /// The room's id, or the message's.
    pub id: &'a str,
}

/// The callback of a command: the bots have it.
#[derive(Serialize)]
pub struct Commanded<'a> {
    /// 0.
    pub error: ErrorNumber,
    /// Its id.
    pub command: &'a str,
    /// A text for its sender alone, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<&'a str>,
}

/// The callback of something that failed.
#[derive(Serialize)]
pub struct Failed<'a> {
    /// Its number.
    pub error: ErrorNumber,
    /// A sentence for a person.
    pub message: &'a str,
}

/// The callback of `switch`.
#[derive(Serialize)]
pub struct Switched<'a> {
    /// 0.
    pub error: ErrorNumber,
    /// The room.
    pub data: Room<'a>,
    /// The newest first.
    pub messages: Vec<Message<'a>>,
}

/// A room with its members.
#[derive(Serialize)]
pub struct Room<'a> {
    /// Which.
    pub id: &'a RoomId,
    /// Its name.
    pub name: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Its members.
    pub users: Vec<RoomUser>,
}

/// A member of a room.
#[derive(Serialize)]
pub struct RoomUser {
    /// Who.
    pub user: UserId,
    /// What to call them.
    pub name: Arc<str>,
    /// 1 if they are there, else 0.
    pub status: u8,
}

/// The callback of `history`.
#[derive(Serialize)]
pub struct History<'a> {
    /// 0.
    pub error: ErrorNumber,
    /// The newest first.
    pub messages: Vec<Message<'a>>,
}

/// The callback of `chatrooms`.
#[derive(Serialize)]
pub struct Chatrooms<'a> {
    /// 0.
    pub error: ErrorNumber,
    /// The newest first.
    pub chatrooms: Vec<Listed<'a>>,
}

/// A room of that list.
#[derive(Serialize)]
pub struct Listed<'a> {
    /// Which.
    pub id: &'a RoomId,
    /// Its name.
    pub name: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Who made it.
    pub owner: &'a UserId,
    /// Whether the asking user is a member.
    pub present: bool,
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Key, Millis, User};
    use hubbub_core::limits::{BotText, Content};

    use super::*;

    fn text(frame: &[u8]) -> String {
        let mut frames = encode::frames(frame);
        let payload = frames.next().unwrap().1.to_vec();
        assert!(frames.next().is_none());
        String::from_utf8(payload).unwrap()
    }

    #[test]
    fn entries_are_the_seeds_events() {
        let room = RoomId::parse("r").unwrap();
        let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
        let shown = |says: Says<'_>| {
            let key = Some(Key::parse("secret").unwrap());
            let entry = Entry::new(&room, Seq(7), Millis(951_782_400_000), &user, key, says);
            let mut out = Vec::new();
            append_entry(&mut out, &room, &entry);
            if out.is_empty() { String::new() } else { text(&out) }
        };
        let message = |kind: u8, message: &str| {
            format!(
                "42/v1/channel,[\"message\",{{\"error\":0,\"chatroom\":\"r\",\"msg\":{{\"id\":\"r-7\",\"owner\":\"u\",\
                 \"chatroom\":\"r\",\"type\":{kind},\"message\":\"{message}\",\"createdAt\":\"2000-02-29T00:00:00.000Z\",\
                 \"updatedAt\":\"2000-02-29T00:00:00.000Z\"}}}}]"
            )
        };
        let said = |content: Content| shown(Says::Message(&content));
        assert_eq!(said(Content::text("a \"b\"".into()).unwrap()), message(1, "a \\\"b\\\""));
        assert_eq!(said(Content::text("https://a.example".into()).unwrap()), message(2, "https://a.example"));
        let image = "data:image/png;base64,iVBORw==";
        assert_eq!(said(Content::image(image.into()).unwrap()), message(3, image));
        assert_eq!(shown(Says::Bot(&BotText::new("b".into(), true).unwrap())), message(1, "b"));
        assert_eq!(shown(Says::Join(None)), "42/v1/channel,[\"join\",{\"user\":\"u\",\"chatroom\":\"r\"}]");
        assert_eq!(
            shown(Says::Leave { by: Some(&user) }),
            "42/v1/channel,[\"leave\",{\"user\":\"u\",\"chatroom\":\"r\"}]"
        );
        let facts =
            hubbub_core::entry::RoomFacts { name: "n".into(), topic: "t".into(), owner: user.id.clone() };
        assert_eq!(shown(Says::Topic(&facts)), "");
    }

    #[test]
    fn an_event_shows_a_message_as_a_list_does() {
        let room = RoomId::parse("a_room-1").unwrap();
        let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
        for (at, said) in [(1, "a"), (1_795_765_380_123, "\\"), (9, "\\\"\n\u{1}\u{2028}é\\\\\""), (9, "\"")]
        {
            let content = Content::Text(said.into());
            let entry =
                Entry::new(&room, Seq(u64::MAX >> 11), Millis(at), &user, None, Says::Message(&content));
            let mut out = Vec::new();
            append_entry(&mut out, &room, &entry);
            let shown = serde_json::to_string(&message(&room, &entry).unwrap()).unwrap();
            let expected = format!(
                "42/v1/channel,[\"message\",{{\"error\":0,\"chatroom\":\"a_room-1\",\"msg\":{shown}}}]"
            );
            assert_eq!(text(&out), expected);
            let told: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(told["message"], said);
        }
    }

    #[test]
    fn what_is_said_is_not_taken_from_a_name_that_looks_like_it() {
        let room = RoomId::parse("r").unwrap();
        let user = User { id: UserId::parse("u").unwrap(), name: r#"","text":"no","image":"no"#.into() };
        for content in [Content::Text(r#"a ","text":"b"#.into()), Content::Image("data:".into())] {
            let entry = Entry::new(&room, Seq(7), Millis(1), &user, None, Says::Message(&content));
            let (Content::Text(said) | Content::Link(said) | Content::Image(said)) = &content;
            let told: String = serde_json::from_str(message(&room, &entry).unwrap().message.get()).unwrap();
            assert_eq!(told, *said);
        }
    }

    #[test]
    fn packets_are_those_of_the_specification() {
        assert_eq!(text(&ack(12, &Done { error: 0 })), "43/v1/channel,12[{\"error\":0}]");
        assert_eq!(text(&connected(Generation::V3, "s")), "40/v1/channel,");
        assert_eq!(text(&connected(Generation::V4, "s")), "40/v1/channel,{\"sid\":\"s\"}");
        assert_eq!(text(&no_such_namespace(Generation::V3, "/x")), "44/x,\"Invalid namespace\"");
        assert_eq!(text(&no_such_namespace(Generation::V4, "/")), "44{\"message\":\"Invalid namespace\"}");
        let handshake = Handshake {
            sid: "s",
            upgrades: &["websocket"],
            ping_interval: 25_000,
            ping_timeout: 20_000,
            max_payload: 100,
        };
        assert_eq!(
            text(&open(&handshake)),
            "0{\"sid\":\"s\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":100}"
        );
    }
}

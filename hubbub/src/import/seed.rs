//! The documents of the seed's collections, and what becomes of each.
//!
//! | collection | fields |
//! |---|---|
//! | chatrooms | `_id`, `name`, `topic`, `owner`, `users` (its members: ids, or objects with one under `user`, `_id` or `id`), `createdAt` |
//! | messages | `_id`, `chatroom`, `owner`, `type` (1 text, 2 link, 3 image), `message`, `createdAt` |
//! | users, if the account service's are exported | `_id`, `name` |
//!
//! Where `createdAt` is missing the time in the ObjectId counts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hubbub_core::ids::{Key, Millis, RoomId, UserId};
use hubbub_core::limits::{Content, NAME_CHARS_MAX, TOPIC_CHARS_MAX, check_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extended_json::{id, integer, made_at, millis};

/// Why a line is not taken, for people.
pub(super) type Reason = String;

/// What is before a message's id in the key of its entry: no client makes such keys by chance.
const KEY_PREFIX: &str = "mongo:";

/// A chatroom, with what our rooms can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chatroom {
    pub(super) line: u64,
    pub(super) id: RoomId,
    pub(super) name: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) owner: UserId,
    /// `None` if the document does not say who is in it.
    pub(super) members: Option<Vec<UserId>>,
    pub(super) at: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) line: u64,
    pub(super) room: RoomId,
    pub(super) key: Key,
    pub(super) owner: UserId,
    pub(super) content: Content,
    pub(super) at: u64,
}

/// What is kept between reading and writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Document {
    Room(Chatroom),
    Message(Message),
}

impl Document {
    /// By which it is sorted: a room, then its messages as the seed showed them, by time and then by id.
    pub(super) fn sort_key(&self) -> Vec<u8> {
        let (room, kind, at, id) = match self {
            Self::Room(room) => (&room.id, 0, 0, ""),
            Self::Message(message) => (&message.room, 1, message.at, message.key.as_str()),
        };
        // No id of a room has a zero byte.
        [room.as_str().as_bytes(), &[0, kind], &at.to_be_bytes(), id.as_bytes()].concat()
    }
}

/// The part of a sort key that all documents of one room share.
pub(super) fn room_of(sort_key: &[u8]) -> &[u8] {
    sort_key.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Whether an entry with this key was imported.
pub(super) fn is_imported(key: &Key) -> bool {
    key.as_str().starts_with(KEY_PREFIX)
}

fn parse(line: &[u8]) -> Result<Value, Reason> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("is not JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("is not an object".into()) }
}

fn id_of<'a>(document: &'a Value, field: &str) -> Result<&'a str, Reason> {
    match &document[field] {
        Value::Null => Err(format!("has no {field}")),
        value => id(value).ok_or_else(|| format!("{field} is not an id")),
    }
}

fn user_id(text: &str, field: &str) -> Result<UserId, Reason> {
    UserId::parse(text).map_err(|error| format!("{field} {error}"))
}

fn room_id(text: &str, field: &str) -> Result<RoomId, Reason> {
    RoomId::parse(text).map_err(|error| format!("{field} {error}"))
}

fn time_of(document: &Value, id: &str) -> Result<u64, Reason> {
    match &document["createdAt"] {
        Value::Null => made_at(id).ok_or_else(|| "has no createdAt".into()),
        // One in the future is in another unit, most likely, and all that is said later would have it.
        date => millis(date)
            .filter(|at| *at <= tomorrow())
            .ok_or_else(|| "createdAt is not a date since 1970 and until now".into()),
    }
}

/// Later than any clock that was right.
fn tomorrow() -> u64 {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    Millis::from(SystemTime::now() + DAY).0
}

fn text_of<'a>(document: &'a Value, field: &str) -> Result<&'a str, Reason> {
    match &document[field] {
        Value::Null => Ok(""),
        value => value.as_str().ok_or_else(|| format!("{field} is not a string")),
    }
}

/// One line of at most so many characters.
fn fitting(text: &str, chars_max: usize) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.chars().count() > chars_max {
        true => line.chars().take(chars_max - 1).chain(['…']).collect(),
        false => line,
    }
}

impl Chatroom {
    /// Reads a line of the chatrooms. What does not fit, and so was changed, is added to the notes.
    pub(super) fn read(line: u64, text: &[u8], notes: &mut Vec<String>) -> Result<Self, Reason> {
        let document = parse(text)?;
        if !document["chatroom"].is_null() && !document["message"].is_null() {
            return Err("is a message and no chatroom: are the two files the other way round?".into());
        }
        let id = id_of(&document, "_id")?;
        let at = time_of(&document, id)?;
        let owner = user_id(id_of(&document, "owner")?, "owner")?;
        let mut fit = |field: &'static str, chars_max| {
            let text = text_of(&document, field)?;
            let fitting = fitting(text, chars_max);
            if fitting != text.trim() {
                notes.push(format!("{field} was made one line of at most {chars_max} characters"));
            }
            Ok::<_, Reason>(fitting)
        };
        let (mut name, topic) = (fit("name", NAME_CHARS_MAX)?, fit("topic", TOPIC_CHARS_MAX)?);
        if name.trim().is_empty() {
            notes.push("has no name; it is called by its id".into());
            id.clone_into(&mut name);
        }
        let members = members_of(&document["users"], notes)?;
        let (name, topic) = (name.trim().into(), topic.trim().into());
        Ok(Self { line, id: room_id(id, "_id")?, name, topic, owner, members, at })
    }
}

fn members_of(users: &Value, notes: &mut Vec<String>) -> Result<Option<Vec<UserId>>, Reason> {
    if users.is_null() {
        return Ok(None);
    }
    let users = users.as_array().ok_or("users is not a list")?;
    let mut members = Vec::with_capacity(users.len());
    for (number, user) in users.iter().enumerate() {
        let named = ["user", "_id", "id"].iter().find_map(|field| user.get(field).and_then(id));
        match id(user).or(named).map(UserId::parse) {
            Some(Ok(id)) => members.push(id),
            _ => notes.push(format!("users[{number}] is not an id and is left out")),
        }
    }
    Ok(Some(members))
}

impl Message {
    /// Reads a line of the messages.
    pub(super) fn read(line: u64, text: &[u8]) -> Result<Self, Reason> {
        let document = parse(text)?;
        let id = id_of(&document, "_id")?;
        let key = Key::parse(&format!("{KEY_PREFIX}{id}")).map_err(|error| format!("_id {error}"))?;
        let text = match &document["message"] {
            Value::Null => return Err("has no message".into()),
            text => text.as_str().ok_or("message is not a string")?.to_owned(),
        };
        Ok(Self {
            line,
            room: room_id(id_of(&document, "chatroom")?, "chatroom")?,
            key,
            owner: user_id(id_of(&document, "owner")?, "owner")?,
            content: content(&document["type"], text)?,
            at: time_of(&document, id)?,
        })
    }
}

fn content(kind: &Value, text: String) -> Result<Content, Reason> {
    let made = match (kind, integer(kind)) {
        (Value::Null, _) | (_, Some(2)) => Content::text(text),
        (_, Some(1)) => Content::text(text).map(|content| match content {
            // Its sender's client showed it as text.
            Content::Link(text) => Content::Text(text),
            content => content,
        }),
        (_, Some(3)) => Content::picture(text),
        _ => return Err("type is not 1 (text), 2 (link) or 3 (image)".into()),
    };
    made.map_err(|bad| bad.to_string())
}

/// Reads a line of the account service's users: who is called what.
pub(super) fn read_user(text: &[u8]) -> Result<(UserId, Arc<str>), Reason> {
    let document = parse(text)?;
    let id = user_id(id_of(&document, "_id")?, "_id")?;
    let name = fitting(text_of(&document, "name")?, NAME_CHARS_MAX);
    Ok((id, check_name(&name).map_err(|bad| bad.to_string())?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(document: &Value) -> Result<Message, Reason> {
        Message::read(1, document.to_string().as_bytes())
    }

    fn with(field: &str, value: Value) -> Value {
        let mut document = json!({
            "_id": {"$oid": "5f5e1000aabbccddeeff0011"}, "chatroom": {"$oid": "5f5e0000aabbccddeeff0001"},
            "owner": "ann", "type": {"$numberInt": "1"}, "message": "hi",
            "createdAt": {"$date": {"$numberLong": "1600000000000"}},
        });
        document[field] = value;
        document
    }

    #[test]
    fn a_message_keeps_id_author_time_and_type() {
        let read = message(&with("__v", json!(0))).unwrap();
        assert_eq!(read.key.as_str(), "mongo:5f5e1000aabbccddeeff0011");
        assert_eq!((read.owner.as_str(), read.at), ("ann", 1_600_000_000_000));
        assert_eq!(read.content, Content::Text("hi".into()));
        let link = "https://example.org";
        for (kind, text, content) in [
            (json!(1), link, Content::Text(link.into())),
            (json!(2), link, Content::Link(link.into())),
            (json!(2), "javascript:alert(1)", Content::Text("javascript:alert(1)".into())),
            (json!(null), link, Content::Link(link.into())),
            (json!(3), "iVBORw0K", Content::Image("data:image/png;base64,iVBORw0K".into())),
        ] {
            let mut document = with("type", kind);
            document["message"] = json!(text);
            assert_eq!(message(&document).unwrap().content, content, "{document}");
        }
    }

    #[test]
    fn a_line_that_is_not_taken_says_why() {
        for (document, reason) in [
            (with("_id", json!(null)), "has no _id"),
            (with("_id", json!({"$oid": 7})), "_id is not an id"),
            (with("owner", json!("a b")), "owner has a character that is not allowed"),
            (with("chatroom", json!({"$ref": "x"})), "chatroom is not an id"),
            (with("type", json!(4)), "type is not 1 (text), 2 (link) or 3 (image)"),
            (with("type", json!(3)), "image must be a base64 data URL of a png, jpeg, gif or webp"),
            (with("message", json!(" ")), "text must not be empty"),
            (with("message", json!("x".repeat(4_097))), "text is longer than 4096 characters"),
            (with("createdAt", json!("yesterday")), "createdAt is not a date since 1970 and until now"),
            (
                with("createdAt", json!({"$date": {"$numberLong": "1600000000123456"}})),
                "createdAt is not a date since 1970 and until now",
            ),
        ] {
            assert_eq!(message(&document).unwrap_err(), reason, "{document}");
        }
        let without_time = with("createdAt", json!(null));
        assert_eq!(message(&without_time).unwrap().at, 0x5f5e_1000 * 1_000);
    }

    #[test]
    fn a_room_is_made_to_fit_and_says_so() {
        let document = json!({"_id": "general", "name": "n".repeat(90), "topic": "a\nb", "owner": {"$oid": "5f5e1000aabbccddeeff0011"},
            "users": ["ann", {"$oid": "5f5e1000aabbccddeeff0012"}, {"user": "bob"}, 7], "createdAt": {"$date": "2020-09-13T12:26:40Z"}});
        let mut notes = Vec::new();
        let room = Chatroom::read(3, document.to_string().as_bytes(), &mut notes).unwrap();
        assert_eq!(check_name(&room.name), Ok(room.name.clone()));
        assert_eq!(&*room.topic, "a b");
        let members: Vec<_> = room.members.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(members, ["ann", "5f5e1000aabbccddeeff0012", "bob"]);
        assert_eq!(notes.len(), 3, "{notes:?}");
    }

    #[test]
    fn a_room_comes_before_its_messages_and_they_by_time() {
        let message = |id: &str, at| {
            let mut document = with("createdAt", json!({"$date": {"$numberLong": format!("{at}")}}));
            document["_id"] = json!(id);
            Document::Message(message(&document).unwrap()).sort_key()
        };
        let room = json!({"_id": "5f5e0000aabbccddeeff0001", "owner": "ann"});
        let room = Chatroom::read(1, room.to_string().as_bytes(), &mut Vec::new()).unwrap();
        let room = Document::Room(room).sort_key();
        let sorted = [room.clone(), message("b", 255), message("a", 256), message("b", 256)];
        assert!(sorted.is_sorted(), "{sorted:?}");
        assert!(sorted.iter().all(|key| room_of(key) == room_of(&room)));
    }
}

//! What a client asks by an event: a name, an object of fields, and a number for the callback, which the
//! [packet](super::packet) has.

use std::borrow::Cow;
use std::sync::Arc;

use hubbub_core::code::Code;
use hubbub_core::ids::{Key, RoomId};
use hubbub_core::limits::{check_name, check_topic};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::native::request::{BadRequest, Text, id, limit, need, optional};
use crate::object;
use crate::seed::Attempt;
use crate::tier::query::PAGE_ENTRIES_MAX;

/// How many of a room's newest messages may be skipped. They are read all the same, so there is an end.
pub const SKIP_MAX: u32 = 10_000;
const MESSAGES_DEFAULT: u32 = 50;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Show a room and its newest messages.
    Switch(Page),
    /// Show messages of a room.
    History(Page),
    /// The user writes, or stopped.
    Writing {
        /// Where.
        room: RoomId,
        /// Whether they write.
        on: bool,
    },
    /// List the rooms.
    Chatrooms,
    /// Make a room.
    Chatroom {
        /// Its name.
        name: Arc<str>,
        /// Its topic.
        topic: Arc<str>,
    },
    /// Become a member.
    Join(RoomId),
    /// Be one no more.
    Leave(RoomId),
    /// Say something.
    Message {
        /// Where.
        room: RoomId,
        /// A text, or
        text: Option<String>,
        /// a picture: a data URL or plain base64.
        image: Option<String>,
        /// So that a repeat is found.
        key: Option<Key>,
    },
}

/// Messages counted from the newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Of which room.
    pub room: RoomId,
    /// How many of the newest are left out.
    pub skip: u32,
    /// At most so many.
    pub limit: u32,
}

/// Reads an event: what it attempts, by which its failure is numbered, and what it asks or what is wrong with it. `None` if
/// the JSON is no event at all.
pub fn parse(data: &str) -> Option<(Attempt, Result<Request, BadRequest>)> {
    // Most are messages: they are read in one pass. Whatever is not as it should be is looked at again, so that it can be said.
    if data.starts_with("[\"message\",{")
        && let Ok((_, fields)) = serde_json::from_str::<(IgnoredAny, Message<'_>)>(data)
    {
        return Some((Attempt::Send, fields.request()));
    }
    let parts: Vec<&RawValue> = serde_json::from_str(data).ok()?;
    let name: Cow<'_, str> = serde_json::from_str(parts.first()?.get()).ok()?;
    let attempt = match &*name {
        "message" => Attempt::Send,
        "history" => Attempt::History,
        _ => Attempt::Other,
    };
    let fields = parts.get(1).map_or("{}", |fields| fields.get());
    Some((attempt, parse_fields(&name, fields)))
}

fn parse_fields(name: &str, fields: &str) -> Result<Request, BadRequest> {
    match name {
        "message" => object::read::<Message<'_>>(fields)?.request(),
        "writing" => parse_writing(fields),
        "switch" => Ok(Request::Switch(parse_page(fields)?)),
        "history" => Ok(Request::History(parse_page(fields)?)),
        "join" => Ok(Request::Join(parse_room(fields)?)),
        "leave" => Ok(Request::Leave(parse_room(fields)?)),
        "chatrooms" => Ok(Request::Chatrooms),
        "chatroom" => parse_chatroom(fields),
        _ => {
            let shown: String = name.chars().take(32).collect();
            let message = format!("there is no event {shown:?} to be sent here");
            Err(BadRequest { code: Code::BadRequest, field: None, message })
        }
    }
}

fn room(text: Text<'_>) -> Result<RoomId, BadRequest> {
    id("chatroom", text, RoomId::parse)
}

fn parse_room(fields: &str) -> Result<RoomId, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        chatroom: Text<'a>,
    }
    let fields: Fields<'_> = object::read(fields)?;
    room(fields.chatroom)
}

fn parse_page(fields: &str) -> Result<Page, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        chatroom: Text<'a>,
        skip: Option<u32>,
        limit: Option<u32>,
    }
    let fields: Fields<'_> = object::read(fields)?;
    let skip = fields.skip.unwrap_or(0);
    if skip > SKIP_MAX {
        return Err(BadRequest::field("skip", format!("at most {SKIP_MAX} messages can be skipped")));
    }
    let limit = limit(fields.limit, MESSAGES_DEFAULT, PAGE_ENTRIES_MAX)?;
    Ok(Page { room: room(fields.chatroom)?, skip, limit })
}

fn parse_writing(fields: &str) -> Result<Request, BadRequest> {
    /// The seed never said which it is.
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be 1 or 0")]
    enum Status {
        Number(i64),
        Truth(bool),
    }
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        chatroom: Text<'a>,
        status: Option<Status>,
    }
    let fields: Fields<'_> = object::read(fields)?;
    let on = !matches!(fields.status, Some(Status::Number(0) | Status::Truth(false)));
    Ok(Request::Writing { room: room(fields.chatroom)?, on })
}

fn parse_chatroom(fields: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow)]
        topic: Text<'a>,
    }
    let fields: Fields<'_> = object::read(fields)?;
    let name = check_name(&need("name", fields.name)?)?;
    Ok(Request::Chatroom { name, topic: check_topic(fields.topic.as_deref().unwrap_or_default())? })
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    chatroom: Text<'a>,
    message: Option<String>,
    image: Option<String>,
    #[serde(borrow)]
    key: Text<'a>,
}

impl Message<'_> {
    fn request(self) -> Result<Request, BadRequest> {
        Ok(Request::Message {
            room: room(self.chatroom)?,
            text: self.message,
            image: self.image,
            key: optional("key", self.key, Key::parse)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(data: &str) -> Result<Request, Option<&'static str>> {
        parse(data).unwrap().1.map_err(|bad| bad.field)
    }

    fn id(text: &str) -> RoomId {
        RoomId::parse(text).unwrap()
    }

    #[test]
    fn every_event_of_the_contract_is_read() {
        let page = |skip, limit| Page { room: id("r"), skip, limit };
        for (data, request) in [
            (r#"["switch",{"chatroom":"r"}]"#, Request::Switch(page(0, 50))),
            (r#"["history",{"chatroom":"r","skip":5,"limit":10}]"#, Request::History(page(5, 10))),
            (r#"["writing",{"chatroom":"r"}]"#, Request::Writing { room: id("r"), on: true }),
            (r#"["writing",{"chatroom":"r","status":0}]"#, Request::Writing { room: id("r"), on: false }),
            (r#"["writing",{"chatroom":"r","status":false}]"#, Request::Writing { room: id("r"), on: false }),
            (r#"["writing",{"chatroom":"r","status":1}]"#, Request::Writing { room: id("r"), on: true }),
            (r#"["chatrooms",{}]"#, Request::Chatrooms),
            (r#"["chatrooms"]"#, Request::Chatrooms),
            (r#"["join",{"chatroom":"r"}]"#, Request::Join(id("r"))),
            (r#"["leave",{"chatroom":"r","more":[1]}]"#, Request::Leave(id("r"))),
            (
                r#"["chatroom",{"name":"The room","topic":"t"}]"#,
                Request::Chatroom { name: "The room".into(), topic: "t".into() },
            ),
            (
                r#"["message",{"chatroom":"r","message":"h\u0069"},"more"]"#,
                Request::Message { room: id("r"), text: Some("hi".into()), image: None, key: None },
            ),
            (
                r#"["message",{"chatroom":"r","image":"i","key":"\u006b"}]"#,
                Request::Message {
                    room: id("r"),
                    text: None,
                    image: Some("i".into()),
                    key: Some(Key::parse("k").unwrap()),
                },
            ),
        ] {
            assert_eq!(asked(data), Ok(request), "{data}");
        }
    }

    #[test]
    fn the_wrong_field_is_named() {
        for (data, field) in [
            (r#"["switch"]"#, Some("chatroom")),
            (r#"["switch",{"chatroom":"a b"}]"#, Some("chatroom")),
            (r#"["history",{"chatroom":"r","limit":0}]"#, Some("limit")),
            (r#"["history",{"chatroom":"r","skip":10001}]"#, Some("skip")),
            (r#"["chatroom",{"topic":"t"}]"#, Some("name")),
            (r#"["message",{"chatroom":"r","key":""}]"#, Some("key")),
            (r#"["writing",{"chatroom":"r","status":"1"}]"#, Some("status")),
            (r#"["message",7]"#, None),
            (r#"["shout",{}]"#, None),
        ] {
            assert_eq!(asked(data), Err(field), "{data}");
        }
        let (_, writing) = parse(r#"["writing",{"chatroom":"r","status":1.5}]"#).unwrap();
        assert_eq!(writing.unwrap_err().message, "status must be 1 or 0");
        for data in ["", "{}", "[]", "[1]", "[{}]", "[\"a\"", "null"] {
            assert!(parse(data).is_none(), "{data}");
        }
        assert_eq!(parse(r#"["history",{}]"#).unwrap().0, Attempt::History);
    }

    proptest! {
        #[test]
        fn junk_is_refused_and_nothing_worse(data in "\\PC{0,60}|\\[\"(message|switch|writing)\",\\PC{0,40}\\]") {
            let _ = parse(&data);
        }
    }
}

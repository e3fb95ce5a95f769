//! What stands in the queues between the chat and its bots: JSON objects, as the system that this one replaces wrote them.

use bytes::Bytes;
use hubbub_core::ids::RoomId;
use hubbub_core::limits::BotText;
use hubbub_core::ports::accounts::Secret;
use serde::{Deserialize, Serialize};

use crate::tier::bots::{COMMANDS_OF_BOT_MAX, CommandFacts};

/// Largest body that is read, in bytes: the longest text with each character escaped, and a long token.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

#[derive(Serialize)]
struct Written<'a> {
    chatroom: &'a RoomId,
    token: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    error: bool,
}

/// A command as bots read it.
pub fn command(room: &RoomId, token: &Secret, text: &str) -> Bytes {
    written(&Written { chatroom: room, token: token.reveal(), message: text, error: false })
}

/// An answer as a bot writes it.
pub fn answer(room: &RoomId, token: &Secret, text: &BotText) -> Bytes {
    let (message, error) = (text.text(), text.is_complaint());
    written(&Written { chatroom: room, token: token.reveal(), message, error })
}

#[derive(Serialize)]
struct Announced<'a> {
    token: &'a str,
    commands: &'a [CommandFacts],
}

/// Commands as a bot announces them.
pub fn announcement(token: &Secret, commands: &[CommandFacts]) -> Bytes {
    written(&Announced { token: token.reveal(), commands })
}

fn written(body: &impl Serialize) -> Bytes {
    // Plain strings, written to memory.
    serde_json::to_vec(body).expect("it is always valid JSON").into()
}

/// A command as a bot reads it.
#[derive(Debug, Deserialize)]
pub struct Command {
    /// The room that it was given in.
    pub chatroom: RoomId,
    /// The text.
    pub message: String,
}

/// Reads a command; `None` if it is none.
pub fn to_bot(body: &[u8]) -> Option<Command> {
    serde_json::from_slice(body).ok()
}

/// What a bot wrote.
#[derive(Debug)]
pub struct FromBot {
    /// The bot's own token, which is to be checked.
    pub token: Secret,
    /// What it says.
    pub says: Says,
}

/// What a bot says.
#[derive(Debug, PartialEq, Eq)]
pub enum Says {
    /// Something to a room.
    Answer {
        /// Which.
        room: RoomId,
        /// What.
        text: BotText,
    },
    /// Which commands it has: these, and no others.
    Commands(Vec<CommandFacts>),
}

/// Why a body can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Junk {
    /// Over [`BODY_BYTES_MAX`], or a text over its limit.
    #[error("it is too large")]
    TooLarge,
    /// Not a JSON object with the fields of an answer or an announcement.
    #[error("it is not a JSON object with `token` and either `chatroom` and `message`, or `commands`")]
    Unreadable,
    /// The room's id is none.
    #[error("`chatroom` is not the id of a room")]
    Room,
    /// There is nothing in it.
    #[error("`message` is empty")]
    Empty,
    /// The commands are too many, or one is not as it must be.
    #[error("`commands` are not up to 50 of {{command, usage, about?}} in one line each")]
    Commands,
}

impl Junk {
    /// As a label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::Room => "no_such_room",
            Self::Empty => "empty",
            Self::Commands => "bad_commands",
        }
    }
}

#[derive(Deserialize)]
struct Body {
    token: Secret,
    chatroom: Option<String>,
    message: Option<String>,
    #[serde(default)]
    error: bool,
    commands: Option<Vec<CommandFacts>>,
}

/// Reads what a bot wrote. Other fields are left aside.
///
/// # Errors
/// [`Junk`].
pub fn from_bot(body: &[u8]) -> Result<FromBot, Junk> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Junk::TooLarge);
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| Junk::Unreadable)?;
    if body.token.reveal().len() > TOKEN_BYTES_MAX {
        return Err(Junk::TooLarge);
    }
    let says = match (body.chatroom, body.message, body.commands) {
        (Some(room), Some(message), None) => {
            let room = RoomId::parse(&room).map_err(|_| Junk::Room)?;
            let text = BotText::new(message, body.error).map_err(|bad| match bad {
                hubbub_core::limits::BadText::Empty { .. } => Junk::Empty,
                _ => Junk::TooLarge,
            })?;
            Says::Answer { room, text }
        }
        (None, None, Some(commands)) => {
            let all_sound =
                commands.len() <= COMMANDS_OF_BOT_MAX && commands.iter().all(CommandFacts::is_sound);
            Says::Commands(all_sound.then_some(commands).ok_or(Junk::Commands)?)
        }
        _ => return Err(Junk::Unreadable),
    };
    Ok(FromBot { token: body.token, says })
}

#[cfg(test)]
mod tests {
    use hubbub_core::limits::TEXT_CHARS_MAX;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Result<Says, Junk> {
        from_bot(body.to_string().as_bytes()).map(|from| from.says)
    }

    #[test]
    fn a_command_is_what_the_bots_of_the_seed_read() {
        let room = RoomId::parse("r1").unwrap();
        let body = command(&room, &Secret::new("t".into()), "/stock=\"A\"");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"chatroom": "r1", "token": "t", "message": "/stock=\"A\""}));
    }

    #[test]
    fn an_answer_is_read_and_a_complaint_is_known() {
        let text = |text: &str, error| BotText::new(text.into(), error).unwrap();
        let room = RoomId::parse("r1").unwrap();
        for (error, body) in [
            (false, json!({"chatroom": "r1", "token": "t", "message": "hi", "more": [1]})),
            (false, json!({"chatroom": "r1", "token": "t", "message": "hi", "error": false})),
            (true, json!({"chatroom": "r1", "token": "t", "message": "hi", "error": true})),
        ] {
            assert_eq!(read(&body), Ok(Says::Answer { room: room.clone(), text: text("hi", error) }));
        }
    }

    #[test]
    fn each_kind_of_junk_has_its_name() {
        let long = "x".repeat(TEXT_CHARS_MAX + 1);
        let facts = |name: &str| json!({"command": name, "usage": "/x"});
        for (body, junk) in [
            (json!([]), Junk::Unreadable),
            (json!({"chatroom": "r", "message": "m"}), Junk::Unreadable),
            (json!({"chatroom": "r", "token": 7, "message": "m"}), Junk::Unreadable),
            (json!({"token": "t", "message": "m"}), Junk::Unreadable),
            (json!({"chatroom": "a.b", "token": "t", "message": "m"}), Junk::Room),
            (json!({"chatroom": "r", "token": "t", "message": " "}), Junk::Empty),
            (json!({"chatroom": "r", "token": "t", "message": long}), Junk::TooLarge),
            (json!({"chatroom": "r", "token": "t".repeat(9_000), "message": "m"}), Junk::TooLarge),
            (json!({"token": "t", "commands": [facts("a b")]}), Junk::Commands),
            (json!({"token": "t", "commands": vec![facts("a"); 51]}), Junk::Commands),
        ] {
            assert_eq!(read(&body), Err(junk), "{body}");
        }
        assert_eq!(from_bot(&[b' '; BODY_BYTES_MAX + 1]).unwrap_err(), Junk::TooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_bot(&body);
        }

        #[test]
        fn every_text_within_its_limit_is_read(text in "\\PC{1,4096}", room in "[A-Za-z0-9_-]{1,64}") {
            prop_assume!(!text.trim().is_empty());
            let body = json!({"chatroom": room, "token": "t", "message": text});
            let text = BotText::new(text, false).unwrap();
            prop_assert_eq!(read(&body), Ok(Says::Answer { room: RoomId::parse(&room).unwrap(), text }));
        }
    }
}

//! What is in the bodies of messages: JSON.

use hubbub_bots::{COMMANDS, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

/// Largest body that is read: a message of 4,096 characters is far below.
const BYTES_MAX: usize = 64 * 1_024;

/// A command from the chat. It has a `token` too, by which the sender can be looked up; this bot does not want to know.
#[derive(Deserialize)]
pub struct Command {
    /// The room that it was sent in.
    pub chatroom: String,
    /// Its text, such as `/hello=Ann`.
    pub message: String,
}

impl Command {
    /// Reads one, if it is one.
    pub fn read(body: &[u8]) -> Option<Self> {
        if body.len() > BYTES_MAX {
            return None;
        }
        serde_json::from_slice(body).ok()
    }
}

/// What the bot says in a room.
pub fn answer(token: &str, room: &str, reply: &Reply) -> Vec<u8> {
    let mut body = json!({ "chatroom": room, "token": token, "message": reply.text });
    if reply.is_error {
        body["error"] = Value::Bool(true);
    }
    body.to_string().into_bytes()
}

/// Which commands the bot knows.
pub fn announcement(token: &str) -> Vec<u8> {
    let commands =
        COMMANDS.iter().map(|one| json!({ "command": one.command, "usage": one.usage, "about": one.about }));
    json!({ "token": token, "commands": commands.collect::<Vec<_>>() }).to_string().into_bytes()
}

//! The servers that are measured: what they are told, how they answer, how they are started.

pub mod accounts;
pub mod centrifugo;
pub mod hubbub;
pub mod live;
pub mod raw;
pub mod socketio;
pub mod token;

use std::net::SocketAddr;
use std::rc::Rc;

use memchr::memmem;

use crate::stamp::Found;

/// One member of one room, as the target knows it.
#[derive(Debug, Clone)]
pub struct Member {
    /// What is spoken at the door by which it comes.
    pub dialect: Rc<dyn Dialect>,
    /// Where it connects: which server, if the target is several.
    pub address: SocketAddr,
    /// Its room's number.
    pub room: usize,
    /// Its room's name or id at the target.
    pub room_id: Rc<str>,
    /// What it proves itself with.
    pub token: Rc<str>,
    /// Whom others see as the sender of what it says, where that is known.
    pub user: Option<Rc<str>>,
}

/// One request of the greeting and how its answer is known.
#[derive(Debug)]
pub struct Step {
    /// The frame's text.
    pub text: String,
    /// What only the answer has in it.
    pub answer: &'static [u8],
}

/// What a frame meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A message of a room.
    Delivery(Delivery<'a>),
    /// Another element of the room's log.
    Entry(u64),
    /// The answer to a send: the server took it, as the number if it says one.
    Ack(u64, Option<u64>),
    /// The server didn't take a send, or complains of something else.
    Refused {
        /// Which one, if that is said.
        index: Option<u64>,
        /// The answer.
        text: &'a [u8],
        /// It is certain that it was not done.
        for_good: bool,
    },
    /// Must be answered with this text.
    Heartbeat(&'static str),
    /// The server says that it will close, or that it left something out.
    Trouble(&'a [u8]),
    /// Nothing that matters here.
    Other,
}

/// A message as it came to a member: what is looked at of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// What it says of itself, and what is around that.
    pub found: Found<'a>,
    /// The server's number of it.
    pub seq: Option<u64>,
    /// Whether all numbers before it came to this member too.
    pub in_row: bool,
    /// In which room it is said to be, if it is.
    pub room: Option<&'a [u8]>,
    /// Who is said to have sent it, if it is said.
    pub user: Option<&'a [u8]>,
}

impl<'a> Delivery<'a> {
    /// One of which the target says nothing.
    pub fn plain(found: Found<'a>) -> Self {
        Self { found, seq: None, in_row: false, room: None, user: None }
    }
}

/// A target's language. Written for speed: `read` runs once a delivery.
pub trait Dialect: std::fmt::Debug {
    /// The path of its WebSocket.
    fn path(&self) -> &'static str;
    /// What a connection says before it is a member that receives.
    fn greeting(&self, member: &Member) -> Vec<Step>;
    /// What a connection says instead that comes back having seen the room's entry `seq`: what came since then follows
    /// the answer. `None` where there is no coming back.
    fn resuming(&self, _member: &Member, _seq: u64) -> Option<Vec<Step>> {
        None
    }
    /// A request for the newest page of a room's history, if there are any here.
    fn page(&self, _room_id: &str, _reference: u64) -> Option<String> {
        None
    }
    /// Whether what begins with `/` goes to bots.
    fn has_commands(&self) -> bool {
        false
    }
    /// The reference in the answer to a page or a command, or to a send: whether it was good.
    fn answer(&self, _text: &[u8]) -> Option<(u64, bool)> {
        None
    }
    /// Appends the text of a send. `reference` comes back in the answer, where there is one.
    fn send(&self, room_id: &str, reference: u64, body: &[u8], out: &mut Vec<u8>);
    /// Whether a send is answered.
    fn acks(&self) -> bool;
    /// Tells what a text frame means; some targets put several things in one.
    fn read<'a>(&self, text: &'a [u8], on: &mut dyn FnMut(Seen<'a>));
}

const ERROR: &[u8] = br#""error":"#;

/// Whether this text is a refusal of a greeting, in any of the languages. Socket.IO's error 0 is none, and in every message.
pub fn is_refusal(text: &[u8]) -> bool {
    memmem::find(text, br#""type":"error""#).is_some()
        || memmem::find(text, br#""type":"bye""#).is_some()
        || memmem::find(text, ERROR).is_some_and(|at| !text[at + ERROR.len()..].starts_with(b"0"))
        || memmem::find(text, br#""disconnect":"#).is_some()
}

#[cfg(test)]
mod tests {
    use super::is_refusal;

    #[test]
    fn what_is_said_meanwhile_is_no_refusal() {
        assert!(!is_refusal(br#"42/v1/channel,["message",{"error":0,"msg":{}}]"#));
        assert!(!is_refusal(br#"{"type":"message","text":"a"}"#));
        for refusal in [
            r#"43/v1/channel,0[{"error":1000,"message":"a"}]"#,
            r#"{"type":"error","code":"a"}"#,
            r#"{"id":1,"error":{"code":103}}"#,
        ] {
            assert!(is_refusal(refusal.as_bytes()), "{refusal}");
        }
    }
}

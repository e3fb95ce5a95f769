//! Engine.IO: what lies under Socket.IO. A packet is a WebSocket text frame of its own, or one of several in a body.
//!
//! What waits for a client is kept as WebSocket frames, whichever way the client takes it: one that polls is given a body
//! [made of them](BodyMaker).

use serde::Serialize;

use crate::ws::{Opcode, encode};

/// Between two packets of a body, in generation 4.
const SEPARATOR: char = '\u{1e}';

/// Which of the two protocols a client speaks. It says so in its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Engine.IO 3 with Socket.IO 2: the client pings.
    V3,
    /// Engine.IO 4 with Socket.IO 3 or 4: the server pings.
    V4,
}

impl Generation {
    /// From the query's `EIO`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "3" => Some(Self::V3),
            "4" => Some(Self::V4),
            _ => None,
        }
    }
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server's first.
    Open,
    /// The session ends.
    Close,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// A Socket.IO packet.
    Message,
    /// From now on over this WebSocket.
    Upgrade,
    /// Nothing; it ends a poll.
    Noop,
}

/// A packet of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// What it carries.
    pub data: &'a str,
}

/// What is no packet of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    /// It can't be read.
    #[error("this is not an Engine.IO packet")]
    Unreadable,
    /// It carries bytes.
    #[error("binary data is not taken")]
    Binary,
}

impl<'a> Packet<'a> {
    /// Reads one packet.
    pub fn parse(text: &'a str) -> Result<Self, BadPacket> {
        let kind = match text.as_bytes().first() {
            Some(b'0') => Kind::Open,
            Some(b'1') => Kind::Close,
            Some(b'2') => Kind::Ping,
            Some(b'3') => Kind::Pong,
            Some(b'4') => Kind::Message,
            Some(b'5') => Kind::Upgrade,
            Some(b'6') => Kind::Noop,
            // Bytes in base64, in a body.
            Some(b'b') => return Err(BadPacket::Binary),
            _ => return Err(BadPacket::Unreadable),
        };
        Ok(Self { kind, data: &text[1..] })
    }
}

/// The packets of a body that a client posted, as texts. After an error there are no more.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Text, as most clients post it.
    Text(Generation, Option<&'a str>),
    /// Bytes, as some of generation 3 do: browsers with something binary to say, python-engineio with anything.
    Framed(&'a [u8]),
}

/// What bytes are as a packet: their type in a text, and nothing of them, for they are not taken.
const BYTES: &str = "b";

impl<'a> Body<'a> {
    /// Looks at a body.
    ///
    /// # Errors
    /// `Unreadable` when it is neither text nor framed bytes.
    pub fn new(generation: Generation, body: &'a [u8]) -> Result<Self, BadPacket> {
        match (generation, body.first()) {
            // No text of that generation begins so, but with a digit.
            (Generation::V3, Some(0 | 1)) => Ok(Self::Framed(body)),
            _ => {
                let text = std::str::from_utf8(body).map_err(|_| BadPacket::Unreadable)?;
                Ok(Self::Text(generation, Some(text)))
            }
        }
    }

    /// A packet behind 0 if it is text and 1 if it is bytes, its length in bytes, a byte a digit, and 255.
    fn framed(body: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
        let (kind, rest) = body.split_first()?;
        let digits = rest.iter().position(|byte| *byte == 0xFF).filter(|digits| (1..=9).contains(digits))?;
        let len = rest[..digits]
            .iter()
            .try_fold(0, |len, digit| (*digit <= 9).then(|| len * 10 + usize::from(*digit)))?;
        let (packet, rest) = rest[digits + 1..].split_at_checked(len)?;
        match kind {
            0 => Some((std::str::from_utf8(packet).ok()?, rest)),
            1 => Some((BYTES, rest)),
            _ => None,
        }
    }

    /// In generation 3 a packet stands behind its length, in UTF-16 code units.
    fn behind_length(rest: &'a str) -> Option<(&'a str, &'a str)> {
        let (len, rest) = rest.split_once(':')?;
        let is_number = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
        let mut left = is_number.then(|| len.parse::<usize>().ok())??;
        let mut characters = rest.chars();
        while left > 0 {
            left = left.checked_sub(characters.next()?.len_utf16())?;
        }
        let end = rest.len() - characters.as_str().len();
        Some(rest.split_at(end))
    }
}

impl<'a> Iterator for Body<'a> {
    type Item = Result<&'a str, BadPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = match self {
            Self::Framed([]) => return None,
            Self::Framed(rest) => Self::framed(std::mem::take(rest)).map(|(packet, left)| {
                *rest = left;
                packet
            }),
            Self::Text(Generation::V3, rest) => Self::behind_length(rest.take()?).map(|(packet, left)| {
                *rest = (!left.is_empty()).then_some(left);
                packet
            }),
            Self::Text(Generation::V4, rest) => {
                let text = rest.take()?;
                let Some((packet, left)) = text.split_once(SEPARATOR) else { return Some(Ok(text)) };
                *rest = Some(left);
                Some(packet)
            }
        };
        Some(packet.ok_or(BadPacket::Unreadable))
    }
}

/// A body that a client is given, made of frames that wait for it.
#[derive(Debug)]
pub struct BodyMaker {
    generation: Generation,
    bytes: Vec<u8>,
    packets: usize,
    ends: bool,
}

impl BodyMaker {
    /// Most packets of one body: python-engineio takes no more.
    const PACKETS_MAX: usize = 16;

    /// An empty body.
    pub fn new(generation: Generation) -> Self {
        Self { generation, bytes: Vec::new(), packets: 0, ends: false }
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.packets >= Self::PACKETS_MAX
    }

    /// Takes frames until it is full: how many bytes of them. A close frame becomes the packet that ends the session.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let mut frames = encode::frames(bytes);
        while !self.is_full()
            && let Some((opcode, payload)) = frames.next()
        {
            match opcode {
                Opcode::Text => self.push(payload),
                Opcode::Close => {
                    self.push(CLOSE);
                    self.ends = true;
                }
                Opcode::Continuation | Opcode::Binary | Opcode::Ping | Opcode::Pong => {}
            }
        }
        bytes.len() - frames.rest().len()
    }

    /// Appends a packet.
    pub fn push(&mut self, packet: &[u8]) {
        match self.generation {
            Generation::V3 => {
                self.bytes.extend_from_slice(utf16_len(packet).to_string().as_bytes());
                self.bytes.push(b':');
            }
            Generation::V4 if self.packets > 0 => self.bytes.push(SEPARATOR as u8),
            Generation::V4 => {}
        }
        self.bytes.extend_from_slice(packet);
        self.packets += 1;
    }

    /// The body, and whether it ends the session.
    pub fn finish(self) -> (Vec<u8>, bool) {
        (self.bytes, self.ends)
    }
}

/// Ends a session.
pub const CLOSE: &[u8] = b"1";
/// Ends a poll and says nothing.
pub const NOOP: &[u8] = b"6";

/// A character has as many UTF-16 code units as it has bytes that begin one, and one more if it has four bytes.
fn utf16_len(utf8: &[u8]) -> usize {
    let begin = utf8.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
    begin + utf8.iter().filter(|byte| **byte >= 0xF0).count()
}

/// What a session is, as the server says in its first packet.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake<'a> {
    /// Its name.
    pub sid: &'a str,
    /// Which transports it may change to.
    pub upgrades: &'a [&'a str],
    /// How often there is a ping, in milliseconds.
    pub ping_interval: u64,
    /// How long the other side may take for the pong, in milliseconds.
    pub ping_timeout: u64,
    /// Bytes of one body or WebSocket message from the client.
    pub max_payload: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(generation: Generation, body: &str) -> Result<Vec<&str>, BadPacket> {
        Body::new(generation, body.as_bytes()).unwrap().collect()
    }

    #[test]
    fn a_body_is_taken_apart() {
        assert_eq!(read(Generation::V4, "4a\u{1e}2\u{1e}4"), Ok(vec!["4a", "2", "4"]));
        assert_eq!(read(Generation::V3, "2:4a1:24:4€😀"), Ok(vec!["4a", "2", "4€😀"]));
        for bad in ["", "4", "3:4a", ":4", "x:4", "-1:4", "+1:4", "99999999999999999999:4", "2:4😀", "1:4x"]
        {
            assert_eq!(read(Generation::V3, bad), Err(BadPacket::Unreadable), "{bad:?}");
        }
        assert_eq!(Packet::parse("bAQID"), Err(BadPacket::Binary));
        assert_eq!(Packet::parse("4x"), Ok(Packet { kind: Kind::Message, data: "x" }));
        for bad in ["", "7", "x", "é4", "\u{4}4"] {
            assert_eq!(Packet::parse(bad), Err(BadPacket::Unreadable), "{bad:?}");
        }
    }

    #[test]
    fn a_framed_body_is_taken_apart_and_what_is_bytes_is_not_taken() {
        let read = |body: &'static [u8]| Body::new(Generation::V3, body)?.collect::<Result<Vec<_>, _>>();
        assert_eq!(read(b"\0\x02\xFF4a\0\x01\x00\xFF4\xE2\x82\xAC345678"), Ok(vec!["4a", "4€345678"]));
        assert_eq!(read(b"\x01\x03\xFF\x04\xC0\xC1\0\x01\xFF2"), Ok(vec!["b", "2"]));
        assert_eq!(Packet::parse(BYTES), Err(BadPacket::Binary));
        let bad: [&[u8]; 7] = [
            b"\0",
            b"\0\xFF",
            b"\0\x02\xFF4",
            b"\0\x0A\xFF4",
            b"\0\x01\xFF\xC0",
            b"\x02\x01\xFF4",
            b"\0\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xFF4",
        ];
        for body in bad {
            assert_eq!(read(body), Err(BadPacket::Unreadable), "{body:?}");
        }
        assert!(Body::new(Generation::V4, b"\xFF").is_err());
    }

    #[test]
    fn frames_become_a_body() {
        let mut frames = Vec::new();
        encode::append_text(&mut frames, &["4€😀".as_bytes()]);
        encode::append_text(&mut frames, &[&[b'x'; 70_000]]);
        encode::append_close(&mut frames, 1001, "going_away");
        let body = |generation| {
            let mut body = BodyMaker::new(generation);
            assert_eq!(body.take(&frames), frames.len());
            let (bytes, ends) = body.finish();
            assert!(ends);
            String::from_utf8(bytes).unwrap()
        };
        let long = "x".repeat(70_000);
        assert_eq!(body(Generation::V3), format!("4:4€😀70000:{long}1:1"));
        assert_eq!(body(Generation::V4), format!("4€😀\u{1e}{long}\u{1e}1"));
    }

    #[test]
    fn a_full_body_leaves_the_rest_where_it_is() {
        let mut frames = Vec::new();
        (0..20).for_each(|n| encode::append_text(&mut frames, &[format!("4{n}").as_bytes()]));
        let mut body = BodyMaker::new(Generation::V4);
        let taken = body.take(&frames);
        assert!(body.is_full() && body.take(&frames[taken..]) == 0);
        assert_eq!(encode::frames(&frames[taken..]).next(), Some((Opcode::Text, &b"416"[..])));
        assert!(String::from_utf8(body.finish().0).unwrap().ends_with("414\u{1e}415"));
    }

    proptest! {
        #[test]
        fn what_was_put_in_a_body_is_read_again(packets in proptest::collection::vec("[^\u{1e}]{0,40}", 1..8)) {
            for generation in [Generation::V3, Generation::V4] {
                let mut frames = Vec::new();
                packets.iter().for_each(|packet| encode::append_text(&mut frames, &[packet.as_bytes()]));
                let mut body = BodyMaker::new(generation);
                prop_assert_eq!(body.take(&frames), frames.len());
                let body = String::from_utf8(body.finish().0).unwrap();
                prop_assert_eq!(read(generation, &body).unwrap(), packets.clone());
            }
        }

        #[test]
        fn framed_junk_is_refused_and_nothing_worse(junk in proptest::collection::vec(prop_oneof![0u8..=9, Just(0xFF), any::<u8>()], 0..60)) {
            let Ok(body) = Body::new(Generation::V3, &junk) else { return Ok(()) };
            let texts = body.map_while(Result::ok).map(str::len).sum::<usize>();
            prop_assert!(texts <= junk.len());
        }

        #[test]
        fn junk_is_refused_and_nothing_worse(text in "\\PC{0,60}|[0-9:b4€😀\u{1e}]{0,60}") {
            for generation in [Generation::V3, Generation::V4] {
                let packets = read(generation, &text).unwrap_or_default();
                prop_assert!(packets.iter().map(|packet| packet.len()).sum::<usize>() <= text.len());
                packets.iter().for_each(|packet| _ = Packet::parse(packet));
            }
        }
    }
}

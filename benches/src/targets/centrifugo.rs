//! Centrifugo's bidirectional protocol, JSON over WebSocket: one or more objects a frame, a line each.

use memchr::memmem::{self, Finder};
use serde_json::json;

use super::token::signed;
use super::{Delivery, Dialect, Member, Seen, Step};
use crate::stamp::{Stamp, number_after, text_after};

/// The secret in the configuration under `peers/centrifugo`: a benchmark's, on a loopback.
pub const TOKEN_SECRET: &str = "hubbub-bench-loopback-only";

/// Requests that are not sends have ids from here on; Centrifugo's ids are 32 bits wide.
const GREETING_IDS: u64 = u32::MAX as u64 - 10;

/// Finds what matters in Centrifugo's frames.
#[derive(Debug)]
pub struct Centrifugo {
    offset: Finder<'static>,
    id: Finder<'static>,
    channel: Finder<'static>,
    user: Finder<'static>,
}

impl Default for Centrifugo {
    fn default() -> Self {
        Self {
            offset: Finder::new(b"\"offset\":"),
            id: Finder::new(b"{\"id\":"),
            channel: Finder::new(b"\"channel\":\""),
            user: Finder::new(b"\"user\":\""),
        }
    }
}

impl Dialect for Centrifugo {
    fn path(&self) -> &'static str {
        "/connection/websocket"
    }

    fn greeting(&self, member: &Member) -> Vec<Step> {
        let (connect, subscribe) = (GREETING_IDS, GREETING_IDS + 1);
        vec![
            Step {
                text: format!(r#"{{"id":{connect},"connect":{{"token":"{}"}}}}"#, member.token),
                answer: br#","connect":{"#,
            },
            Step {
                text: format!(r#"{{"id":{subscribe},"subscribe":{{"channel":"{}"}}}}"#, member.room_id),
                answer: br#","subscribe":{"#,
            },
        ]
    }

    fn send(&self, room_id: &str, reference: u64, body: &[u8], out: &mut Vec<u8>) {
        // An id of 0 is no id.
        out.extend_from_slice(format!(r#"{{"id":{},"publish":{{"channel":""#, reference + 1).as_bytes());
        out.extend_from_slice(room_id.as_bytes());
        out.extend_from_slice(br#"","data":{"text":""#);
        out.extend_from_slice(body);
        out.extend_from_slice(br#""}}}"#);
    }

    fn acks(&self) -> bool {
        true
    }

    fn read<'a>(&self, text: &'a [u8], on: &mut dyn FnMut(Seen<'a>)) {
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            on(self.read_line(line));
        }
    }
}

impl Centrifugo {
    fn read_line<'a>(&self, line: &'a [u8]) -> Seen<'a> {
        if let Some(found) = Stamp::find(line) {
            return Seen::Delivery(Delivery {
                seq: number_after(&self.offset, found.rest),
                in_row: true,
                room: text_after(&self.channel, found.head),
                user: text_after(&self.user, found.rest),
                found,
            });
        }
        if line == b"{}" {
            return Seen::Heartbeat("{}");
        }
        let reference =
            number_after(&self.id, line).filter(|&id| id < GREETING_IDS).and_then(|id| id.checked_sub(1));
        if memmem::find(line, br#""error":{"#).is_some() {
            return Seen::Refused { index: reference, text: line, for_good: false };
        }
        if memmem::find(line, br#""disconnect":{"#).is_some() {
            return Seen::Trouble(line);
        }
        reference.map_or(Seen::Other, |index| Seen::Ack(index, None))
    }
}

/// A connection token for a user, without an end.
pub fn token(user: &str) -> String {
    signed(TOKEN_SECRET, &json!({"sub": user}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_things_in_one_frame_are_told_apart() {
        let stamp = Stamp { room: 1, sender: 2, count: 3, due: 4 };
        let mut frame =
            b"{\"id\":8,\"publish\":{}}\n{\"push\":{\"channel\":\"r1\",\"pub\":{\"data\":{\"text\":\""
                .to_vec();
        stamp.write_body(128, &mut frame);
        frame.extend_from_slice(
            b"\"},\"info\":{\"user\":\"u\"},\"offset\":12}}}\n{}\n{\"id\":9,\"error\":{\"code\":103}}",
        );
        let mut seen = Vec::new();
        Centrifugo::default().read(&frame, &mut |what| seen.push(format!("{what:?}")));
        assert_eq!(seen[0], "Ack(7, None)");
        let line = frame.split(|byte| *byte == b'\n').nth(1).expect("a line");
        let found = Stamp::find(line).expect("a stamp");
        let (room, user) = (Some(&b"r1"[..]), Some(&b"u"[..]));
        let delivery = Delivery { seq: Some(12), in_row: true, room, user, found };
        assert_eq!((&seen[1], found.stamp), (&format!("{:?}", Seen::Delivery(delivery)), stamp));
        assert_eq!(seen[2], "Heartbeat(\"{}\")");
        assert!(seen[3].starts_with("Refused { index: Some(8)"));
    }
}

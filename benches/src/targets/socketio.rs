//! Hubbub's Socket.IO door: the seed's events over a WebSocket, as a client of Socket.IO 4 sends and reads them.

use memchr::memmem::Finder;

use super::{Delivery, Dialect, Member, Seen, Step};
use crate::stamp::{Stamp, number, text_after};

/// Finds what matters in Socket.IO's packets.
#[derive(Debug)]
pub struct SocketIo {
    /// What begins every idempotency key of this run; `None` sends without keys.
    run: Option<String>,
    done: Finder<'static>,
    room: Finder<'static>,
    user: Finder<'static>,
    id: Finder<'static>,
}

const ACK: &[u8] = b"43/v1/channel,";

impl SocketIo {
    /// With `run`, every message carries a key that begins with it.
    pub fn new(run: Option<String>) -> Self {
        Self {
            run,
            done: Finder::new(br#"[{"error":0"#),
            room: Finder::new(br#""chatroom":""#),
            user: Finder::new(br#""owner":""#),
            id: Finder::new(br#""id":""#),
        }
    }

    /// A message's id ends with its number.
    fn seq(&self, text: &[u8]) -> Option<u64> {
        let id = text_after(&self.id, text)?;
        number(&id[memchr::memrchr(b'-', id)? + 1..])
    }
}

impl Dialect for SocketIo {
    fn path(&self) -> &'static str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    fn greeting(&self, member: &Member) -> Vec<Step> {
        vec![
            Step {
                text: format!(r#"40/v1/channel,{{"token":"{}"}}"#, member.token),
                answer: br#"["authentication""#,
            },
            Step {
                text: format!(r#"42/v1/channel,0["join",{{"chatroom":"{}"}}]"#, member.room_id),
                answer: br#"43/v1/channel,0[{"error":0"#,
            },
        ]
    }

    fn send(&self, room_id: &str, reference: u64, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!(r#"42/v1/channel,{reference}["message",{{"chatroom":""#).as_bytes());
        out.extend_from_slice(room_id.as_bytes());
        if let Some(run) = &self.run {
            out.extend_from_slice(format!(r#"","key":"{run}-{reference}"#).as_bytes());
        }
        out.extend_from_slice(br#"","message":""#);
        out.extend_from_slice(body);
        out.extend_from_slice(br#""}]"#);
    }

    fn acks(&self) -> bool {
        true
    }

    fn read<'a>(&self, text: &'a [u8], on: &mut dyn FnMut(Seen<'a>)) {
        if let Some(found) = Stamp::find(text) {
            return on(Seen::Delivery(Delivery {
                seq: self.seq(found.head),
                // Joins say no number: there is no telling a gap.
                in_row: false,
                room: text_after(&self.room, found.head),
                user: text_after(&self.user, found.head),
                found,
            }));
        }
        on(match text {
            b"2" => Seen::Heartbeat("3"),
            _ if text.starts_with(ACK) => {
                let rest = &text[ACK.len()..];
                let reference = number(&rest[..memchr::memchr(b'[', rest).unwrap_or(0)]);
                match (self.done.find(rest), reference) {
                    (Some(_), Some(reference)) => Seen::Ack(reference, self.seq(rest)),
                    // Its numbers do not say whether it may have been done all the same.
                    (_, index) => Seen::Refused { index, text, for_good: false },
                }
            }
            _ if text.starts_with(b"41") || text.starts_with(br#"42/v1/channel,["behind""#) => {
                Seen::Trouble(text)
            }
            _ => Seen::Other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &[u8]) -> String {
        let mut seen = Vec::new();
        SocketIo::new(None).read(text, &mut |what| seen.push(format!("{what:?}")));
        seen.join(" ")
    }

    #[test]
    fn the_protocols_packets_are_told_apart() {
        let stamp = Stamp { room: 0, sender: 1, count: 2, due: 3 };
        let mut message = br#"42/v1/channel,["message",{"error":0,"chatroom":"r","msg":{"id":"r-9","owner":"u","message":""#
            .to_vec();
        stamp.write_body(128, &mut message);
        message.extend_from_slice(br#""}}]"#);
        let found = Stamp::find(&message).expect("a stamp");
        let (room, user) = (Some(&b"r"[..]), Some(&b"u"[..]));
        let delivery = Delivery { seq: Some(9), in_row: false, room, user, found };
        assert_eq!((seen(&message), found.stamp), (format!("{:?}", Seen::Delivery(delivery)), stamp));
        assert_eq!(seen(br#"43/v1/channel,5[{"error":0,"id":"r-9"}]"#), "Ack(5, Some(9))");
        assert!(seen(br#"43/v1/channel,6[{"error":602}]"#).starts_with("Refused { index: Some(6)"));
        assert_eq!(seen(b"2"), "Heartbeat(\"3\")");
        assert!(seen(b"41/v1/channel,").starts_with("Trouble"));
        assert_eq!(seen(br#"42/v1/channel,["join",{"user":"u","chatroom":"r"}]"#), "Other");
    }

    #[test]
    fn a_send_is_an_event_with_a_callback() {
        let mut text = Vec::new();
        SocketIo::new(Some("run".into())).send("room", 12, b"hello", &mut text);
        let event = text.strip_prefix(b"42/v1/channel,12").expect("an event with a number");
        let expected =
            serde_json::json!(["message", {"chatroom": "room", "key": "run-12", "message": "hello"}]);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(event).expect("JSON"), expected);
    }
}

//! Hubbub's Socket.IO door: the seed's events over a WebSocket, as a client of Socket.IO 4 sends and reads them.

use memchr::memmem::Finder;

use super::{Dialect, Member, Seen, Step};
use crate::stamp::{Stamp, number};

/// Finds what matters in Socket.IO's packets.
#[derive(Debug)]
pub struct SocketIo {
    /// What begins every idempotency key of this run; `None` sends without keys.
    run: Option<String>,
    done: Finder<'static>,
}

const ACK: &[u8] = b"43/v1/channel,";

impl SocketIo {
    /// With `run`, every message carries a key that begins with it.
    pub fn new(run: Option<String>) -> Self {
        Self { run, done: Finder::new(br#"[{"error":0"#) }
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
        if let Some(stamp) = Stamp::find(text) {
            // A message's id ends with its seq, but joins have none: there is no telling a gap.
            return on(Seen::Delivery(stamp, None));
        }
        on(match text {
            b"2" => Seen::Heartbeat("3"),
            _ if text.starts_with(ACK) => {
                let rest = &text[ACK.len()..];
                let reference = number(&rest[..memchr::memchr(b'[', rest).unwrap_or(0)]);
                match (self.done.find(rest), reference) {
                    (Some(_), Some(reference)) => Seen::Ack(reference),
                    (_, reference) => Seen::Refused(reference, text),
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
        let mut message = br#"42/v1/channel,["message",{"error":0,"msg":{"id":"r-9","message":""#.to_vec();
        stamp.write_body(128, &mut message);
        message.extend_from_slice(br#""}}]"#);
        assert_eq!(seen(&message), format!("{:?}", Seen::Delivery(stamp, None)));
        assert_eq!(seen(br#"43/v1/channel,5[{"error":0,"id":"r-9"}]"#), "Ack(5)");
        assert!(seen(br#"43/v1/channel,6[{"error":602}]"#).starts_with("Refused(Some(6)"));
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

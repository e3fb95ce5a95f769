//! Hubbub's native protocol: one object a text frame.

use memchr::memmem::{self, Finder};
use serde_json::json;

use super::token::signed;
use super::{Delivery, Dialect, Member, Seen, Step};
use crate::stamp::{Stamp, number_after, text_after};

/// What tokens are signed with for a server that is started here: a benchmark's, on a loopback.
pub const TOKEN_SECRET: &str = "hubbub-bench-on-the-loopback-only";
/// The end of those tokens: no run is as long as the rest of the century.
const TOKEN_END: u64 = 4_102_444_800;

/// The token of a user with this name, which is the id as well, of an issuer whose `--jwt-secret` the server has.
pub fn token(secret: &str, user: &str) -> String {
    signed(secret, &json!({"sub": user, "name": user, "roles": ["user"], "exp": TOKEN_END}))
}

/// Finds what matters in Hubbub's frames.
#[derive(Debug)]
pub struct Hubbub {
    /// What begins every idempotency key of this run; `None` sends without keys.
    run: Option<String>,
    seq: Finder<'static>,
    reference: Finder<'static>,
    kind: Finder<'static>,
    room: Finder<'static>,
    user: Finder<'static>,
}

impl Hubbub {
    /// With `run`, every message carries a key that begins with it, as a client's should that may have to retry.
    pub fn new(run: Option<String>) -> Self {
        Self {
            run,
            seq: Finder::new(b"\"seq\":"),
            reference: Finder::new(b"\"ref\":"),
            kind: Finder::new(b"\"type\":\""),
            room: Finder::new(b"\"room\":\""),
            user: Finder::new(b"\"user\":{\"id\":\""),
        }
    }

    fn kind<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(at) = self.kind.find(text) else { return b"" };
        let rest = &text[at + self.kind.needle().len()..];
        &rest[..memchr::memchr(b'"', rest).unwrap_or(rest.len())]
    }
}

impl Dialect for Hubbub {
    fn path(&self) -> &'static str {
        "/v1/ws"
    }

    fn greeting(&self, member: &Member) -> Vec<Step> {
        vec![
            hello(member, ""),
            Step {
                text: format!(r#"{{"type":"join","ref":"join","room":"{}"}}"#, member.room_id),
                answer: br#""type":"ok""#,
            },
        ]
    }

    fn resuming(&self, member: &Member, seq: u64) -> Option<Vec<Step>> {
        Some(vec![hello(member, &format!(r#","rooms":{{"{}":{seq}}}"#, member.room_id))])
    }

    fn page(&self, room_id: &str, reference: u64) -> Option<String> {
        let newest = 1_u64 << 53;
        Some(format!(
            r#"{{"type":"history","ref":{reference},"room":"{room_id}","before":{newest},"limit":50}}"#
        ))
    }

    fn has_commands(&self) -> bool {
        true
    }

    fn answer(&self, text: &[u8]) -> Option<(u64, bool)> {
        // Not by what is in it: a page is full of messages.
        let good = match self.kind(text) {
            b"ok" => true,
            b"error" => false,
            _ => return None,
        };
        Some((number_after(&self.reference, text)?, good))
    }

    fn send(&self, room_id: &str, reference: u64, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!(r#"{{"type":"send","ref":{reference},"room":""#).as_bytes());
        out.extend_from_slice(room_id.as_bytes());
        if let Some(run) = &self.run {
            out.extend_from_slice(format!(r#"","key":"{run}-{reference}"#).as_bytes());
        }
        out.extend_from_slice(br#"","text":""#);
        out.extend_from_slice(body);
        out.extend_from_slice(br#""}"#);
    }

    fn acks(&self) -> bool {
        true
    }

    fn read<'a>(&self, text: &'a [u8], on: &mut dyn FnMut(Seen<'a>)) {
        if let Some(found) = Stamp::find(text) {
            return on(Seen::Delivery(Delivery {
                seq: number_after(&self.seq, found.head),
                in_row: true,
                room: text_after(&self.room, found.head),
                user: text_after(&self.user, found.head),
                found,
            }));
        }
        on(match self.kind(text) {
            b"ok" => number_after(&self.reference, text)
                .map_or(Seen::Other, |index| Seen::Ack(index, number_after(&self.seq, text))),
            b"error" => Seen::Refused {
                index: number_after(&self.reference, text),
                text,
                // Of that it is not known whether it was done.
                for_good: memmem::find(text, br#""code":"unavailable""#).is_none(),
            },
            b"join" | b"leave" | b"topic" | b"erase" | b"retention" => {
                number_after(&self.seq, text).map_or(Seen::Other, Seen::Entry)
            }
            b"bye" | b"behind" | b"reset" => Seen::Trouble(text),
            _ => Seen::Other,
        });
    }
}

fn hello(member: &Member, resume: &str) -> Step {
    let client = concat!("hubbub-bench/", env!("CARGO_PKG_VERSION"));
    Step {
        text: format!(
            r#"{{"type":"hello","ref":"hello","token":"{}","client":"{client}"{resume}}}"#,
            member.token
        ),
        answer: br#""type":"welcome""#,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &[u8]) -> String {
        let mut seen = Vec::new();
        Hubbub::new(None).read(text, &mut |what| seen.push(format!("{what:?}")));
        seen.join(" ")
    }

    #[test]
    fn the_protocols_frames_are_told_apart() {
        let stamp = Stamp { room: 0, sender: 1, count: 2, due: 3 };
        let mut message =
            br#"{"type":"message","room":"r","seq":9,"user":{"id":"u","name":"n"},"text":""#.to_vec();
        stamp.write_body(128, &mut message);
        message.extend_from_slice(br#"","at":1}"#);
        let found = Stamp::find(&message).expect("a stamp");
        let (room, user) = (Some(&b"r"[..]), Some(&b"u"[..]));
        let delivery = Delivery { seq: Some(9), in_row: true, room, user, found };
        assert_eq!((seen(&message), found.stamp), (format!("{:?}", Seen::Delivery(delivery)), stamp));
        assert_eq!(seen(br#"{"type":"ok","ref":5,"seq":9,"at":1,"durability":"disk"}"#), "Ack(5, Some(9))");
        assert_eq!(seen(br#"{"ref":6,"type":"ok"}"#), "Ack(6, None)");
        for (code, for_good) in [("rate_limited", true), ("unavailable", false)] {
            let said = seen(format!(r#"{{"type":"error","ref":7,"code":"{code}"}}"#).as_bytes());
            assert!(said.contains("Some(7)") && said.contains(&format!("for_good: {for_good}")), "{said}");
        }
        for entry in ["join", "leave", "topic", "erase", "retention"] {
            let frame =
                format!(r#"{{"type":"{entry}","room":"r","seq":3,"user":{{"id":"u","name":"n"}},"at":1}}"#);
            assert_eq!(seen(frame.as_bytes()), "Entry(3)", "{entry}");
        }
        assert!(seen(br#"{"type":"bye","reason":"drain"}"#).starts_with("Trouble"));
        assert_eq!(seen(br#"{"type":"presence","room":"r"}"#), "Other");
    }

    #[test]
    fn a_send_is_json_with_and_without_a_key() {
        for run in [None, Some("run".to_owned())] {
            let mut text = Vec::new();
            Hubbub::new(run.clone()).send("room", 12, b"hello", &mut text);
            let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(value["ref"], 12);
            assert_eq!(value["text"], "hello");
            assert_eq!(value["key"].as_str(), run.map(|run| format!("{run}-12")).as_deref());
        }
    }
}

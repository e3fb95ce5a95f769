//! The raw server's own little language.

use memchr::memmem::{self, Finder};

use super::{Delivery, Dialect, Member, Seen, Step};
use crate::stamp::{Stamp, number_after, text_after};

/// See [`crate::peers::raw`].
#[derive(Debug)]
pub struct Raw {
    room: Finder<'static>,
    seq: Finder<'static>,
}

impl Default for Raw {
    fn default() -> Self {
        Self { room: Finder::new(br#""room":""#), seq: Finder::new(b"\"seq\":") }
    }
}

impl Dialect for Raw {
    fn path(&self) -> &'static str {
        "/"
    }

    fn greeting(&self, member: &Member) -> Vec<Step> {
        vec![Step { text: format!(r#"{{"join":"{}"}}"#, member.room_id), answer: br#"{"joined":"# }]
    }

    fn send(&self, room_id: &str, _reference: u64, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"room":""#);
        out.extend_from_slice(room_id.as_bytes());
        out.extend_from_slice(br#"","text":""#);
        out.extend_from_slice(body);
        out.extend_from_slice(br#""}"#);
    }

    fn acks(&self) -> bool {
        false
    }

    fn read<'a>(&self, text: &'a [u8], on: &mut dyn FnMut(Seen<'a>)) {
        on(match Stamp::find(text) {
            Some(found) => Seen::Delivery(Delivery {
                seq: number_after(&self.seq, found.head),
                in_row: true,
                room: text_after(&self.room, found.head),
                ..Delivery::plain(found)
            }),
            None if memmem::find(text, br#"{"error":"#).is_some() => {
                Seen::Refused { index: None, text, for_good: false }
            }
            None => Seen::Other,
        });
    }
}

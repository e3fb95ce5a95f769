//! What a message must look like wherever it comes: its body, its room, its sender.
//!
//! Looked at once a delivery, up to 400,000 times a second: no copy, no parsing, comparisons of bytes that are in the cache anyway.

use std::rc::Rc;

use crate::scenario::Shape;
use crate::stamp::{Found, Stamp};
use crate::targets::{Delivery, Member};

/// What each message must look like.
#[derive(Debug, Default)]
pub struct Expected {
    /// What follows the stamp.
    filler: Vec<u8>,
    /// Of each room its id.
    rooms: Vec<Rc<str>>,
    /// Of each member, room by room, whom others see; where that is not known it is what the first message of it says.
    users: Vec<Option<Rc<[u8]>>>,
    /// Whether sends are answered.
    answers: bool,
}

impl Expected {
    /// Of these members' messages, with bodies of so many bytes.
    pub fn of(members: &[Member], shape: Shape, body_bytes: usize) -> Self {
        Self {
            filler: Stamp::filler(body_bytes),
            rooms: members.iter().step_by(shape.members).map(|member| Rc::clone(&member.room_id)).collect(),
            users: members.iter().map(|member| Some(member.user.as_deref()?.as_bytes().into())).collect(),
            answers: members.iter().all(|member| member.dialect.acks()),
        }
    }

    /// Whether sends are answered.
    pub fn answers(&self) -> bool {
        self.answers
    }

    /// A room's id at the target, if it is known.
    pub fn room_id(&self, room: usize) -> &str {
        self.rooms.get(room).map_or("", |id| id)
    }

    /// Whether everything around the stamp is as it was sent. A few comparisons of some bytes.
    pub fn is_as_sent(&mut self, delivery: &Delivery<'_>, shape: Shape) -> bool {
        let Found { stamp, head, rest } = delivery.found;
        let is_body = head.ends_with(b"\"") && rest.starts_with(&self.filler);
        let room = self.rooms.get(stamp.room as usize);
        let is_room = delivery.room.zip(room).is_none_or(|(said, room)| said == room.as_bytes());
        let user = self.users.get_mut(stamp.room as usize * shape.members + stamp.sender as usize);
        let is_user = match (delivery.user, user) {
            (Some(said), Some(Some(user))) => *said == **user,
            (Some(said), Some(unknown)) => {
                *unknown = Some(said.into());
                true
            }
            (None, _) | (_, None) => true,
        };
        is_body && is_room && is_user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { rooms: 1, members: 2 };
    const STAMP: Stamp = Stamp { room: 0, sender: 1, count: 1, due: 5 };

    /// Whether a delivery in which `from` became `to` is as it was sent.
    fn is_as_sent(expected: &mut Expected, (from, to): (&str, &str)) -> bool {
        let mut body = Vec::new();
        STAMP.write_body(64, &mut body);
        let body = String::from_utf8(body).expect("text");
        let whole = format!(r#"{{"room":"r1","user":"ann","text":"{body}","at":1}}"#).replacen(from, to, 1);
        let found = Stamp::find(whole.as_bytes()).expect("a stamp");
        let after = |name: &'static str| {
            crate::stamp::text_after(&memchr::memmem::Finder::new(name), whole.as_bytes())
        };
        let delivery =
            Delivery { room: after(r#""room":""#), user: after(r#""user":""#), ..Delivery::plain(found) };
        expected.is_as_sent(&delivery, SHAPE)
    }

    #[test]
    fn another_body_room_or_sender_is_not_as_it_was_sent() {
        for known in [Some(Rc::from(&b"ann"[..])), None] {
            let mut expected = Expected {
                filler: Stamp::filler(64),
                rooms: vec!["r1".into()],
                users: vec![None, known],
                answers: false,
            };
            assert!(is_as_sent(&mut expected, ("", "")));
            for changed in [
                ("xxxx", "yyyy"),
                ("xxxx", "xxx"),
                ("xxxx", "xxxxx"),
                ("xx\",", "xx more\","),
                ("\"~#", "\" ~#"),
                ("r1", "r2"),
                ("ann", "eve"),
            ] {
                assert!(!is_as_sent(&mut expected, changed), "{changed:?}");
            }
            assert!(is_as_sent(&mut expected, ("", "")));
        }
    }
}

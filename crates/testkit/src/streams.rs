//! What one reader was sent, room by room, over all its connections: the checker's stream of each.

use std::collections::BTreeMap;

use hubbub_client::{Event, Violation};
use hubbub_core::ids::RoomId;

use crate::checker::{Reader, Step};

/// The streams of one reader, as its client tells of them.
///
/// A stream begins where the client is told that it is: at a room's head in the first `welcome`, or at the reader's own join, of which
/// the answer is enough. So what is missing right behind a join is missing in the stream.
#[derive(Debug, Default)]
pub struct Streams {
    rooms: BTreeMap<RoomId, Reader>,
    welcomed: bool,
}

impl Streams {
    /// Takes an event, and says in which room that was a step.
    pub fn hear(&mut self, event: &Event) -> Option<RoomId> {
        match event {
            Event::Connected(welcome) if !std::mem::replace(&mut self.welcomed, true) => {
                for room in &welcome.rooms {
                    room.head.into_iter().for_each(|head| self.begin(&room.id, head.0));
                }
            }
            // The client has it that this is owed, though nothing of the room came yet.
            Event::Violation(Violation::Gap { room, position, .. }) => self.begin(room, position.0),
            _ => {}
        }
        let (room, step) = Step::of(event)?;
        match (self.rooms.get_mut(&room), step) {
            (Some(stream), step) => stream.steps.push(step),
            (None, Step::Entry(own_join)) => self.begin(&room, own_join.seq),
            (None, step @ (Step::Behind { after: began_at, .. } | Step::Reset { head: began_at })) => {
                self.rooms.insert(room.clone(), Reader { began_at, steps: vec![step], ..Reader::default() });
            }
        }
        Some(room)
    }

    fn begin(&mut self, room: &RoomId, at: u64) {
        self.rooms.entry(room.clone()).or_insert_with(|| Reader { began_at: at, ..Reader::default() });
    }

    /// The last seq that it knows of in a room where it has a stream.
    pub fn position(&self, room: &RoomId) -> Option<u64> {
        let stream = self.rooms.get(room)?;
        Some(match stream.steps.last() {
            None => stream.began_at,
            Some(Step::Entry(seen)) => seen.seq,
            Some(Step::Behind { head, .. } | Step::Reset { head }) => *head,
        })
    }

    /// The rooms in which it has a stream.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.keys()
    }

    /// Whether it has come to the head of every one of these rooms.
    pub fn has_seen(&self, heads: &BTreeMap<RoomId, u64>) -> bool {
        heads.iter().all(|(room, head)| self.position(room).is_some_and(|position| position >= *head))
    }

    /// All of them, which are to be at the end. Of a room of which nothing came, not even the own join, all is missing.
    pub fn end(mut self, rooms: &[RoomId]) -> BTreeMap<RoomId, Reader> {
        for room in rooms {
            self.rooms.entry(room.clone()).or_default();
        }
        self.rooms.values_mut().for_each(|stream| stream.to_the_end = true);
        self.rooms
    }
}

#[cfg(test)]
mod tests {
    use hubbub_client::Entry;
    use hubbub_client::event::Behind;
    use serde_json::json;

    use super::*;

    fn entry(seq: u64) -> Event {
        let user = json!({"id": "ann", "name": "Ann"});
        let frame = json!({"type": "join", "room": "r", "seq": seq, "at": 1, "user": user});
        Event::Entry(serde_json::from_value::<Entry>(frame).unwrap())
    }

    fn gap(position: u64, next: u64) -> Event {
        let (position, next) = (hubbub_core::ids::Seq(position), hubbub_core::ids::Seq(next));
        Event::Violation(Violation::Gap { room: room(), position, next })
    }

    fn room() -> RoomId {
        RoomId::parse("r").unwrap()
    }

    fn stream(events: &[Event]) -> (u64, usize) {
        let mut streams = Streams::default();
        events.iter().for_each(|event| _ = streams.hear(event));
        let stream = streams.end(&[room()]).remove(&room()).unwrap();
        (stream.began_at, stream.steps.len())
    }

    #[test]
    fn it_begins_at_the_own_join_whether_that_is_heard_of_or_not() {
        assert_eq!(stream(&[entry(7), entry(8)]), (7, 1));
        assert_eq!(stream(&[gap(7, 20), entry(20)]), (7, 1), "8 to 19 are missing");
        assert_eq!(stream(&[entry(7), gap(7, 9), entry(9)]), (7, 1));
        assert_eq!(stream(&[]), (0, 0), "all is missing");
        let behind: Behind = serde_json::from_value(json!({"room": "r", "after": 7, "head": 9})).unwrap();
        assert_eq!(stream(&[Event::Behind(behind), entry(10)]), (7, 2));
    }

    #[test]
    fn who_is_a_member_already_begins_at_the_head_of_the_first_welcome() {
        let welcome = |head: u64| {
            let user = json!({"id": "ann", "name": "Ann"});
            let rooms = json!([{"id": "r", "name": "R", "head": head}]);
            let welcome = json!({"user": user, "rooms": rooms, "heartbeat_ms": 1, "limits": {}});
            Event::Connected(std::sync::Arc::new(serde_json::from_value(welcome).unwrap()))
        };
        assert_eq!(stream(&[welcome(5), entry(6), welcome(9), entry(7)]), (5, 2));
    }
}

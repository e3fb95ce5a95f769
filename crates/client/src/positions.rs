//! Where we are in each room's log, and whether what comes is what was promised to come next.

use std::collections::BTreeMap;

use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::position::{Arrival, Position};

/// The last seq seen of each room that is followed.
#[derive(Debug, Default)]
pub(crate) struct Positions(BTreeMap<RoomId, Followed>);

#[derive(Debug, Clone, Copy)]
struct Followed {
    position: Position,
    /// We know from an answer that our join is at this position; its entry may still come.
    join_may_come: bool,
}

impl Followed {
    fn at(seq: Seq) -> Self {
        Self { position: Position(seq), join_may_come: false }
    }
}

impl Positions {
    /// Positions from an earlier connection.
    pub(crate) fn resume(rooms: BTreeMap<RoomId, Seq>) -> Self {
        Self(rooms.into_iter().map(|(room, seq)| (room, Followed::at(seq))).collect())
    }

    /// What `hello` carries.
    pub(crate) fn all(&self) -> BTreeMap<RoomId, Seq> {
        self.0.iter().map(|(room, followed)| (room.clone(), followed.position.0)).collect()
    }

    /// The last seq seen of a room that is followed.
    pub(crate) fn of(&self, room: &RoomId) -> Option<Seq> {
        self.0.get(room).map(|followed| followed.position.0)
    }

    /// The rooms we are a member of, each with its head. One that we had no position in begins at its head;
    /// one that is missing is not followed any more.
    pub(crate) fn on_welcome(&mut self, rooms: impl IntoIterator<Item = (RoomId, Seq)>) {
        let mut before = std::mem::take(&mut self.0);
        for (room, head) in rooms {
            let followed = before.remove(&room).unwrap_or(Followed::at(head));
            self.0.insert(room, followed);
        }
    }

    /// Our join is at `seq`. Its entry may come after this, or have come before it.
    pub(crate) fn on_joined(&mut self, room: &RoomId, seq: Seq) {
        self.0.entry(room.clone()).or_insert(Followed { position: Position(seq), join_may_come: true });
    }

    /// We are not a member any more.
    pub(crate) fn on_left(&mut self, room: &RoomId) {
        self.0.remove(room);
    }

    /// An entry came. A gap is passed over: what follows the entry is expected next. The first entry of a room
    /// that is not followed begins it.
    pub(crate) fn on_entry(&mut self, room: &RoomId, seq: Seq) -> Arrived {
        let Some(followed) = self.0.get_mut(room) else {
            self.0.insert(room.clone(), Followed::at(seq));
            return Arrived { arrival: Arrival::Next, before: Seq(seq.0.saturating_sub(1)) };
        };
        let before = followed.position.0;
        if std::mem::take(&mut followed.join_may_come) && seq == before {
            return Arrived { arrival: Arrival::Next, before };
        }
        let arrival = followed.position.advance(seq);
        if arrival == Arrival::Gap {
            followed.position = Position(seq);
        }
        Arrived { arrival, before }
    }

    /// The server dropped the entries after `after` up to `head`. Those between our position and `after` are a gap.
    pub(crate) fn on_behind(&mut self, room: &RoomId, after: Seq, head: Seq) -> Arrived {
        let before = self.of(room).unwrap_or(after);
        self.0.insert(room.clone(), Followed::at(head.max(before)));
        let arrival = if after > before { Arrival::Gap } else { Arrival::Next };
        Arrived { arrival, before }
    }

    /// The log is another one, and `head` its last seq.
    pub(crate) fn on_reset(&mut self, room: &RoomId, head: Seq) {
        self.0.insert(room.clone(), Followed::at(head));
    }
}

/// What came, and the position before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) arrival: Arrival,
    pub(crate) before: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomId {
        RoomId::parse("r").unwrap()
    }

    fn at(seq: u64) -> Positions {
        Positions::resume(BTreeMap::from([(room(), Seq(seq))]))
    }

    fn arrivals(positions: &mut Positions, seqs: &[u64]) -> Vec<Arrival> {
        seqs.iter().map(|seq| positions.on_entry(&room(), Seq(*seq)).arrival).collect()
    }

    #[test]
    fn a_repeat_stays_behind_and_a_gap_is_passed_once() {
        use Arrival::{Gap, Next, Repeat};
        let mut positions = at(4);
        assert_eq!(arrivals(&mut positions, &[5, 5, 4, 8, 9, 6]), [Next, Repeat, Repeat, Gap, Next, Repeat]);
        assert_eq!(positions.of(&room()), Some(Seq(9)));
    }

    #[test]
    fn the_first_entry_of_an_unknown_room_begins_it() {
        let mut positions = Positions::default();
        assert_eq!(arrivals(&mut positions, &[12, 13, 15]), [Arrival::Next, Arrival::Next, Arrival::Gap]);
    }

    #[test]
    fn after_a_join_its_own_entry_may_come_once_or_not_at_all() {
        use Arrival::{Gap, Next, Repeat};
        for (seqs, expected) in [
            (&[7, 8][..], &[Next, Next][..]),
            (&[8, 9], &[Next, Next]),
            (&[7, 7], &[Next, Repeat]),
            (&[8, 7], &[Next, Repeat]),
            (&[9], &[Gap]),
        ] {
            let mut positions = Positions::default();
            positions.on_joined(&room(), Seq(7));
            assert_eq!(positions.of(&room()), Some(Seq(7)));
            assert_eq!(arrivals(&mut positions, seqs), expected, "{seqs:?}");
        }
        let mut entry_first = Positions::default();
        assert_eq!(arrivals(&mut entry_first, &[7]), [Next]);
        entry_first.on_joined(&room(), Seq(7));
        assert_eq!(arrivals(&mut entry_first, &[7, 8]), [Repeat, Next]);
    }

    #[test]
    fn welcome_keeps_what_we_had_and_drops_what_we_left() {
        let (other, left) = (RoomId::parse("o").unwrap(), RoomId::parse("l").unwrap());
        let mut positions = Positions::resume(BTreeMap::from([(room(), Seq(4)), (left, Seq(1))]));
        positions.on_welcome([(room(), Seq(9)), (other.clone(), Seq(3))]);
        assert_eq!(positions.all(), BTreeMap::from([(room(), Seq(4)), (other, Seq(3))]));
    }

    #[test]
    fn behind_moves_to_the_head_and_shows_what_was_lost_before_it() {
        let mut positions = at(4);
        let arrived = positions.on_behind(&room(), Seq(4), Seq(20));
        assert_eq!(arrived, Arrived { arrival: Arrival::Next, before: Seq(4) });
        assert_eq!(arrivals(&mut positions, &[21]), [Arrival::Next]);
        assert_eq!(positions.on_behind(&room(), Seq(23), Seq(30)).arrival, Arrival::Gap);
        positions.on_reset(&room(), Seq(2));
        assert_eq!(arrivals(&mut positions, &[3]), [Arrival::Next]);
    }
}

//! A round: all that is to be written, room by room and connection by connection, in parts with a turn each.
//!
//! While a loop sends it reads nothing and hears no answer, and the store waits for what was not read. Under load a round is thousands
//! of sends and tens of milliseconds. So a part ends when it took half as long as all else did since the last, and the next, which
//! goes on with it, comes when everybody had their turn. A loop that is often idle has time for a round at once.
//!
//! What becomes to be written while a round is under way is for the next, so that every room has one flush a round: what is for one
//! connection gathers as long as a round takes, and what it was answered goes with what its room is told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hubbub_core::ids::RoomId;

use crate::member::ConnectionId;
use crate::shard::State;

/// How long a part takes at least: each has to come round through the loop.
const PART_MIN: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_micros(500) };
/// Sends after which it is looked at how long a part took. One that has begun with a room sends it to all members.
const LOOK_EVERY: usize = 16;

/// What is still to be written in it.
pub struct Round {
    rooms: VecDeque<RoomId>,
    connections: VecDeque<ConnectionId>,
    /// When the last part ended.
    left: Instant,
}

impl Round {
    /// One that is over.
    pub fn over() -> Self {
        Self { rooms: VecDeque::new(), connections: VecDeque::new(), left: Instant::now() }
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.rooms.is_empty() && self.connections.is_empty()
    }
}

impl State {
    /// Writes a part of the round, of a new one if the last is over.
    pub fn write_a_part(&mut self) {
        if self.round.is_over() {
            std::mem::swap(&mut self.round.rooms, &mut self.dirty_rooms);
            std::mem::swap(&mut self.round.connections, &mut self.dirty_connections);
        }
        let began = Instant::now();
        let time = (began.saturating_duration_since(self.round.left) / 2).max(PART_MIN);
        let mut sends = 0;
        while sends < LOOK_EVERY || began.elapsed() < time {
            sends %= LOOK_EVERY;
            if let Some(room) = self.round.rooms.pop_front() {
                sends += self.flush_room(&room);
            } else if let Some(id) = self.round.connections.pop_front() {
                sends += usize::from(self.flush_connection(id));
            } else {
                break;
            }
        }
        self.round.left = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::dialect::Passes;
    use crate::http::tests::state;
    use crate::shard::Shard;
    use crate::shard::tests::unread;
    use crate::ws::outbound::Outbound;

    fn waiting(state: &mut State, of: &[ConnectionId]) -> Vec<usize> {
        of.iter().map(|id| state.connection(*id).unwrap().out.waiting()).collect()
    }

    #[tokio::test]
    async fn a_round_is_written_in_parts_and_each_room_once_in_it() {
        let rooms = ["a", "b", "c"].map(|id| RoomId::parse(id).unwrap());
        Shard::new(state(Config::default()).gateway, 0).with(|state| {
            // The first of each room's members, who keep what they are sent.
            let first = rooms.clone().map(|room| {
                let ids = [(); 10].map(|()| state.insert(unread));
                state.rooms.entry(room.clone()).or_default().members = ids.iter().map(|id| id.slot).collect();
                state.pass(&room, Passes::Count(1));
                ids[0]
            });
            let part = |state: &mut State| {
                // As if nobody else had wanted anything.
                state.round.left = Instant::now() + Duration::from_secs(60);
                state.write_a_part();
                waiting(state, &first)
            };
            let [a, b, c] = part(state)[..] else { unreachable!() };
            assert!(a > 0 && b == a && c == 0, "{a} {b} {c}");
            // While it is under way: for the one that had its flush, and for the one that has not.
            state.pass(&rooms[0], Passes::Count(2));
            state.pass(&rooms[2], Passes::Count(2));
            state.push(first[0], "answer".into());
            // Before its turn in the round, for who opens it: it still has one, and no second.
            state.flush_now(&rooms[2]);
            state.pass(&rooms[2], Passes::Count(3));
            let queued = state.round.rooms.iter().chain(&state.dirty_rooms);
            assert_eq!(queued.filter(|room| **room == rooms[2]).count(), 1);
            let after = part(state);
            assert!(after[0] < 2 * a && after[2] > a, "{after:?}");
            assert!(state.round.is_over());
            let next = part(state);
            assert!(next[0] > after[0] + a / 2 && next[1..] == after[1..], "{next:?}");
        });
    }

    #[tokio::test]
    async fn a_reader_goes_on_also_where_what_its_room_was_told_took_its_answer_along() {
        Shard::new(state(Config::default()).gateway, 0).with(|state| {
            let id = state.insert(unread);
            state.push(id, "answer".into());
            let connection = state.connection(id).unwrap();
            connection.paused = true;
            connection.out = Outbound::default();
            state.write_a_part();
            assert!(!state.connection(id).unwrap().paused);
        });
    }
}

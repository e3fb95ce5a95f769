//! A user with connections on this shard. Most have one connection and few rooms, so what there is of them is in the table itself.

use hubbub_core::ids::{RoomId, Seq};
use smallvec::SmallVec;

use crate::fanout::UserNumber;
use crate::member::ConnectionId;

/// One user.
#[derive(Default)]
pub struct UserHere {
    /// Their number on this shard, never 0.
    pub number: UserNumber,
    /// The connections.
    pub connections: SmallVec<[ConnectionId; 2]>,
    /// Rooms that their connections follow.
    pub joined: Joined,
}

/// Rooms, by their ids, with a seq: the user's join was no later than that, and what their connections are sent goes on from there.
#[derive(Default)]
pub struct Joined(SmallVec<[(RoomId, Seq); 1]>);

impl Joined {
    fn place(&self, room: &RoomId) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(room))
    }

    /// How far the join to a room is known.
    pub fn get(&self, room: &RoomId) -> Option<Seq> {
        self.place(room).ok().map(|at| self.0[at].1)
    }

    /// Notes a join, in the place of an older one.
    pub fn insert(&mut self, room: RoomId, seq: Seq) {
        match self.place(&room) {
            Ok(at) => self.0[at].1 = seq,
            Err(at) => self.0.insert(at, (room, seq)),
        }
    }

    /// Forgets a room. How far the join to it was known, if it was.
    pub fn remove(&mut self, room: &RoomId) -> Option<Seq> {
        self.place(room).ok().map(|at| self.0.remove(at).1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(RoomId, Seq)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn joined_rooms_are_a_map() {
        let rooms: Vec<_> = (0..12).map(|n| RoomId::parse(&format!("room-{n}")).unwrap()).collect();
        let (mut joined, mut model) = (Joined::default(), BTreeMap::new());
        let mut random = fastrand::Rng::with_seed(7);
        for seq in (1..2_000).map(Seq) {
            let room = random.choice(&rooms).unwrap();
            match random.bool() {
                true => {
                    joined.insert(room.clone(), seq);
                    model.insert(room.clone(), seq);
                }
                false => {
                    joined.remove(room);
                    model.remove(room);
                }
            }
            assert!(joined.iter().map(|(room, seq)| (room, seq)).eq(&model));
            assert!(rooms.iter().all(|room| joined.get(room) == model.get(room).copied()));
        }
    }

    #[test]
    fn a_user_takes_no_more_of_the_table_than_is_needed() {
        assert!(size_of::<UserHere>() <= 64, "{}", size_of::<UserHere>());
    }
}

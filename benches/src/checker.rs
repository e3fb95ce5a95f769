//! Whether every message of a room reached every member once and in one order.
//!
//! Pure: deliveries in, findings out. The first reader that sees the k-th message of a room fixes what the k-th message
//! is; every other reader must see the same. So the common case is one comparison, whatever the number of members.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What was wrong. All zero is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Deliveries that never came.
    pub lost: u64,
    /// Deliveries that came again.
    pub doubled: u64,
    /// Deliveries in another order than another reader's, or than their sender's.
    pub reordered: u64,
    /// Steps in the server's own numbers that were not one forward.
    pub gaps: u64,
    /// Deliveries in a room that the reader isn't in, or of no message that was sent.
    pub strange: u64,
}

impl Findings {
    /// Whether anything was wrong.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Adds what another room found.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.gaps += other.gaps;
        self.strange += other.strange;
    }
}

/// The checker of one room.
#[derive(Debug)]
pub struct RoomChecker {
    members: u32,
    senders: u32,
    /// Messages that were sent: counts below this are known.
    sent: u32,
    refused: BTreeSet<u32>,
    /// Counts in the order that the first reader saw.
    order: Vec<u32>,
    /// For each count its place in `order` plus one, or 0.
    place: Vec<u32>,
    readers: Vec<Reader>,
    gone: BTreeSet<u32>,
    found: Findings,
}

#[derive(Debug, Clone, Default)]
struct Reader {
    /// How much of `order` is behind this reader.
    position: u32,
    /// Places before `position` that it skipped.
    skipped: Vec<u32>,
    /// The server's last number, 0 before the first.
    seq: u64,
}

impl RoomChecker {
    /// A room whose messages are sent by so many of its members in turn: count modulo senders is the sender.
    pub fn new(members: u32, senders: u32) -> Self {
        Self {
            members,
            senders,
            sent: 0,
            refused: BTreeSet::new(),
            order: Vec::new(),
            place: Vec::new(),
            readers: vec![Reader::default(); members as usize],
            gone: BTreeSet::new(),
            found: Findings::default(),
        }
    }

    /// The next message goes out; its count.
    pub fn on_sent(&mut self) -> u32 {
        self.place.push(0);
        self.sent += 1;
        self.sent - 1
    }

    /// The server said that it didn't take a message: nobody must wait for it.
    pub fn on_refused(&mut self, count: u32) {
        if count < self.sent {
            self.refused.insert(count);
        }
    }

    /// A member is not there any more: what it has not seen is not lost.
    pub fn on_gone(&mut self, member: u32) {
        if member < self.members {
            self.gone.insert(member);
        }
    }

    /// A member saw an element of the room's log, numbered by the server.
    pub fn on_seq(&mut self, member: u32, seq: u64) {
        let Some(reader) = self.readers.get_mut(member as usize) else { return self.found.strange += 1 };
        if reader.seq != 0 && seq != reader.seq + 1 {
            self.found.gaps += 1;
        }
        reader.seq = reader.seq.max(seq);
    }

    /// A member saw a message. Whether it is one that it had not seen yet.
    pub fn on_delivery(&mut self, member: u32, count: u32) -> bool {
        let known = self.place.get(count as usize).copied();
        let (Some(reader), Some(placed)) = (self.readers.get_mut(member as usize), known) else {
            self.found.strange += 1;
            return false;
        };
        let place = if placed == 0 {
            let of_its_sender =
                count.checked_add(self.senders).and_then(|next| self.place.get(next as usize));
            if of_its_sender.is_some_and(|&next| next != 0) {
                self.found.reordered += 1;
            }
            self.order.push(count);
            self.place[count as usize] = self.order.len() as u32;
            self.order.len() as u32 - 1
        } else {
            placed - 1
        };
        if place >= reader.position {
            reader.skipped.extend(reader.position..place);
            reader.position = place + 1;
        } else if let Some(at) = reader.skipped.iter().position(|&skipped| skipped == place) {
            reader.skipped.swap_remove(at);
            self.found.reordered += 1;
        } else {
            self.found.doubled += 1;
            return false;
        }
        true
    }

    /// Messages that went out so far.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// The server's last number that a member saw, 0 before the first.
    pub fn seq(&self, member: u32) -> u64 {
        self.readers.get(member as usize).map_or(0, |reader| reader.seq)
    }

    /// Whether a member has as many messages as the first `sent` that went out.
    pub fn has(&self, member: u32, sent: u32) -> bool {
        let refused = self.refused.range(..sent).filter(|&&count| self.place[count as usize] == 0).count();
        let reader = self.readers.get(member as usize);
        reader
            .is_some_and(|reader| reader.position as usize - reader.skipped.len() + refused >= sent as usize)
    }

    /// Whether every member has everything that was sent and not refused.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// What was found; what has not come by now is lost.
    pub fn findings(&self) -> Findings {
        Findings { lost: self.missing(), ..self.found }
    }

    fn missing(&self) -> u64 {
        let refused = self.refused.iter().filter(|&&count| self.place[count as usize] == 0).count() as u64;
        let there = (0..self.members).filter(|member| !self.gone.contains(member));
        let has = |member: u32| {
            let reader = &self.readers[member as usize];
            u64::from(reader.position) - reader.skipped.len() as u64
        };
        there.map(|member| u64::from(self.sent) - refused - has(member)).sum()
    }
}

#[cfg(test)]
mod tests;

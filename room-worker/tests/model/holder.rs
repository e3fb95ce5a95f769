//! One holder: who made a claim, and what it knows of the room since.
//!
//! A holder that is killed, paused or cut off is one that takes no more steps; what it sent may still land. One that was fenced
//! goes on until it reads the fence.

use crate::store::{Entry, Epoch, Segment, Seq};

/// How far a holder is with a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has claimed, and knows nothing of the room.
    Claimed,
    /// It knows which segment is the newest, and reads that one's rows, bucket by bucket.
    ReadsRows,
    /// It knows the log to its end, and has not read the fence since.
    Recovered,
    /// It takes asks.
    Open,
}

/// How far a write is that its holder repeats until it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    Unsent,
    Sent,
    Durable,
}

/// An entry that is not committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    pub durable: bool,
    /// Whether the fence was read before the entry was sent: only a mistaken holder does so.
    pub fence_read: bool,
}

/// A holder of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub epoch: Epoch,
    pub phase: Phase,
    /// The newest segment before its own.
    pub newest: Option<(Epoch, Segment)>,
    /// Which segment the last entry was in that it found.
    pub origin: Option<Epoch>,
    /// Where its own segment starts: after all that it found.
    pub start: Seq,
    /// Its own segment's row.
    pub segment: Write,
    /// Whether it found what perhaps is there only for those who happen to see it, and has not written it once more.
    pub in_doubt: bool,
    /// The log as it knows it, from 1 on; the last ones of it are those in flight.
    pub log: Vec<Entry>,
    /// Its own entries that are not committed, in their order.
    pub in_flight: Vec<Append>,
    /// Whether the user is a member after the last entry of all, those in flight included.
    pub member: bool,
}

impl Holder {
    pub fn claimed(epoch: Epoch, member: bool) -> Self {
        Self {
            epoch,
            phase: Phase::Claimed,
            newest: None,
            origin: None,
            start: 1,
            segment: Write::Unsent,
            in_doubt: false,
            log: Vec::new(),
            in_flight: Vec::new(),
            member,
        }
    }

    /// The row of its own segment.
    pub fn segment_row(&self) -> Segment {
        Segment { start: self.start, prev: self.newest.map(|(epoch, _)| epoch) }
    }

    /// The last seq that it has given.
    pub fn head(&self) -> Seq {
        self.log.len() as Seq
    }

    /// The last seq that is committed as far as it knows.
    pub fn committed(&self) -> Seq {
        (self.log.len() - self.in_flight.len()) as Seq
    }

    /// The last seq up to which all is durable; of a holder with a segment of its own.
    pub fn durable(&self) -> Option<Seq> {
        let durable = self.in_flight.iter().take_while(|append| append.durable).count();
        (self.segment == Write::Durable).then_some(self.committed() + durable as Seq)
    }

    /// One of its entries in flight, and its place.
    pub fn flying(&self, nth: usize) -> (Seq, Entry) {
        let index = usize::from(self.committed()) + nth;
        (index as Seq + 1, self.log[index])
    }
}

//! What is in the store: the segments and the rows of one room, and how much of the log is projected.
//!
//! A write is on its way, on a part of the replicas, or there for good. In part it is seen by a read at quorum that happens to
//! meet such a replica, and not by the next one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

/// The number of a claim, from 1: who made the claim holds the room.
pub type Epoch = u8;
/// A place in the log, from 1.
pub type Seq = u8;
/// What a client sends along so that its message is in the log once.
pub type Key = u8;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Says {
    Message(Key),
    Join,
    Leave,
}

/// An entry's bytes. A holder that gives a repeated message its place makes other bytes of it: its own time is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    pub says: Says,
    pub made_in: Epoch,
}

/// A segment's row: where the log goes on in an epoch, and after which other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    pub start: Seq,
    pub prev: Option<Epoch>,
}

/// Under what an entry is kept. Rows of one epoch and bucket are one partition, and read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    pub epoch: Epoch,
    pub bucket: u8,
    pub seq: Seq,
}

/// Where a write has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On too few replicas: it is there in part.
    Few,
    /// For good.
    Quorum,
}

/// What a read at quorum meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What is there for good.
    Durable,
    /// Also what is there in part.
    All,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rows<K, V> {
    durable: BTreeMap<K, V>,
    in_part: BTreeMap<K, V>,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { durable: BTreeMap::new(), in_part: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V: PartialEq + Copy> Rows<K, V> {
    /// A write lands, and overwrites what was under its key. False if nothing changes.
    pub fn land(&mut self, key: K, row: V, on: On) -> bool {
        match (on, self.in_part.entry(key)) {
            (On::Few, Vacant(place)) => {
                place.insert(row);
                true
            }
            (On::Few, Occupied(_)) => false,
            (On::Quorum, in_part) => {
                if let Occupied(place) = in_part
                    && *place.get() == row
                {
                    place.remove();
                }
                self.durable.insert(key, row);
                true
            }
        }
    }

    /// Both kinds, if they differ.
    pub fn kinds_of_reads(&self) -> impl Iterator<Item = Seen> + use<K, V> {
        let differ = !self.in_part.is_empty();
        [Seen::Durable, Seen::All].into_iter().filter(move |seen| differ || *seen == Seen::Durable)
    }

    /// What a read at quorum returns. It sees all writes in part or none: a holder that saw one makes it durable before it
    /// tells or writes what rests on it, so a read that sees only some is like one before the others were made.
    pub fn get(&self, key: K, seen: Seen) -> Option<V> {
        let in_part = self.in_part.get(&key).filter(|_| seen == Seen::All);
        self.durable.get(&key).or(in_part).copied()
    }

    /// The keys of all rows, ascending.
    pub fn keys(&self, seen: Seen) -> Vec<K> {
        let in_part = self.in_part.keys().filter(|_| seen == Seen::All);
        let mut keys: Vec<K> = self.durable.keys().chain(in_part).copied().collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// The store, as far as it concerns one room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    pub segments: Rows<Epoch, Segment>,
    pub log: Rows<RowKey, Entry>,
    /// All entries up to here are in the projections: the lists of members and of rooms.
    pub mark: Seq,
}

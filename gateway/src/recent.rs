//! The newest entries of a room, kept here to answer `open` at an exact place and to resume without a read.
//!
//! Each room keeps some; together no more than [`Config::recent_bytes_max`](crate::config::Config::recent_bytes_max) of them stay: those
//! of the rooms in which nothing was said for longest go, and are read from the history service again when somebody wants them.

use std::cmp::Reverse;
use std::collections::VecDeque;

use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, Seq};

use crate::shard::State;

/// Of one room.
const ENTRIES_MAX: usize = 64;
const BYTES_MAX: usize = 64 * 1024;

/// Those of a room, without a gap.
#[derive(Default)]
pub struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Recent {
    /// Keeps the entry that follows the last one.
    pub fn keep(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= weight(&oldest);
        }
    }

    /// Forgets what an entry says is erased.
    pub fn obey(&mut self, room: &RoomId, order: &Entry) {
        self.entries.iter_mut().for_each(|entry| _ = entry.obey(room, order));
        self.bytes = self.entries.iter().map(weight).sum();
    }

    /// All entries after `after` up to `to`, if they are here.
    pub fn after(&self, after: Seq, to: Seq) -> Option<Vec<Entry>> {
        if after >= to {
            return Some(Vec::new());
        }
        let first = self.entries.front()?.seq;
        let last = self.entries.back()?.seq;
        (first <= after.next() && last >= to)
            .then(|| self.entries.iter().filter(|e| e.seq > after && e.seq <= to).cloned().collect())
    }

    /// The entry at `seq`, if it is here.
    pub fn at(&self, seq: Seq) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.seq == seq)
    }
}

/// What it takes to keep it.
fn weight(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.json.len()
}

impl State {
    /// Lets go of those of the rooms that were silent for longest, until a tenth less than `max` bytes are left, if there are more than
    /// `max`.
    pub fn bound_recent(&mut self, max: usize) {
        let mut all: usize = self.rooms.values().map(|here| here.recent.bytes).sum();
        if all > max {
            let mut rooms: Vec<_> = self.rooms.values_mut().map(|here| &mut here.recent).collect();
            rooms.sort_unstable_by_key(|recent| recent.entries.back().map(|entry| Reverse(entry.at)));
            while all > max / 10 * 9
                && let Some(silent) = rooms.pop()
            {
                all -= std::mem::take(silent).bytes;
            }
        }
        let shown = std::mem::replace(&mut self.shown_recent, all);
        metrics::gauge!(crate::metrics::RECENT_BYTES).increment(all as f64 - shown as f64);
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Millis, User, UserId};
    use hubbub_core::limits::Content;

    use super::*;
    use crate::config::Config;
    use crate::http::tests::state;
    use crate::shard::Shard;

    fn entry(room: &RoomId, seq: u64, at: u64, text: usize) -> Entry {
        let user = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        let content = Content::text("x".repeat(text)).unwrap();
        Entry::new(room, Seq(seq), Millis(at), &user, None, Says::Message(&content))
    }

    #[test]
    fn a_room_keeps_the_newest_without_a_gap() {
        let room = RoomId::parse("lobby").unwrap();
        for (text, kept) in [(1, ENTRIES_MAX as u64), (4_000, 15)] {
            let mut recent = Recent::default();
            (1..=100).for_each(|seq| recent.keep(entry(&room, seq, seq, text)));
            assert!(recent.bytes <= BYTES_MAX);
            let first = Seq(100 - kept);
            let all = recent.after(first, Seq(100)).unwrap();
            assert!(all.iter().map(|entry| entry.seq.0).eq(first.0 + 1..=100), "{text}");
            assert!(
                recent.after(Seq(first.0 - 1), Seq(100)).is_none()
                    && recent.after(Seq(100), Seq(101)).is_none()
            );
            assert_eq!(recent.after(Seq(100), Seq(100)), Some(Vec::new()));
            assert!(recent.at(first).is_none() && recent.at(Seq(100)).is_some());
        }
    }

    #[tokio::test]
    async fn the_rooms_that_were_silent_for_longest_go_first() {
        let rooms = ["a", "b", "c", "d"].map(|id| RoomId::parse(id).unwrap());
        Shard::new(state(Config::default()).gateway, 0).with(|state| {
            for (room, last) in rooms.iter().zip([3, 1, 4, 2]) {
                let here = state.rooms.entry(room.clone()).or_default();
                (1..=last).for_each(|at| here.recent.keep(entry(room, at, at, 100)));
            }
            let mut kept = |max| {
                state.bound_recent(max);
                let kept = rooms.clone().map(|room| state.rooms[&room].recent.at(Seq(1)).is_some());
                (kept, state.shown_recent)
            };
            let (_, all) = kept(usize::MAX);
            assert_eq!(kept(all), ([true; 4], all));
            // Each entry is a tenth of all: without the one of b it is not enough.
            assert_eq!(kept(all - 1), ([true, false, true, false], all / 10 * 7));
        });
    }
}

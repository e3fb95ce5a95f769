//! The newest committed entries of a room, for readers who come to its end.

use std::collections::VecDeque;

use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{RoomId, Seq};

/// Most entries kept of a room.
const ENTRIES_MAX: usize = 256;
/// Most bytes of them, the newest entry always excepted.
const BYTES_MAX: usize = 256 * 1024;

/// The newest committed entries, consecutive.
#[derive(Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// Takes the log's next entry, and lets go of the oldest ones and of what it says is erased.
    pub(crate) fn push(&mut self, room: &RoomId, entry: Entry) {
        if entry.kind == Kind::Erase {
            self.entries.iter_mut().for_each(|before| _ = before.obey(room, &entry));
            self.bytes = self.entries.iter().map(|before| before.json.len()).sum();
        }
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.json.len();
            }
        }
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes + self.entries.capacity() * size_of::<Entry>()
    }

    /// The newest `count` entries up to and with `head`; fewer, or none, when they are not here any more.
    pub(crate) fn newest(&self, head: Seq, count: usize) -> impl Iterator<Item = &Entry> {
        let first = self.entries.front().map_or(u64::MAX, |e| e.seq.0);
        let upto = (head.0 + 1).saturating_sub(first).min(self.entries.len() as u64) as usize;
        self.entries.range(upto.saturating_sub(count)..upto)
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Millis, User, UserId};
    use hubbub_core::limits::Content;

    use super::*;

    fn room() -> RoomId {
        RoomId::parse("r").unwrap()
    }

    fn entry(seq: u64, bytes: usize) -> Entry {
        let user = User { id: UserId::parse("u").unwrap(), name: "u".into() };
        let content = Content::Text("x".repeat(bytes));
        Entry::new(&room(), Seq(seq), Millis(1), &user, None, Says::Message(&content))
    }

    fn seqs(tail: &Tail, head: u64, count: usize) -> Vec<u64> {
        tail.newest(Seq(head), count).map(|e| e.seq.0).collect()
    }

    #[test]
    fn the_newest_end_exactly_at_the_head_asked_for() {
        let mut tail = Tail::default();
        assert!(seqs(&tail, 0, 5).is_empty());
        (11..=310).for_each(|seq| tail.push(&room(), entry(seq, 1)));
        assert_eq!(seqs(&tail, 310, 3), [308, 309, 310]);
        assert_eq!(seqs(&tail, 308, 2), [307, 308]);
        assert_eq!(seqs(&tail, 310, 1_000), (55..=310).collect::<Vec<_>>());
        assert_eq!(seqs(&tail, 56, 5), [55, 56]);
        assert!(seqs(&tail, 54, 5).is_empty());
    }

    #[test]
    fn what_is_erased_is_not_kept() {
        let mut tail = Tail::default();
        tail.push(&room(), entry(1, 1_000));
        tail.push(&room(), entry(2, 1_000));
        let (u, admin) = (UserId::parse("u").unwrap(), UserId::parse("admin").unwrap());
        let [u, admin] = [u, admin].map(|id| User { id, name: "u".into() });
        let says = Says::Erase { by: &admin, upto: Seq(1) };
        tail.push(&room(), Entry::new(&room(), Seq(3), Millis(1), &u, None, says));
        let kinds: Vec<_> = tail.newest(Seq(3), 9).map(|e| e.kind).collect();
        assert_eq!(kinds, [Kind::Erased, Kind::Text, Kind::Erase]);
        assert_eq!(tail.bytes, tail.newest(Seq(3), 9).map(|e| e.json.len()).sum::<usize>());
    }

    #[test]
    fn a_large_entry_stays_alone() {
        let mut tail = Tail::default();
        tail.push(&room(), entry(1, 10));
        tail.push(&room(), entry(2, BYTES_MAX + 1));
        assert_eq!(seqs(&tail, 2, 5), [2]);
        tail.push(&room(), entry(3, 10));
        assert_eq!(seqs(&tail, 3, 5), [3]);
    }
}

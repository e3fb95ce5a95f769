//! The newest committed entries of a room, for readers who come to its end.

use std::collections::VecDeque;

use hubbub_core::entry::Entry;
use hubbub_core::ids::Seq;

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
    /// Takes the log's next entry, and lets go of the oldest ones.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.json.len();
            }
        }
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
    use hubbub_core::ids::{Millis, RoomId, User, UserId};
    use hubbub_core::limits::Content;

    use super::*;

    fn entry(seq: u64, bytes: usize) -> Entry {
        let user = User { id: UserId::parse("u").unwrap(), name: "u".into() };
        let content = Content::Text("x".repeat(bytes));
        let room = RoomId::parse("r").unwrap();
        Entry::new(&room, Seq(seq), Millis(1), &user, None, Says::Message(&content))
    }

    fn seqs(tail: &Tail, head: u64, count: usize) -> Vec<u64> {
        tail.newest(Seq(head), count).map(|e| e.seq.0).collect()
    }

    #[test]
    fn the_newest_end_exactly_at_the_head_asked_for() {
        let mut tail = Tail::default();
        assert!(seqs(&tail, 0, 5).is_empty());
        (11..=310).for_each(|seq| tail.push(entry(seq, 1)));
        assert_eq!(seqs(&tail, 310, 3), [308, 309, 310]);
        assert_eq!(seqs(&tail, 308, 2), [307, 308]);
        assert_eq!(seqs(&tail, 310, 1_000), (55..=310).collect::<Vec<_>>());
        assert_eq!(seqs(&tail, 56, 5), [55, 56]);
        assert!(seqs(&tail, 54, 5).is_empty());
    }

    #[test]
    fn a_large_entry_stays_alone() {
        let mut tail = Tail::default();
        tail.push(entry(1, 10));
        tail.push(entry(2, BYTES_MAX + 1));
        assert_eq!(seqs(&tail, 2, 5), [2]);
        tail.push(entry(3, 10));
        assert_eq!(seqs(&tail, 3, 5), [3]);
    }
}

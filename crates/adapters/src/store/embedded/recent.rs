//! Entries that are durable in the journal and not yet rows of their own: readers look here first.
//!
//! They come in two generations: one that grows, and one that is being folded. A generation goes from here when it is in
//! the tables, never before; so a reader that looks here *first*, and then at the tables, misses nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use hubbub_core::ids::{Epoch, RoomId, Seq};
use hubbub_core::map::FastMap;
use hubbub_core::ports::store::{Read, Trim};

use super::write::NewEntries;

/// An encoded entry with its place in the log.
pub(super) type Encoded = (Seq, Bytes);

/// What a map's node, a handle and an allocation cost beside the bytes of an entry, about.
const OVERHEAD: usize = 128;

/// Entries of consecutive commits.
#[derive(Default, Clone)]
pub(super) struct Generation {
    rooms: FastMap<RoomId, BTreeMap<(Epoch, Seq), Bytes>>,
    bytes: usize,
    /// The journal's record with the last of them.
    pub(super) last_record: i64,
}

impl Generation {
    pub(super) fn add(&mut self, new: NewEntries) {
        let room = self.rooms.entry(new.room).or_default();
        for (seq, bytes) in new.entries {
            self.bytes += bytes.len() + OVERHEAD;
            room.insert((new.epoch, seq), bytes);
        }
    }

    fn has(&self, room: &RoomId, key: &(Epoch, Seq)) -> bool {
        self.rooms.get(room).is_some_and(|entries| entries.contains_key(key))
    }

    fn has_any(&self, trim: &Trim) -> bool {
        let seqs = &trim.seqs;
        self.rooms.get(&trim.room).is_some_and(|entries| {
            let of = |epoch: &Epoch| entries.range((*epoch, seqs.start)..(*epoch, seqs.end)).next().is_some();
            seqs.start < seqs.end && trim.epochs.iter().any(of)
        })
    }

    fn replace(&mut self, room: &RoomId, key: &(Epoch, Seq), bytes: &Bytes) {
        if let Some(entry) = self.rooms.get_mut(room).and_then(|entries| entries.get_mut(key)) {
            self.bytes = (self.bytes + bytes.len()).saturating_sub(entry.len());
            *entry = bytes.clone();
        }
    }

    fn range(&self, read: &Read) -> impl Iterator<Item = Encoded> {
        let (from, to) = (Seq(*read.seqs.start()), Seq(*read.seqs.end()));
        let room = self.rooms.get(&read.room).filter(|_| from <= to);
        let rows = room.map(|room| room.range((read.epoch, from)..=(read.epoch, to)));
        rows.into_iter().flatten().map(|((_, seq), bytes)| (*seq, bytes.clone()))
    }

    /// All entries, by room and epoch, ascending.
    pub(super) fn logs(&self) -> impl Iterator<Item = (&RoomId, Epoch, Vec<Encoded>)> {
        self.rooms.iter().flat_map(|(room, entries)| {
            let mut left = entries.iter().peekable();
            std::iter::from_fn(move || {
                let ((epoch, _), _) = *left.peek()?;
                let log = std::iter::from_fn(|| left.next_if(|((of, _), _)| of == epoch));
                Some((room, *epoch, log.map(|((_, seq), bytes)| (*seq, bytes.clone())).collect()))
            })
        })
    }
}

/// Both generations.
#[derive(Default)]
pub(super) struct Recent(RwLock<Generations>);

#[derive(Default)]
struct Generations {
    growing: Generation,
    folding: Option<Arc<Generation>>,
}

impl Recent {
    /// Adds what one record of the journal made durable.
    pub(super) fn add(&self, record: i64, entries: impl IntoIterator<Item = NewEntries>) {
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        generations.growing.last_record = record;
        entries.into_iter().for_each(|new| generations.growing.add(new));
    }

    /// Puts what is left of erased entries in the place of those that are here.
    pub(super) fn erase(&self, erased: &NewEntries) {
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (seq, bytes) in &erased.entries {
            let key = (erased.epoch, *seq);
            generations.growing.replace(&erased.room, &key, bytes);
            // Who folds has it as well, so it may have to be copied: only if there is something to change.
            if let Some(folding) = generations.folding.as_mut().filter(|f| f.has(&erased.room, &key)) {
                Arc::make_mut(folding).replace(&erased.room, &key, bytes);
            }
        }
    }

    /// Whether any of these rows is here.
    pub(super) fn has_any(&self, trim: &Trim) -> bool {
        let generations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        generations.growing.has_any(trim) || generations.folding.iter().any(|folding| folding.has_any(trim))
    }

    /// About how much memory is held: by what grows, and by all.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let generations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let folding = generations.folding.as_ref().map_or(0, |folding| folding.bytes);
        (generations.growing.bytes, generations.growing.bytes + folding)
    }

    /// What is to be folded now: what was begun before and not finished, else all that is there.
    pub(super) fn fold(&self) -> Arc<Generation> {
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Generations { growing, folding } = &mut *generations;
        folding.get_or_insert_with(|| Arc::new(std::mem::take(growing))).clone()
    }

    /// The generation that was being folded is in the tables.
    pub(super) fn folded(&self) {
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let gone = generations.folding.take();
        drop(generations);
        drop(gone);
    }

    /// The entries here that a read asks for: ascending, up to the one with which its bytes are reached.
    pub(super) fn range(&self, read: &Read) -> Vec<Encoded> {
        let generations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let folding = generations.folding.iter().flat_map(|folding| folding.range(read));
        let mut found: Vec<_> = folding.chain(generations.growing.range(read)).collect();
        drop(generations);
        found.sort_by_key(|(seq, _)| *seq);
        found.dedup_by_key(|(seq, _)| *seq);
        found.truncate(within(found.iter().map(|(_, bytes)| bytes.len()), read.bytes_max));
        found
    }
}

/// How many of rows with these lengths a read returns: up to the one with which its bytes are reached.
pub(super) fn within(lengths: impl IntoIterator<Item = usize>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for length in lengths {
        count += 1;
        bytes += length;
        if bytes >= bytes_max {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(seqs: impl IntoIterator<Item = u64>) -> NewEntries {
        let entries = seqs.into_iter().map(|seq| (Seq(seq), Bytes::from(vec![0; 10]))).collect();
        NewEntries { room: RoomId::parse("r").unwrap(), epoch: Epoch(1), entries }
    }

    fn seqs(recent: &Recent, seqs: std::ops::RangeInclusive<u64>, bytes_max: usize) -> Vec<u64> {
        let read = Read { room: RoomId::parse("r").unwrap(), epoch: Epoch(1), seqs, bytes_max };
        recent.range(&read).into_iter().map(|(seq, _)| seq.0).collect()
    }

    #[test]
    fn what_is_erased_is_erased_in_both_generations() {
        let recent = Recent::default();
        recent.add(1, [new(1..=2)]);
        let folding = recent.fold();
        recent.add(2, [new(3..=4)]);
        let erased = |seq| (Seq(seq), Bytes::from_static(b"gone"));
        recent.erase(&NewEntries { entries: vec![erased(2), erased(3), erased(9)], ..new([]) });
        let read = Read { room: new([]).room, epoch: Epoch(1), seqs: 1..=9, bytes_max: usize::MAX };
        let found: Vec<_> =
            recent.range(&read).into_iter().map(|(seq, bytes)| (seq.0, bytes.len())).collect();
        assert_eq!(found, [(1, 10), (2, 4), (3, 4), (4, 10)]);
        assert_eq!(recent.bytes().1, 4 * OVERHEAD + 28);
        drop(folding);
    }

    #[test]
    fn both_generations_are_read_as_one() {
        let recent = Recent::default();
        recent.add(1, [new(1..=3)]);
        assert_eq!(recent.fold().last_record, 1);
        recent.add(2, [new(3..=5)]);
        assert_eq!(seqs(&recent, 2..=9, usize::MAX), [2, 3, 4, 5]);
        assert_eq!(seqs(&recent, 2..=9, 11), [2, 3]);
        assert_eq!(recent.fold().last_record, 1, "what was begun is finished first");
        recent.folded();
        assert_eq!(seqs(&recent, 0..=9, usize::MAX), [3, 4, 5]);
        assert_eq!(recent.fold().last_record, 2);
        recent.folded();
        assert_eq!(recent.bytes(), (0, 0));
    }
}

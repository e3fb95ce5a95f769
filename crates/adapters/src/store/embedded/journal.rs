//! The journal: a *record* a commit, with the entries of all rooms that were in it. The layout is in `docs/store-format.md`.
//!
//! A record is written in slots: rows of one size, two a page, that are written over when what they had is folded. A row
//! that is replaced by one of its size is changed where it is, so a commit changes a page and no tree. With rows that come
//! and go it was four pages and a search of the list of free ones.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use bytes::{Buf, BufMut, Bytes};
use hubbub_core::ids::{Epoch, RoomId};
use hubbub_core::ports::store::Stored;
use rusqlite::Connection;

use super::failure::{damaged, failed};
use super::row_sum::RowSum;
use super::rows::{put_entry, take_entry};
use super::write::NewEntries;

/// Bytes of a slot: two rows of this size fill a page.
const SLOT_BYTES: usize = 4_072;
/// The first byte of a slot. That of a row as they were up to version 4 is the length of an id, 64 at most.
const SLOT: u8 = 0x82;
/// What is before a slot's part of a record.
const HEADER_BYTES: usize = 29;
/// Slots that may wait to be folded: a commit of one short message takes one as well.
const SLOTS_HELD_MAX: usize = 16_384;
/// Slots that are emptied in one transaction.
const SLOTS_EMPTIED: i64 = if cfg!(test) { 3 } else { 128 };

/// What the writer knows of the journal. Slots come in pairs, an odd one and the next, which share a page.
pub(super) struct Journal {
    /// The last record that is durable.
    last: i64,
    /// How many slots were made.
    slots: i64,
    /// The first of each pair of slots that are both free: they have nothing, or records that are folded.
    pairs: Vec<i64>,
    /// Slots that are free while the other of their pair is not.
    halves: BTreeSet<i64>,
    /// Slots of records that are not folded, each with its record, in the order of the records.
    held: VecDeque<(i64, i64)>,
    /// Slots of the record that the open transaction writes.
    writing: Vec<i64>,
}

impl Journal {
    /// One without a row, whose records up to `last` are folded.
    pub(super) fn new(last: i64) -> Self {
        let (pairs, halves) = (Vec::new(), BTreeSet::new());
        Self { last, slots: 0, pairs, halves, held: VecDeque::new(), writing: Vec::new() }
    }

    /// The last record that is durable.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Writes the next record inside the open transaction.
    pub(super) fn put(&mut self, db: &Connection, appends: &[NewEntries]) -> Stored<()> {
        let content = encode(appends);
        let rows = rows_of(self.last + 1, &content);
        self.take(db, rows.len())?;
        self.writing.iter().zip(rows).try_for_each(|(slot, row)| put_row(db, *slot, &row))
    }

    /// Takes slots for the open transaction, whole pairs as long as it can be.
    fn take(&mut self, db: &Connection, count: usize) -> Stored<()> {
        while self.writing.len() < count {
            if self.writing.len() + 1 == count
                && let Some(half) = self.halves.pop_first()
            {
                self.writing.push(half);
                break;
            }
            let first = match self.pairs.pop() {
                Some(first) => first,
                None => {
                    let first = self.slots + 1;
                    // Both, or one that comes between them later would push them to other pages.
                    [first, first + 1].iter().try_for_each(|slot| put_row(db, *slot, &empty_row()))?;
                    self.slots += 2;
                    first
                }
            };
            self.writing.push(first);
            match self.writing.len() < count {
                true => self.writing.push(first + 1),
                false => _ = self.halves.insert(first + 1),
            }
        }
        Ok(())
    }

    /// The transaction was committed; says whether a record was in it.
    pub(super) fn committed(&mut self) -> bool {
        let any = !self.writing.is_empty();
        self.last += i64::from(any);
        self.held.extend(self.writing.drain(..).map(|slot| (self.last, slot)));
        any
    }

    /// The transaction failed. A slot that was made in it is made again by who writes it.
    pub(super) fn failed(&mut self) {
        std::mem::take(&mut self.writing).into_iter().for_each(|slot| self.free(slot));
    }

    /// The records up to and with `last` are folded, for good.
    pub(super) fn folded(&mut self, last: i64) {
        while let Some((_, slot)) = self.held.pop_front_if(|(record, _)| *record <= last) {
            self.free(slot);
        }
    }

    fn free(&mut self, slot: i64) {
        let first = slot - (slot + 1) % 2;
        match self.halves.remove(&(2 * first + 1 - slot)) {
            true => self.pairs.push(first),
            false => _ = self.halves.insert(slot),
        }
    }

    /// Whether all records are folded.
    pub(super) fn is_folded(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether no more should come before something is folded.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() > SLOTS_HELD_MAX
    }

    /// Empties slots of records that are folded, for they still say what was said: some of those after `done`, which is 0 at first.
    /// Returns up to which that is done then, and `None` when all is.
    pub(super) fn forget(&self, db: &Connection, done: i64) -> Stored<Option<i64>> {
        let held: HashSet<_> = self.held.iter().map(|(_, slot)| *slot).collect();
        let end = self.slots.min(done + SLOTS_EMPTIED);
        let mut free = (done + 1..=end).filter(|slot| !held.contains(slot));
        free.try_for_each(|slot| put_row(db, slot, &empty_row()))?;
        Ok((end < self.slots).then_some(end))
    }
}

fn put_row(db: &Connection, slot: i64, row: &[u8]) -> Stored<()> {
    db.prepare_cached("INSERT OR REPLACE INTO journal (slot, bytes) VALUES (?, ?)")
        .and_then(|mut put| put.execute((slot, row)))
        .map_err(failed)?;
    Ok(())
}

/// Removes all rows: of a journal that is folded.
pub(super) fn clear(db: &Connection) -> Stored<()> {
    db.execute("DELETE FROM journal", ()).map_err(failed)?;
    Ok(())
}

/// A record's content.
fn encode(appends: &[NewEntries]) -> Vec<u8> {
    let size = appends.iter().flat_map(|new| &new.entries).map(|(_, bytes)| bytes.len() + 12).sum::<usize>();
    let mut to = Vec::with_capacity(size + appends.len() * 80);
    for new in appends {
        // Ids are at most 64 bytes long, and a queue's bytes far below 4 GiB.
        to.put_u8(new.room.as_str().len() as u8);
        to.put_slice(new.room.as_str().as_bytes());
        to.put_u64(new.epoch.0);
        to.put_u32(new.entries.len() as u32);
        new.entries.iter().for_each(|(seq, bytes)| put_entry(&mut to, *seq, bytes));
    }
    to
}

/// Reads what [`encode`] wrote.
fn decode(mut from: &[u8]) -> Option<Vec<NewEntries>> {
    let mut appends = Vec::new();
    while !from.is_empty() {
        let len = from.try_get_u8().ok()?;
        let (room, rest) = from.split_at_checked(usize::from(len))?;
        from = rest;
        let room = RoomId::parse(std::str::from_utf8(room).ok()?).ok()?;
        let epoch = Epoch(from.try_get_u64().ok()?);
        let count = from.try_get_u32().ok()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let (seq, bytes) = take_entry(&mut from)?;
            entries.push((seq, Bytes::copy_from_slice(bytes)));
        }
        appends.push(NewEntries { room, epoch, entries });
    }
    Some(appends)
}

/// A part of a record.
struct Part<'a> {
    record: i64,
    part: u32,
    /// How many the record has.
    parts: u32,
    content: &'a [u8],
}

impl Part<'_> {
    fn sum(&self) -> RowSum {
        let part = RowSum::of("journal").number(self.record).number(self.part.into());
        part.number(self.parts.into()).bytes(self.content)
    }

    fn row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(SLOT_BYTES);
        row.put_u8(SLOT);
        row.put_i64(self.record);
        row.put_u32(self.part);
        row.put_u32(self.parts);
        row.put_u32(self.content.len() as u32);
        row.put_i64(self.sum().done());
        row.put_slice(self.content);
        row.resize(SLOT_BYTES, 0);
        row
    }
}

/// The rows for a record.
fn rows_of(record: i64, content: &[u8]) -> impl ExactSizeIterator<Item = Vec<u8>> {
    let chunks = content.chunks(SLOT_BYTES - HEADER_BYTES);
    // A queue's bytes are far below 4 GiB.
    let parts = chunks.len() as u32;
    chunks.enumerate().map(move |(part, content)| Part { record, part: part as u32, parts, content }.row())
}

/// A part of what was folded before there was anything.
fn empty_row() -> Vec<u8> {
    Part { record: 0, part: 0, parts: 1, content: &[] }.row()
}

fn part_of(slot: i64, row: &[u8]) -> Stored<Part<'_>> {
    let broken = || damaged(format_args!("row {slot} of the journal: the layout is not known"));
    let name = || format!("row {slot} of the journal");
    let Some(mut from) = row.strip_prefix(&[SLOT]) else {
        // As they were up to version 4.
        let (content, mut sum) = row.split_at_checked(row.len().wrapping_sub(8)).ok_or_else(broken)?;
        RowSum::of("journal").number(slot).bytes(content).check(sum.get_i64(), name)?;
        return Ok(Part { record: slot, part: 0, parts: 1, content });
    };
    let mut read = || {
        let (record, part, parts) =
            (from.try_get_i64().ok()?, from.try_get_u32().ok()?, from.try_get_u32().ok()?);
        let len = usize::try_from(from.try_get_u32().ok()?).ok()?;
        let sum = from.try_get_i64().ok()?;
        Some((Part { record, part, parts, content: from.get(..len)? }, sum))
    };
    let (part, sum) = read().ok_or_else(broken)?;
    part.sum().check(sum, name)?;
    Ok(part)
}

/// Hands on all appends in the records after the record `folded`, in order; returns the number of the last.
pub(super) fn replay(db: &Connection, folded: i64, mut each: impl FnMut(NewEntries)) -> Stored<i64> {
    let mut records = BTreeMap::<i64, BTreeMap<u32, (u32, Vec<u8>)>>::new();
    let mut select = db.prepare("SELECT slot, bytes FROM journal").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let slot = row.get(0).map_err(failed)?;
        let bytes = row.get_ref(1).map_err(failed)?;
        let Part { record, part, parts, content } = part_of(slot, bytes.as_blob().map_err(damaged)?)?;
        if record > folded {
            records.entry(record).or_default().insert(part, (parts, content.to_vec()));
        }
    }
    let mut last = folded;
    for (record, parts) in records {
        if record != last + 1 {
            return Err(damaged(format_args!("the journal has record {record} after record {last}")));
        }
        last = record;
        if parts.values().any(|(count, _)| *count as usize != parts.len()) {
            return Err(damaged(format_args!("record {record} of the journal lacks a part")));
        }
        let content: Vec<u8> = parts.into_values().flat_map(|(_, content)| content).collect();
        let appends = decode(&content);
        let appends = appends.ok_or_else(|| {
            damaged(format_args!("record {record} of the journal: the layout is not known"))
        })?;
        appends.into_iter().for_each(&mut each);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::Seq;
    use proptest::prelude::*;

    use super::super::schema::{CREATE, STEPS};
    use super::*;

    type Record = Vec<(String, u64, Vec<(u64, Vec<u8>)>)>;

    fn record() -> impl Strategy<Value = Record> {
        let bytes = prop_oneof![4 => 0..40usize, 1 => 0..9_000usize];
        let bytes = bytes.prop_flat_map(|bytes| prop::collection::vec(any::<u8>(), bytes));
        let entries = prop::collection::vec((any::<u64>(), bytes), 0..4);
        prop::collection::vec(("[a-zA-Z0-9_-]{1,64}", any::<u64>(), entries), 1..5)
    }

    fn append((room, epoch, entries): &(String, u64, Vec<(u64, Vec<u8>)>)) -> NewEntries {
        let entries = entries.iter().map(|(seq, bytes)| (Seq(*seq), bytes.clone().into())).collect();
        NewEntries { room: RoomId::parse(room).unwrap(), epoch: Epoch(*epoch), entries }
    }

    fn read(new: NewEntries) -> (String, u64, Vec<(u64, Vec<u8>)>) {
        let entries = new.entries.into_iter().map(|(seq, bytes)| (seq.0, bytes.to_vec())).collect();
        (new.room.as_str().to_owned(), new.epoch.0, entries)
    }

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(CREATE).unwrap();
        STEPS.iter().for_each(|step| db.execute_batch(step).unwrap());
        db
    }

    fn replayed(db: &Connection, folded: i64) -> Stored<(i64, Record)> {
        let mut found = Vec::new();
        replay(db, folded, |new| found.push(read(new))).map(|last| (last, found))
    }

    #[derive(Debug, Clone)]
    enum Step {
        Commit(Record),
        Fail(Record),
        /// Of the records that are not folded, about this part is.
        Fold(prop::sample::Index),
        /// What was said up to here is to be forgotten.
        Erase,
        Forget,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => record().prop_map(Step::Commit),
            1 => record().prop_map(Step::Fail),
            2 => any::<prop::sample::Index>().prop_map(Step::Fold),
            1 => Just(Step::Erase),
            3 => Just(Step::Forget),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        #[test]
        fn what_is_not_folded_is_replayed_in_order(steps in steps(), first in 0..1_000i64) {
            let db = database();
            let (mut journal, mut folded) = (Journal::new(first), first);
            let (mut erased, mut done) = (first, None);
            let mut model: VecDeque<Record> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Commit(record) => {
                        journal.put(&db, &record.iter().map(append).collect::<Vec<_>>()).unwrap();
                        prop_assert!(journal.committed());
                        model.push_back(record);
                    }
                    Step::Fail(record) => {
                        db.execute("BEGIN", ()).unwrap();
                        journal.put(&db, &record.iter().map(append).collect::<Vec<_>>()).unwrap();
                        db.execute("ROLLBACK", ()).unwrap();
                        journal.failed();
                    }
                    Step::Fold(part) => {
                        let count = part.index(model.len() + 1);
                        model.drain(..count);
                        folded += count as i64;
                        journal.folded(folded);
                    }
                    Step::Erase => (erased, done) = (journal.last(), Some(0)),
                    Step::Forget => {
                        if let Some(from) = done.filter(|_| folded >= erased) {
                            done = journal.forget(&db, from).unwrap();
                            // What is passed says nothing of what was there when it was erased, whatever came between.
                            let mut rows = db.prepare("SELECT bytes FROM journal WHERE slot <= ?").unwrap();
                            let passed = done.unwrap_or(i64::MAX);
                            let rows = rows.query_map([passed], |row| row.get::<_, Vec<u8>>(0)).unwrap();
                            for row in rows.map(Result::unwrap) {
                                let record = part_of(0, &row).unwrap().record;
                                prop_assert!(record == 0 || record > erased);
                            }
                        }
                    }
                }
                let all: Record = model.iter().flatten().cloned().collect();
                prop_assert_eq!(replayed(&db, folded).unwrap(), (journal.last(), all));
            }
            prop_assert_eq!(journal.last(), folded + model.len() as i64);
        }

        #[test]
        fn a_record_is_read_as_it_was_written_or_not_at_all(
            record in record(),
            row: prop::sample::Index,
            at: prop::sample::Index,
            flip in 1u8..,
        ) {
            let db = database();
            let mut journal = Journal::new(7);
            journal.put(&db, &record.iter().map(append).collect::<Vec<_>>()).unwrap();
            let count = journal.writing.len();
            let row = row.index(count) as i64 + 1;
            let mut bytes: Vec<u8> =
                db.query_row("SELECT bytes FROM journal WHERE slot = ?", [row], |row| row.get(0)).unwrap();
            let put = |bytes: &[u8]| {
                db.execute("UPDATE journal SET bytes = ? WHERE slot = ?", (bytes, row)).unwrap();
            };
            let used = HEADER_BYTES + part_of(1, &bytes).unwrap().content.len();
            put(&bytes[..at.index(used)]);
            prop_assert!(replayed(&db, 7).is_err());
            bytes[at.index(used)] ^= flip;
            put(&bytes);
            prop_assert!(replayed(&db, 7).is_err());
            db.execute("DELETE FROM journal WHERE slot = ?", [row]).unwrap();
            prop_assert!(count == 1 || replayed(&db, 7).is_err());
        }
    }

    #[test]
    fn rows_of_version_4_are_read() {
        let db = database();
        for slot in [8, 9] {
            let mut bytes = encode(&[append(&("room".to_owned(), 3, vec![(slot, vec![1, 2, 3])]))]);
            let sum = RowSum::of("journal").number(slot.cast_signed()).bytes(&bytes).done();
            bytes.put_i64(sum);
            db.execute("INSERT INTO journal VALUES (?, ?)", (slot.cast_signed(), bytes)).unwrap();
        }
        let (last, found) = replayed(&db, 7).unwrap();
        assert_eq!((last, found.len()), (9, 2));
        assert_eq!(found[1], ("room".to_owned(), 3, vec![(9, vec![1, 2, 3])]));
        assert_eq!(replayed(&db, 8).unwrap().1.len(), 1);
    }

    #[test]
    fn a_record_that_is_missing_is_said() {
        let db = database();
        let mut journal = Journal::new(0);
        for seq in 1..=3 {
            journal.put(&db, &[append(&("room".to_owned(), 1, vec![(seq, vec![0; 9])]))]).unwrap();
            journal.committed();
        }
        db.execute("DELETE FROM journal WHERE slot = 2", ()).unwrap();
        assert!(replayed(&db, 0).unwrap_err().to_string().contains("record 3 after record 1"));
    }

    #[test]
    fn a_record_that_fits_a_page_changes_one() {
        let db = Connection::open_in_memory().unwrap();
        db.pragma_update(None, "page_size", 8_192).unwrap();
        db.execute_batch(CREATE).unwrap();
        STEPS.iter().for_each(|step| db.execute_batch(step).unwrap());
        let pages = || db.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0)).unwrap();
        let (before, mut journal) = (pages(), Journal::new(0));
        let mut commit_200 = || {
            for seq in 0..200 {
                // In turn a half, a half, and two halves of one.
                let entry = (seq, vec![0; if seq % 3 == 2 { 8_000 } else { 2_000 }]);
                journal.put(&db, &[append(&("room".to_owned(), 1, vec![entry]))]).unwrap();
                let mut pages = journal.writing.iter().map(|slot| (slot + 1) / 2);
                let first = pages.next();
                assert!(pages.all(|page| Some(page) == first));
                journal.committed();
            }
            journal.folded(journal.last());
            pages() - before
        };
        let grown = commit_200();
        assert!((133..140).contains(&grown), "{grown}");
        assert_eq!(commit_200(), grown);
    }
}

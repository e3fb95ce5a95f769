//! Rows of `entry`: each holds one entry, or a *run* of entries of one room and epoch, one after the other.
//!
//! A tree that is written to in its middle moves pages about for nearly every row. In a run, a room's share of a fold is
//! a row or two where it would be a row an entry. A row's id is that of its first entry; rows of a place never overlap.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range, RangeInclusive};

use bytes::{Buf, BufMut, Bytes};
use hubbub_core::entry::{self, Kind};
use hubbub_core::ids::Seq;
use hubbub_core::ports::store::Stored;
use rusqlite::Connection;

use super::failure::{damaged, failed};
use super::place::{Place, seq_of};
use super::recent::Encoded;
use super::row_sum::RowSum;

/// The most bytes of a run's entries, unless it is one: who reads one entry of it reads all.
const RUN_BYTES: usize = 16 * 1_024;
/// The first byte of a run. That of an entry is the version of its layout; no one flipped bit makes one of the other.
const RUN: u8 = 0x82;
/// What is before a run's entries: that first byte, and the sum.
const RUN_HEADER_BYTES: usize = 9;
/// A row that is longer is one entry.
const RUN_ROW_BYTES_MAX: i64 = (RUN_BYTES + RUN_HEADER_BYTES) as i64;
/// What an entry takes in a run beside its bytes.
const ENTRY_HEADER_BYTES: usize = 12;

/// Writes an entry as runs and the journal have it.
pub(super) fn put_entry(to: &mut Vec<u8>, seq: Seq, bytes: &[u8]) {
    to.put_u64(seq.0);
    // A queue's bytes are far below 4 GiB.
    to.put_u32(bytes.len() as u32);
    to.put_slice(bytes);
}

/// Reads what [`put_entry`] wrote.
pub(super) fn take_entry<'a>(from: &mut &'a [u8]) -> Option<(Seq, &'a [u8])> {
    let seq = Seq(from.try_get_u64().ok()?);
    let len = usize::try_from(from.try_get_u32().ok()?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some((seq, bytes))
}

/// Whether this is what is left of an erased entry: its second byte is its kind.
pub(super) fn is_erased(bytes: &[u8]) -> bool {
    bytes.get(1) == Some(&(Kind::Erased as u8))
}

/// A sum over where the entries of a run are in it. What they are has sums of its own, so that one that is damaged takes
/// no other along.
fn run_sum(id: i64, entries: impl Iterator<Item = (Seq, usize)>) -> RowSum {
    let sum = RowSum::of("entry").number(id);
    entries.fold(sum, |sum, (seq, len)| sum.number(seq.0.cast_signed()).number(len as i64))
}

fn put_run(to: &mut Vec<u8>, id: i64, entries: &[Encoded]) {
    let size = entries.iter().map(|(_, bytes)| bytes.len() + ENTRY_HEADER_BYTES).sum::<usize>();
    to.reserve(RUN_HEADER_BYTES + size);
    to.put_u8(RUN);
    to.put_i64(run_sum(id, entries.iter().map(|(seq, bytes)| (*seq, bytes.len()))).done());
    entries.iter().for_each(|(seq, bytes)| put_entry(to, *seq, bytes));
}

/// The entries in a row, ascending.
fn entries_of(id: i64, row: &[u8]) -> Stored<Vec<(Seq, &[u8])>> {
    let broken = || damaged(format_args!("row {id} of the entries: the layout is not known"));
    let mut from = match row {
        [entry::VERSION, ..] => return Ok(vec![(seq_of(id), row)]),
        [RUN, from @ ..] => from,
        _ => return Err(broken()),
    };
    let sum = from.try_get_i64().map_err(|_| broken())?;
    let mut found = Vec::new();
    while !from.is_empty() {
        found.push(take_entry(&mut from).ok_or_else(broken)?);
    }
    let entries = found.iter().map(|(seq, bytes)| (*seq, bytes.len()));
    run_sum(id, entries).check(sum, || format!("row {id} of the entries"))?;
    Ok(found)
}

fn copied((seq, bytes): (Seq, &[u8])) -> Encoded {
    (seq, Bytes::copy_from_slice(bytes))
}

/// Where to begin to look for entries from a seq on: the last row that is not behind it, which may have it if it is short enough to be a
/// run. `None` if there is none such.
fn begin(db: &Connection, place: Place, from: Seq) -> Stored<Option<i64>> {
    let mut select = db
        .prepare_cached(
            "SELECT id, length(bytes) FROM entry WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
        )
        .map_err(failed)?;
    let mut rows = select.query((place.id(Seq(0)), place.id(from))).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    let (id, bytes): (i64, i64) = row.try_into().map_err(failed)?;
    Ok((id == place.id(from) || bytes <= RUN_ROW_BYTES_MAX).then_some(id))
}

/// Whether the rows that a look finds are those that are there. A wrong key in the tree leads it astray: to rows that are before what it
/// looks for, which SQLite does not compare with that any more, or behind it, so that a log would silently end before it does. So the first
/// is looked for twice, from behind and from before, on different ways through the tree: at one moment, for rows are put together anew where
/// entries are erased or let go.
struct InOrder {
    begin: Option<i64>,
    next: i64,
}

impl InOrder {
    /// Those from this seq on.
    fn from(db: &Connection, place: Place, from: Seq) -> Stored<Self> {
        let begin = begin(db, place, from)?;
        Ok(Self { begin, next: begin.unwrap_or_else(|| place.id(from)) })
    }

    /// Takes the next one, or that there is none.
    fn check(&mut self, id: Option<i64>) -> Stored<()> {
        let is_begin = self.begin.take().is_none_or(|begin| id == Some(begin));
        if !is_begin || id.is_some_and(|id| id < self.next) {
            return Err(damaged("the tree of the entries: a row is not where it is looked for"));
        }
        self.next = id.map_or(i64::MAX, |id| id.saturating_add(1));
        Ok(())
    }
}

/// Hands on the rows that may have entries at `seqs`, in order: the first may end before them.
pub(super) fn each_row(
    db: &Connection,
    place: Place,
    seqs: &RangeInclusive<Seq>,
    mut each: impl FnMut(i64, &[u8]) -> Stored<ControlFlow<()>>,
) -> Stored<()> {
    let mut order = InOrder::from(db, place, *seqs.start())?;
    let mut select = db
        .prepare_cached("SELECT id, bytes FROM entry WHERE id BETWEEN ? AND ? ORDER BY id")
        .map_err(failed)?;
    let mut rows = select.query((order.next, place.id(*seqs.end()))).map_err(failed)?;
    loop {
        let row = rows.next().map_err(failed)?;
        let id = row.map(|row| row.get(0)).transpose().map_err(failed)?;
        order.check(id)?;
        let (Some(row), Some(id)) = (row, id) else { return Ok(()) };
        let bytes = row.get_ref(1).map_err(failed)?.as_blob().map_err(damaged)?;
        if each(id, bytes)?.is_break() {
            return Ok(());
        }
    }
}

/// The rows that [`each_row`] hands on.
fn ids_between(db: &Connection, place: Place, seqs: &RangeInclusive<Seq>) -> Stored<Vec<i64>> {
    let mut order = InOrder::from(db, place, *seqs.start())?;
    let mut select =
        db.prepare_cached("SELECT id FROM entry WHERE id BETWEEN ? AND ? ORDER BY id").map_err(failed)?;
    let ids = select.query_map((order.next, place.id(*seqs.end())), |row| row.get(0)).map_err(failed)?;
    let ids: Vec<i64> = ids.collect::<Result<_, _>>().map_err(failed)?;
    ids.iter().copied().map(Some).chain([None]).try_for_each(|id| order.check(id))?;
    Ok(ids)
}

/// The entries in a row; `None` if they can't be told, which keeps nobody from the others.
fn readable(db: &Connection, id: i64) -> Stored<Option<Vec<Encoded>>> {
    let row: Vec<u8> = db
        .prepare_cached("SELECT bytes FROM entry WHERE id = ?")
        .and_then(|mut select| select.query_row([id], |row| row.get(0)))
        .map_err(failed)?;
    Ok(entries_of(id, &row).ok().map(|entries| entries.into_iter().map(copied).collect()))
}

/// Reads entries, up to the one with which `bytes_max` is reached.
pub(super) fn read(
    db: &Connection,
    place: Place,
    seqs: RangeInclusive<Seq>,
    bytes_max: usize,
) -> Stored<Vec<Encoded>> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    each_row(db, place, &seqs, |id, row| {
        for entry in entries_of(id, row)?.into_iter().filter(|(seq, _)| seqs.contains(seq)) {
            bytes += entry.1.len();
            found.push(copied(entry));
            if bytes >= bytes_max {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// An entry, if it is there and its row can be read.
pub(super) fn find(db: &Connection, place: Place, seq: Seq) -> Stored<Option<Bytes>> {
    for id in ids_between(db, place, &(seq..=seq))? {
        let entries = readable(db, id)?.unwrap_or_default();
        if let Some((_, bytes)) = entries.into_iter().find(|(of, _)| *of == seq) {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The last entry of a place; the last there can be if its row can't be read.
pub(super) fn end(db: &Connection, place: Place) -> Stored<Option<Seq>> {
    let last: Option<i64> = db
        .prepare_cached("SELECT max(id) FROM entry WHERE id BETWEEN ? AND ?")
        .and_then(|mut select| select.query_row((place.id(Seq(0)), place.id(place.last())), |row| row.get(0)))
        .map_err(failed)?;
    let Some(id) = last else { return Ok(None) };
    let entries = readable(db, id)?;
    Ok(entries.map_or(Some(place.last()), |entries| entries.last().map(|(seq, _)| *seq)))
}

/// Writes entries, ascending, where there are none from the first to the last.
pub(super) fn insert(db: &Connection, place: Place, entries: &[Encoded]) -> Stored<()> {
    let mut put =
        db.prepare_cached("INSERT OR REPLACE INTO entry (id, bytes) VALUES (?, ?)").map_err(failed)?;
    let mut run = Vec::new();
    for entries in runs(entries) {
        let id = place.id(entries[0].0);
        let bytes = match entries {
            [(_, bytes)] => bytes,
            _ => {
                run.clear();
                put_run(&mut run, id, entries);
                &run[..]
            }
        };
        put.execute((id, bytes)).map_err(failed)?;
    }
    Ok(())
}

/// Entries as they share rows. Those of a row follow each other without a gap, so that nothing else is between them.
pub(super) fn runs(entries: &[Encoded]) -> impl Iterator<Item = &[Encoded]> {
    let mut bytes = 0;
    entries.chunk_by(move |(seq, one), (next_seq, next)| {
        bytes += one.len() + ENTRY_HEADER_BYTES;
        let fits = *next_seq == seq.next() && bytes + next.len() + ENTRY_HEADER_BYTES <= RUN_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

/// Writes entries among those that are there. What is there is replaced; but what was erased stays so, and a row that can't be
/// read stays as it is: who reads it is told.
pub(super) fn merge(db: &Connection, place: Place, new: &[Encoded]) -> Stored<()> {
    let seqs = || new.iter().map(|(seq, _)| *seq);
    let (Some(first), Some(last)) = (seqs().min(), seqs().max()) else { return Ok(()) };
    let (mut in_the_way, mut merged) = (Vec::new(), BTreeMap::new());
    for id in ids_between(db, place, &(first..=last))? {
        let entries = readable(db, id)?.unwrap_or_default();
        if entries.last().is_some_and(|(seq, _)| *seq >= first) {
            in_the_way.push(id);
            merged.extend(entries);
        }
    }
    for (seq, bytes) in new {
        let there = merged.get(seq).is_some_and(|there: &Bytes| is_erased(there));
        if !there || is_erased(bytes) {
            merged.insert(*seq, bytes.clone());
        }
    }
    delete(db, in_the_way)?;
    insert(db, place, &Vec::from_iter(merged))
}

/// Removes entries. A first or last row that can't be read stays: nobody knows what else it has.
pub(super) fn remove(db: &Connection, place: Place, seqs: &Range<Seq>) -> Stored<()> {
    if seqs.is_empty() {
        return Ok(());
    }
    let ids = ids_between(db, place, &(seqs.start..=Seq(seqs.end.0 - 1)))?;
    let (mut gone, mut kept) = (Vec::new(), BTreeMap::new());
    for (n, id) in ids.iter().enumerate() {
        // A row ends before the next begins.
        if *id >= place.id(seqs.start) && n + 1 < ids.len() {
            gone.push(*id);
        } else if let Some(entries) = readable(db, *id)? {
            gone.push(*id);
            kept.extend(entries.into_iter().filter(|(seq, _)| !seqs.contains(seq)));
        }
    }
    delete(db, gone)?;
    insert(db, place, &Vec::from_iter(kept))
}

fn delete(db: &Connection, ids: Vec<i64>) -> Stored<()> {
    let mut delete = db.prepare_cached("DELETE FROM entry WHERE id = ?").map_err(failed)?;
    ids.into_iter().try_for_each(|id| delete.execute([id]).map(drop)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::{Epoch, RoomId};
    use proptest::prelude::*;

    use super::super::place::Places;
    use super::super::schema::CREATE;
    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// Entries one after the other, of this many bytes.
        Put(u64, Vec<usize>),
        Erase(u64),
        Remove(Range<u64>),
        /// A process that starts, or a transaction that failed.
        Forget,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = prop_oneof![9 => 2..600usize, 1 => 2..3 * RUN_BYTES];
        let step = prop_oneof![
            8 => (0..150u64, prop::collection::vec(bytes, 0..40)).prop_map(|(first, bytes)| Step::Put(first, bytes)),
            2 => (0..150u64).prop_map(Step::Erase),
            2 => (0..150u64, 0..60u64).prop_map(|(first, count)| Step::Remove(first..first + count)),
            1 => Just(Step::Forget),
        ];
        prop::collection::vec(step, 1..30)
    }

    /// Not erased, and of this entry alone.
    fn entry(seq: u64, bytes: usize) -> Encoded {
        let mut entry = vec![seq as u8; bytes];
        entry[..2].copy_from_slice(&[1, Kind::Text as u8]);
        (Seq(seq), entry.into())
    }

    fn erased(seq: u64) -> Encoded {
        (Seq(seq), vec![1, Kind::Erased as u8, seq as u8].into())
    }

    proptest! {
        #[test]
        fn what_is_put_erased_and_removed_is_as_if_each_entry_had_its_row(steps in steps(), before in 0..3u64) {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(CREATE).unwrap();
            let mut places = Places::default();
            let room = RoomId::parse("r").unwrap();
            // Neighbours, to which nothing may come.
            let other = |db: &Connection, places: &mut Places, epoch| {
                let place = places.get_or_make(db, &room, Epoch(epoch)).unwrap();
                places.put(db, place, &[entry(149, 9), entry(150, 9)]).unwrap();
                place
            };
            let mut others: Vec<_> = (1..=before).map(|epoch| other(&db, &mut places, epoch)).collect();
            let place = places.get_or_make(&db, &room, Epoch(5)).unwrap();
            others.push(other(&db, &mut places, 6));
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(first, bytes) => {
                        let new: Vec<_> = (first..).zip(bytes).map(|(seq, bytes)| entry(seq, bytes)).collect();
                        places.put(&db, place, &new).unwrap();
                        for (seq, bytes) in new {
                            if !model.get(&seq).is_some_and(|there: &Bytes| is_erased(there)) {
                                model.insert(seq, bytes);
                            }
                        }
                    }
                    Step::Erase(seq) => {
                        let (seq, bytes) = erased(seq);
                        places.put(&db, place, &[(seq, bytes.clone())]).unwrap();
                        model.insert(seq, bytes);
                    }
                    Step::Remove(seqs) => {
                        let seqs = Seq(seqs.start)..Seq(seqs.end);
                        remove(&db, place, &seqs).unwrap();
                        model.retain(|seq, _| !seqs.contains(seq));
                    }
                    Step::Forget => places.forget(),
                }
                let all = read(&db, place, Seq(0)..=place.last(), usize::MAX).unwrap();
                prop_assert_eq!(&all, &Vec::from_iter(model.clone()));
                prop_assert_eq!(end(&db, place).unwrap(), model.keys().last().copied());
            }
            for (seq, there) in &model {
                prop_assert_eq!(&read(&db, place, *seq..=Seq(seq.0 + 1), 1).unwrap()[0].1, there);
                let found = places.erased(&db, place, *seq).unwrap();
                prop_assert_eq!(found, Some(there.clone()).filter(|there| is_erased(there)));
            }
            for other in others {
                let all = read(&db, other, Seq(0)..=other.last(), usize::MAX).unwrap();
                prop_assert_eq!(all, [entry(149, 9), entry(150, 9)]);
            }
        }
    }

    #[test]
    fn one_flipped_bit_moves_no_entry() {
        let (entries, mut row) = ([entry(6, 9), entry(7, 9), entry(8, 2)], Vec::new());
        put_run(&mut row, 6, &entries);
        for bit in 0..row.len() * 8 {
            row[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = entries_of(6, &row) {
                let places = found.iter().map(|(seq, bytes)| (seq.0, bytes.len()));
                assert_eq!(Vec::from_iter(places), [(6, 9), (7, 9), (8, 2)], "bit {bit}");
            }
            row[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(entries_of(7, &row).is_err(), "the row of another");
    }

    #[test]
    fn a_run_that_can_not_be_read_is_said_and_keeps_nothing_from_being_written() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(CREATE).unwrap();
        let mut places = Places::default();
        let place = places.get_or_make(&db, &RoomId::parse("r").unwrap(), Epoch(1)).unwrap();
        places.put(&db, place, &[entry(1, 9), entry(2, 9)]).unwrap();
        db.execute("UPDATE entry SET bytes = substr(bytes, 1, length(bytes) - 1)", []).unwrap();
        places.forget();
        places.put(&db, place, &[entry(3, 9), entry(4, 9)]).unwrap();
        let read = |seqs| read(&db, place, seqs, usize::MAX);
        assert!(read(Seq(2)..=Seq(4)).unwrap_err().to_string().contains("row 17179869185 of the entries"));
        assert_eq!(read(Seq(3)..=Seq(9)).unwrap(), [entry(3, 9), entry(4, 9)]);
        places.forget();
        assert_eq!(places.erased(&db, place, Seq(2)).unwrap(), None, "nor from being looked for");
    }

    /// Where the keys stand in the inner pages of the trees of a file.
    fn inner_keys(file: &[u8]) -> Vec<Range<usize>> {
        let number = |at: usize| usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
        let mut keys = Vec::new();
        for page in (0..file.len()).step_by(4_096).filter(|page| file[*page] == 5) {
            for cell in 0..number(page + 3) {
                let at = page + number(page + 12 + 2 * cell) + 4;
                let more = file[at..].iter().take_while(|byte| **byte >= 0x80).count();
                keys.push(at..at + more + 1);
            }
        }
        keys
    }

    #[test]
    fn one_flipped_bit_of_a_key_in_the_tree_does_not_end_a_log_early() {
        const LAST: u64 = 600;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(CREATE).unwrap();
        let (mut places, room) = (Places::default(), RoomId::parse("r").unwrap());
        let made: Vec<_> =
            (1..=3).map(|epoch| places.get_or_make(&db, &room, Epoch(epoch)).unwrap()).collect();
        for first in (1..=LAST).step_by(20) {
            let run: Vec<_> = (first..first + 20).map(|seq| entry(seq, 90)).collect();
            made.iter().for_each(|place| insert(&db, *place, &run).unwrap());
        }
        drop(db);
        let good = std::fs::read(&path).unwrap();
        let keys = inner_keys(&good);
        assert!(keys.len() > 30, "{} keys", keys.len());
        let mut said = 0;
        for (at, bit) in keys.into_iter().flatten().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, bytes).unwrap();
            let db = Connection::open(&path).unwrap();
            for (place, from) in made.iter().flat_map(|place| [1, 290, 585].map(|from| (place, from))) {
                match read(&db, *place, Seq(from)..=place.last(), usize::MAX) {
                    Ok(found) => assert!(
                        found.iter().map(|(seq, _)| seq.0).eq(from..=LAST),
                        "byte {at}, bit {bit}: {} from {from} on",
                        found.len()
                    ),
                    Err(_) => said += 1,
                }
            }
        }
        assert!(said > 0);
    }
}

//! Segments and entries of rooms: the statements.

use std::ops::Range;

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, RoomId, Seq};
use hubbub_core::map::FastMap;
use hubbub_core::ports::store::{Read, Segment, Stored};
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::failure::{damaged, failed, from_sql, to_sql, unavailable};
use super::recent::{Encoded, within};
use super::row_sum::RowSum;

/// How many bits of an entry's row id are its seq; the place is above them.
const SEQ_BITS: u32 = 34;
const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;
const PLACE_MAX: i64 = (1 << (63 - SEQ_BITS)) - 1;

/// Rooms whose newest place the writer remembers.
const PLACES_REMEMBERED: usize = 50_000;

/// Where the rows of one room and epoch begin: the upper bits of their row ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(i64);

/// The key of an entry's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowId(i64);

impl Place {
    /// The row of the entry at `seq`, or of the last that can be.
    fn row_up_to(self, seq: u64) -> RowId {
        RowId((self.0 << SEQ_BITS) | seq.min(SEQ_MAX).cast_signed())
    }

    /// Row ids of the entries at `seqs`: from, and the first one after.
    pub(super) fn ids(self, seqs: &Range<Seq>) -> (i64, i64) {
        (self.row_up_to(seqs.start.0).0, self.row_up_to(seqs.end.0).0)
    }

    /// The row of the entry at `seq`.
    pub(super) fn row(self, seq: Seq) -> Stored<RowId> {
        check_seq(seq)?;
        Ok(self.row_up_to(seq.0))
    }
}

/// The seq of the entry in a row.
pub(super) fn seq_of(id: i64) -> Seq {
    Seq(id.cast_unsigned() & SEQ_MAX)
}

/// Refuses a seq that has no row.
pub(super) fn check_seq(seq: Seq) -> Stored<()> {
    match seq.0 > SEQ_MAX {
        true => Err(unavailable(format_args!("seq {seq} is beyond what can be stored"))),
        false => Ok(()),
    }
}

fn segment_sum(room: &str, epoch: i64, start: i64, prev: Option<i64>) -> RowSum {
    RowSum::of("segment").text(room).number(epoch).number(start).maybe_number(prev)
}

fn place_sum(no: i64, room: &str, epoch: i64) -> RowSum {
    RowSum::of("place").number(no).text(room).number(epoch)
}

/// Writes a segment's row.
pub(super) fn put_segment(db: &Connection, room: &RoomId, segment: Segment) -> Stored<()> {
    let (epoch, start) = (to_sql(segment.epoch.0)?, to_sql(segment.start.0)?);
    let prev = segment.prev.map(|prev| to_sql(prev.0)).transpose()?;
    let sum = segment_sum(room.as_str(), epoch, start, prev).done();
    db.prepare_cached(
        "INSERT OR REPLACE INTO segment (room, epoch, start, prev, sum) VALUES (?, ?, ?, ?, ?)",
    )
    .and_then(|mut put| put.execute((room.as_str(), epoch, start, prev, sum)))
    .map_err(failed)?;
    Ok(())
}

/// The segments of a room, by ascending epoch.
///
/// Entries newer than the newest segment mean that a segment's row was lost: an older one must not pass for the end of
/// the log.
pub(super) fn segments(db: &Connection, room: &RoomId) -> Stored<Vec<Segment>> {
    let name = room.as_str();
    let mut found = Vec::new();
    let mut select = db
        .prepare_cached("SELECT epoch, start, prev, sum FROM segment WHERE room = ? ORDER BY epoch")
        .map_err(failed)?;
    let mut rows = select.query([name]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (epoch, start, prev, sum): (i64, i64, Option<i64>, i64) = row.try_into().map_err(failed)?;
        segment_sum(name, epoch, start, prev).check(sum, || format!("segment {epoch} of room {room}"))?;
        let prev = prev.map(from_sql).transpose()?.map(Epoch);
        found.push(Segment { epoch: Epoch(from_sql(epoch)?), start: Seq(from_sql(start)?), prev });
    }
    let newest: Option<i64> = db
        .prepare_cached("SELECT max(epoch) FROM place WHERE room = ?")
        .and_then(|mut select| select.query_row([name], |row| row.get(0)))
        .map_err(failed)?;
    let listed = found.last().map_or(0, |segment| segment.epoch.0);
    match newest.map(from_sql).transpose()?.filter(|newest| *newest > listed) {
        Some(newest) => {
            Err(damaged(format_args!("room {room} has entries of epoch {newest} and no such segment")))
        }
        None => Ok(found),
    }
}

/// Where the rows of a room and epoch are, if there were ever any.
pub(super) fn find_place(db: &Connection, room: &RoomId, epoch: Epoch) -> Stored<Option<Place>> {
    let epoch = to_sql(epoch.0)?;
    let found: Option<(i64, String, i64, i64)> = db
        .prepare_cached("SELECT no, room, epoch, sum FROM place WHERE room = ? AND epoch = ?")
        .and_then(|mut select| select.query_row((room.as_str(), epoch), |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((no, name, epoch, sum)) = found else { return Ok(None) };
    place_sum(no, &name, epoch).check(sum, || format!("place of room {room}, epoch {epoch}"))?;
    Ok(Some(Place(no)))
}

/// Reads rows of one segment, up to the one with which its bytes are reached.
fn read_rows(db: &Connection, read: &Read) -> Stored<Vec<Encoded>> {
    let (from, to) = (*read.seqs.start(), *read.seqs.end());
    let mut found = Vec::new();
    if from > to || from > SEQ_MAX {
        return Ok(found);
    }
    let Some(place) = find_place(db, &read.room, read.epoch)? else { return Ok(found) };
    let mut select = db
        .prepare_cached("SELECT id, bytes FROM entry WHERE id BETWEEN ? AND ? ORDER BY id")
        .map_err(failed)?;
    let mut rows = select.query((place.row_up_to(from).0, place.row_up_to(to).0)).map_err(failed)?;
    let mut bytes = 0;
    while bytes < read.bytes_max || found.is_empty() {
        let Some(row) = rows.next().map_err(failed)? else { break };
        let id: i64 = row.get(0).map_err(failed)?;
        let stored = row.get_ref(1).map_err(failed)?;
        let stored = Bytes::copy_from_slice(stored.as_blob().map_err(damaged)?);
        bytes += stored.len();
        found.push((seq_of(id), stored));
    }
    Ok(found)
}

/// Whether `recent`, what of a read was found in memory, is all that the read asks for.
pub(super) fn is_all(read: &Read, recent: &[Encoded]) -> bool {
    let (from, to) = (*read.seqs.start(), *read.seqs.end());
    let bytes: usize = recent.iter().map(|(_, bytes)| bytes.len()).sum();
    let unbroken = recent.iter().zip(from..=to).all(|((seq, _), expected)| seq.0 == expected);
    let ends = recent.last().is_some_and(|(seq, _)| seq.0 == to || bytes >= read.bytes_max);
    from > to || (unbroken && ends)
}

/// Reads rows of one segment, of which `recent` were found in memory before.
pub(super) fn read(db: &Connection, mut read: Read, recent: Vec<Encoded>) -> Stored<Vec<Entry>> {
    if is_all(&read, &recent) {
        return decode(&read.room, recent);
    }
    // What memory has up to the very end need not be looked for in the tables.
    let to = *read.seqs.end();
    let held = recent.iter().rev().zip((0..=to).rev()).take_while(|((seq, _), expected)| seq.0 == *expected);
    read.seqs = *read.seqs.start()..=to.saturating_sub(held.count() as u64);
    let mut found = read_rows(db, &read)?;
    found.extend(recent);
    found.sort_by_key(|(seq, _)| *seq);
    found.dedup_by_key(|(seq, _)| *seq);
    found.truncate(within(found.iter().map(|(_, bytes)| bytes.len()), read.bytes_max));
    decode(&read.room, found)
}

/// The entries that encoded ones are.
pub(super) fn decode(room: &RoomId, encoded: Vec<Encoded>) -> Stored<Vec<Entry>> {
    encoded.into_iter().map(|(seq, bytes)| Ok(Entry::decode(room, seq, bytes)?)).collect()
}

/// The places of the rooms that are written to, remembered by the writer thread.
#[derive(Default)]
pub(super) struct Places {
    newest: FastMap<RoomId, (Epoch, Place)>,
}

impl Places {
    /// Forgets all: after a transaction that failed, for a place that was made in it is not there.
    pub(super) fn forget(&mut self) {
        self.newest.clear();
    }

    /// The place of a room and epoch, made if there is none yet.
    pub(super) fn get_or_make(&mut self, db: &Connection, room: &RoomId, epoch: Epoch) -> Stored<Place> {
        if let Some((of, place)) = self.newest.get(room)
            && *of == epoch
        {
            return Ok(*place);
        }
        let place = match find_place(db, room, epoch)? {
            Some(place) => place,
            None => make_place(db, room, epoch)?,
        };
        if self.newest.len() >= PLACES_REMEMBERED {
            self.newest.clear();
        }
        self.newest.insert(room.clone(), (epoch, place));
        Ok(place)
    }
}

fn make_place(db: &Connection, room: &RoomId, epoch: Epoch) -> Stored<Place> {
    let epoch = to_sql(epoch.0)?;
    let last: Option<i64> = db
        .prepare_cached("SELECT max(no) FROM place")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    let no = last.unwrap_or(0).saturating_add(1);
    if no > PLACE_MAX {
        return Err(unavailable("the store has no place for more rooms and epochs"));
    }
    let sum = place_sum(no, room.as_str(), epoch).done();
    db.prepare_cached("INSERT INTO place (no, room, epoch, sum) VALUES (?, ?, ?, ?)")
        .and_then(|mut insert| insert.execute((no, room.as_str(), epoch, sum)))
        .map_err(failed)?;
    Ok(Place(no))
}

/// Writes rows of entries, with a statement that is looked up once for all of them.
pub(super) struct EntryRows<'a>(CachedStatement<'a>);

impl<'a> EntryRows<'a> {
    pub(super) fn new(db: &'a Connection) -> Stored<Self> {
        // An entry's second byte is its kind; an erased one has Kind::Erased, 9.
        db.prepare_cached(
            "INSERT INTO entry (id, bytes) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes \
             WHERE substr(bytes, 2, 1) <> x'09'",
        )
        .map(Self)
        .map_err(failed)
    }

    /// Writes a row. One that is there is replaced by the same bytes, which also mends it; but one that was erased stays so.
    pub(super) fn put(&mut self, id: RowId, bytes: &[u8]) -> Stored<()> {
        self.0.execute((id.0, bytes)).map_err(failed)?;
        Ok(())
    }
}

/// Deletes the rows of entries.
pub(super) fn delete(db: &Connection, place: Place, seqs: Range<Seq>) -> Stored<()> {
    db.prepare_cached("DELETE FROM entry WHERE id >= ? AND id < ?")
        .and_then(|mut delete| delete.execute(place.ids(&seqs)))
        .map_err(failed)?;
    Ok(())
}

/// Writes the row of an entry that was erased, whatever is there.
pub(super) fn put_erased(db: &Connection, id: RowId, bytes: &[u8]) -> Stored<()> {
    db.prepare_cached("INSERT OR REPLACE INTO entry (id, bytes) VALUES (?, ?)")
        .and_then(|mut insert| insert.execute((id.0, bytes)))
        .map_err(failed)?;
    Ok(())
}

/// The row, if its entry was erased.
pub(super) fn erased_row(db: &Connection, id: RowId) -> Stored<Option<Bytes>> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT bytes FROM entry WHERE id = ? AND substr(bytes, 2, 1) = x'09'")
        .and_then(|mut select| select.query_row([id.0], |row| row.get(0)).optional())
        .map_err(failed)?;
    Ok(bytes.map(Bytes::from))
}

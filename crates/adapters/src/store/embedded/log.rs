//! Segments and entries of rooms: the statements.

use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, RoomId, Seq};
use hubbub_core::ports::store::{Read, Segment, Stored};
use rusqlite::Connection;

use super::failure::{damaged, failed, from_sql, to_sql};
use super::place::find_place;
use super::recent::{Encoded, within};
use super::row_sum::RowSum;
use super::rows;

fn segment_sum(room: &str, epoch: i64, start: i64, prev: Option<i64>) -> RowSum {
    RowSum::of("segment").text(room).number(epoch).number(start).maybe_number(prev)
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
    let mut found = match find_place(db, &read.room, read.epoch)? {
        Some(place) => {
            rows::read(db, place, Seq(*read.seqs.start())..=Seq(*read.seqs.end()), read.bytes_max)?
        }
        None => Vec::new(),
    };
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

//! What is kept of a log, and letting go of the rest: the statements.

use std::ops::{ControlFlow, Range};

use hubbub_core::entry::{Kept, Retention};
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::store::{Stored, Trim};
use rusqlite::{Connection, OptionalExtension};

use super::failure::{damaged, failed, from_sql, to_sql};
use super::lists::{limit_to_sql, room_id};
use super::place::{Place, find_place, seq_of};
use super::row_sum::RowSum;
use super::rows;

/// Rows and bytes that one commit lets go: what else is in it waits for that.
const TRIM_ROWS_MAX: usize = 2_000;
const TRIM_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// A row of `kept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Row {
    said: i64,
    first: i64,
    entries: Option<i64>,
    days: Option<u32>,
    trimmed: i64,
}

impl Row {
    fn sum(&self, room: &str) -> RowSum {
        RowSum::of("kept")
            .text(room)
            .number(self.said)
            .number(self.first)
            .maybe_number(self.entries)
            .maybe_number(self.days.map(i64::from))
            .number(self.trimmed)
    }

    fn of(db: &Connection, room: &str) -> Stored<Self> {
        let found = db
            .prepare_cached("SELECT said, first, entries, days, trimmed, sum FROM kept WHERE room = ?")
            .and_then(|mut select| {
                let row = |row: &rusqlite::Row<'_>| {
                    let (said, first, entries, days, trimmed, sum) = row.try_into()?;
                    Ok((Self { said, first, entries, days, trimmed }, sum))
                };
                select.query_row([room], row).optional()
            })
            .map_err(failed)?;
        let Some((row, sum)) = found else { return Ok(Self::default()) };
        row.sum(room).check(sum, || format!("what is kept of room {room}"))?;
        Ok(row)
    }

    fn put(&self, db: &Connection, room: &str) -> Stored<()> {
        let Self { said, first, entries, days, trimmed } = *self;
        db.prepare_cached(
            "INSERT OR REPLACE INTO kept (room, said, first, entries, days, trimmed, sum) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .and_then(|mut put| {
            put.execute((room, said, first, entries, days, trimmed, self.sum(room).done()))
        })
        .map_err(failed)?;
        Ok(())
    }
}

/// What is kept of a room's log, the entry that says so, and up to where its rows were trimmed.
pub(super) fn kept(db: &Connection, room: &str) -> Stored<((Kept, Seq), Seq)> {
    let Row { said, first, entries, days, trimmed } = Row::of(db, room)?;
    let retention = Retention { entries: entries.map(from_sql).transpose()?, days };
    let kept = Kept { retention, first: Seq(from_sql(first)?) };
    Ok(((kept, Seq(from_sql(said)?)), Seq(from_sql(trimmed)?)))
}

/// Brings what the entry `said` says of what is kept, unless a later one was brought.
pub(super) fn put_kept(db: &Connection, room: &str, kept: &Kept, said: Seq) -> Stored<()> {
    let (before, said) = (Row::of(db, room)?, to_sql(said.0)?);
    if said <= before.said {
        return Ok(());
    }
    let Kept { retention: Retention { entries, days }, first } = kept;
    let entries = entries.map(to_sql).transpose()?;
    Row { said, first: to_sql(first.0)?, entries, days: *days, trimmed: before.trimmed }.put(db, room)
}

/// Lets rows go, up to where it is enough for one commit; returns before which seq all are gone.
pub(super) fn trim(db: &Connection, trim: &Trim) -> Stored<Seq> {
    let places = trim.epochs.iter().map(|epoch| find_place(db, &trim.room, *epoch));
    let places: Vec<_> = places.collect::<Stored<Vec<_>>>()?.into_iter().flatten().collect();
    let (mut reached, mut rows, mut bytes) = (trim.seqs.end, 0, 0);
    for place in &places {
        reached = enough(db, *place, trim.seqs.start..reached, (&mut rows, &mut bytes))?;
    }
    places.iter().try_for_each(|place| rows::remove(db, *place, &(trim.seqs.start..reached)))?;
    let (before, trimmed) = (Row::of(db, trim.room.as_str())?, to_sql(reached.0)?);
    if trimmed > before.trimmed {
        Row { trimmed, ..before }.put(db, trim.room.as_str())?;
    }
    Ok(reached)
}

/// The end of those seqs of a place that are enough, with `rows` and `bytes` before them.
fn enough(
    db: &Connection,
    place: Place,
    seqs: Range<Seq>,
    (rows, bytes): (&mut usize, &mut usize),
) -> Stored<Seq> {
    let mut end = seqs.end;
    if seqs.is_empty() {
        return Ok(end);
    }
    rows::each_row(db, place, &(seqs.start..=Seq(seqs.end.0 - 1)), |id, row| {
        if *rows >= TRIM_ROWS_MAX || *bytes >= TRIM_BYTES_MAX {
            // At least one goes, or nothing ever would.
            end = seq_of(id).max(seqs.start.next());
            return Ok(ControlFlow::Break(()));
        }
        (*rows, *bytes) = (*rows + 1, *bytes + row.len());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(end)
}

/// Rooms of which not all is kept or not all has gone, by ascending id.
pub(super) fn rooms(db: &Connection, after: Option<&RoomId>, limit: usize) -> Stored<Vec<RoomId>> {
    let mut select = db
        .prepare_cached(
            "SELECT room FROM kept WHERE room > ? AND (entries IS NOT NULL OR days IS NOT NULL OR trimmed < first) ORDER BY room LIMIT ?",
        )
        .map_err(failed)?;
    let rows = select
        .query_map((after.map_or("", RoomId::as_str), limit_to_sql(limit)), |row| row.get::<_, String>(0))
        .map_err(failed)?;
    rows.map(|row| room_id(&row.map_err(damaged)?)).collect()
}

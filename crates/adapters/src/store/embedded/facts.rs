//! What a store says of itself, and the fences of its partitions: the statements.

use std::collections::HashMap;
use std::path::Path;

use hubbub_core::ids::{Epoch, LogId, Partition};
use hubbub_core::ports::store::Stored;
use rusqlite::{Connection, OptionalExtension};

use super::failure::{damaged, failed, from_sql, to_sql, unavailable};
use super::folder::probe_file;
use super::row_sum::RowSum;

const LOG_ID: &str = "log_id";
const START: &str = "start";
const FOLDED: &str = "folded";
const SCRUB: &str = "scrub";
/// What a disk that was full is to take before the store says that it can be written to.
const ROOM_BYTES: usize = 4 * 1_024 * 1_024;

fn fact_sum(name: &str, value: &[u8]) -> RowSum {
    RowSum::of("fact").text(name).bytes(value)
}

fn fact(db: &Connection, name: &str) -> Stored<Option<Vec<u8>>> {
    let found: Option<(Vec<u8>, i64)> = db
        .prepare_cached("SELECT value, sum FROM fact WHERE name = ?")
        .and_then(|mut select| select.query_row([name], |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((value, sum)) = found else { return Ok(None) };
    fact_sum(name, &value).check(sum, || format!("fact {name}"))?;
    Ok(Some(value))
}

fn put_fact(db: &Connection, name: &str, value: &[u8]) -> Stored<()> {
    db.prepare_cached("INSERT OR REPLACE INTO fact (name, value, sum) VALUES (?, ?, ?)")
        .and_then(|mut put| put.execute((name, value, fact_sum(name, value).done())))
        .map_err(failed)?;
    Ok(())
}

fn number<const N: usize>(db: &Connection, name: &str) -> Stored<[u8; N]> {
    let value = fact(db, name)?.ok_or_else(|| damaged(format_args!("fact {name} is missing")))?;
    value.try_into().map_err(|_| damaged(format_args!("fact {name} has another length")))
}

/// Gives a store that was just made its facts.
pub(super) fn put_first_facts(db: &Connection, log_id: LogId) -> Stored<()> {
    put_log_id(db, log_id)?;
    put_fact(db, START, &0u64.to_be_bytes())?;
    put_folded(db, 0)
}

/// Which store this is.
pub(super) fn log_id(db: &Connection) -> Stored<LogId> {
    Ok(LogId(u128::from_be_bytes(number(db, LOG_ID)?)))
}

/// Says which store this is.
pub(super) fn put_log_id(db: &Connection, log_id: LogId) -> Stored<()> {
    put_fact(db, LOG_ID, &log_id.0.to_be_bytes())
}

/// The last record of the journal whose entries became rows of `entry`.
pub(super) fn folded(db: &Connection) -> Stored<i64> {
    Ok(i64::from_be_bytes(number(db, FOLDED)?))
}

/// Notes that the journal is folded up to and with record `last`.
pub(super) fn put_folded(db: &Connection, last: i64) -> Stored<()> {
    put_fact(db, FOLDED, &last.to_be_bytes())
}

const SCRUB_DUE: u8 = 1;
/// Not 0: those who wrote that did not look again at pages that commits had written meanwhile.
const SCRUB_DONE: u8 = 2;

/// Whether what was erased is still to be taken out of the file; `None` if nothing ever was erased.
pub(super) fn scrub(db: &Connection) -> Stored<Option<bool>> {
    Ok(fact(db, SCRUB)?.map(|value| value != [SCRUB_DONE]))
}

/// Notes whether that is to be done.
pub(super) fn put_scrub(db: &Connection, due: bool) -> Stored<()> {
    put_fact(db, SCRUB, &[if due { SCRUB_DUE } else { SCRUB_DONE }])
}

/// The newest start of a process.
pub(super) fn start(db: &Connection) -> Stored<Epoch> {
    Ok(Epoch(u64::from_be_bytes(number(db, START)?)))
}

/// Counts a start of a process; its number is above that of any epoch claimed before.
pub(super) fn count_start(db: &Connection, fences: &HashMap<Partition, Epoch>) -> Stored<Epoch> {
    let Epoch(last) = start(db)?;
    let claimed = fences.values().map(|epoch| epoch.0).max().unwrap_or(0);
    let start = last.max(claimed) + 1;
    put_fact(db, START, &start.to_be_bytes())?;
    Ok(Epoch(start))
}

fn fence_sum(partition: Partition, epoch: i64) -> RowSum {
    RowSum::of("fence").number(i64::from(partition.0)).number(epoch)
}

/// The newest claims of all partitions.
pub(super) fn fences(db: &Connection) -> Stored<HashMap<Partition, Epoch>> {
    let mut found = HashMap::new();
    let mut select = db.prepare_cached("SELECT partition, epoch, sum FROM fence").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (partition, epoch, sum): (u16, i64, i64) = row.try_into().map_err(failed)?;
        let partition = Partition(partition);
        fence_sum(partition, epoch).check(sum, || format!("fence of partition {partition}"))?;
        found.insert(partition, Epoch(from_sql(epoch)?));
    }
    Ok(found)
}

/// The newest claim of a partition; 0 if there was none.
pub(super) fn fence(db: &Connection, partition: Partition) -> Stored<Epoch> {
    let found: Option<(i64, i64)> = db
        .prepare_cached("SELECT epoch, sum FROM fence WHERE partition = ?")
        .and_then(|mut select| select.query_row([partition.0], |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((epoch, sum)) = found else { return Ok(Epoch(0)) };
    fence_sum(partition, epoch).check(sum, || format!("fence of partition {partition}"))?;
    Ok(Epoch(from_sql(epoch)?))
}

/// Sets the fence of a partition.
pub(super) fn put_fence(db: &Connection, partition: Partition, epoch: Epoch) -> Stored<()> {
    let epoch = to_sql(epoch.0)?;
    let sum = fence_sum(partition, epoch).done();
    db.prepare_cached("INSERT OR REPLACE INTO fence (partition, epoch, sum) VALUES (?, ?, ?)")
        .and_then(|mut put| put.execute((partition.0, epoch, sum)))
        .map_err(failed)?;
    Ok(())
}

/// An error unless the disk takes what some commits need. A full one takes a small write now and then, in what is allocated already.
fn find_room(db: &Connection) -> Stored<()> {
    let Some(file) = db.path() else { return Ok(()) };
    let probe = probe_file(Path::new(file));
    let written = std::fs::write(&probe, vec![0; ROOM_BYTES]);
    let removed = std::fs::remove_file(&probe);
    written.and(removed).map_err(|error| {
        unavailable(format_args!("{ROOM_BYTES} bytes can't be written beside the store's file: {error}"))
    })
}

/// Shows that the store can be written to: that there is room beside it, and by writing the count of starts again.
pub(super) fn probe(db: &Connection) -> Stored<()> {
    find_room(db)?;
    let start: [u8; 8] = number(db, START)?;
    // Another one first: SQLite writes no page, and syncs nothing, for a row that is as it was.
    put_fact(db, START, &start.map(|byte| !byte))?;
    put_fact(db, START, &start)
}

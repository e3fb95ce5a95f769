//! What is kept of a log, and letting go of the rest.

use hubbub_core::entry::{Kept, Retention};
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::store::{Stored, Trim};

use super::Db;
use super::failure::{damaged, from_cql, to_cql, unavailable};
use super::lists::{each_row, room_id};
use super::schema::BUCKET_SEQS;

/// Buckets of each epoch that are trimmed at once: a deletion of a bucket's rows is one mark, however many they are.
const BUCKETS_MAX: u64 = 4;

/// What is kept of a room's log, the entry that says so, and up to where its rows were trimmed.
pub(super) async fn kept(db: &Db, room: &RoomId) -> Stored<((Kept, Seq), Seq)> {
    type Columns = (Option<i64>, Option<i64>, Option<i64>, Option<i32>, Option<i64>);
    let result = db.session.execute_unpaged(&db.statements.kept, (room.as_str(),)).await;
    let rows = result.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let found = rows.maybe_first_row::<Columns>().map_err(damaged)?.unwrap_or_default();
    let seq = |column: Option<i64>| from_cql(column.unwrap_or(0)).map(Seq);
    let (said, first, entries, days, trimmed) = found;
    let days = days.map(|days| from_cql(days.into())).transpose()?;
    let retention = Retention {
        entries: entries.map(from_cql).transpose()?,
        days: days.map(|days| u32::try_from(days).map_err(damaged)).transpose()?,
    };
    Ok(((Kept { retention, first: seq(first)? }, seq(said)?), seq(trimmed)?))
}

/// Brings what the entry `said` says of what is kept.
pub(super) async fn put_kept(db: &Db, room: &RoomId, kept: &Kept, said: Seq) -> Stored<()> {
    let said = to_cql(said.0)?;
    let Kept { retention: Retention { entries, days }, first } = kept;
    let entries = entries.map(to_cql).transpose()?;
    let days = days.map(|days| i32::try_from(days).map_err(damaged)).transpose()?;
    let row = (said, said, to_cql(first.0)?, entries, days, room.as_str());
    db.session.execute_unpaged(&db.statements.put_kept, row).await.map(drop).map_err(unavailable)
}

/// Lets rows go, a few buckets at once; returns before which seq all are gone.
pub(super) async fn trim(db: &Db, trim: Trim) -> Stored<Seq> {
    let (from, end) = (trim.seqs.start.0, trim.seqs.end.0);
    let room = trim.room.as_str();
    let first = from / BUCKET_SEQS;
    let reached = end.min((first + BUCKETS_MAX) * BUCKET_SEQS);
    let (low, high) = (to_cql(from)?, to_cql(reached)?);
    for epoch in &trim.epochs {
        let epoch = to_cql(epoch.0)?;
        for bucket in first..=reached.saturating_sub(1) / BUCKET_SEQS {
            let rows = (room, epoch, to_cql(bucket)?, low, high);
            db.session.execute_unpaged(&db.statements.trim, rows).await.map_err(unavailable)?;
        }
    }
    let row = (high, high, room);
    db.session.execute_unpaged(&db.statements.put_trimmed, row).await.map_err(unavailable)?;
    Ok(Seq(reached))
}

/// Rooms of which not all is kept or not all has gone, by the order of the database's tokens.
pub(super) async fn rooms(db: &Db, after: Option<RoomId>, limit: usize) -> Stored<Vec<RoomId>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    type Columns = (String, Option<i64>, Option<i64>, Option<i32>, Option<i64>);
    let take = |(room, first, entries, days, trimmed): Columns| {
        if entries.is_some() || days.is_some() || trimmed.unwrap_or(0) < first.unwrap_or(0) {
            found.push(room_id(&room)?);
        }
        Ok(found.len() == limit)
    };
    match after {
        Some(after) => {
            each_row(db, &db.statements.kept_rooms_after, (after.as_str(),), limit, take).await?;
        }
        None => each_row(db, &db.statements.kept_rooms, (), limit, take).await?,
    }
    Ok(found)
}

//! The logs: fences, segments, entries.

use std::time::Duration;

use bytes::Bytes;
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{Epoch, Partition, RoomId, Seq};
use hubbub_core::limits::REPEAT_WINDOW;
use hubbub_core::ports::store::{Append, Read, Segment, Stored};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use super::failure::{damaged, from_cql, to_cql, unavailable};
use super::schema::{self, BUCKET_SEQS, VERSION_WITH_ERASED, VERSION_WITH_RETENTION};
use super::{Db, lwt};

/// Rows and bytes of one batch. A batch of one partition is one mutation, of which a server takes 8 MiB and more.
const BATCH_ROWS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Seqs that are barred: what a holder may have on its way is 4 MiB, of entries of some 100 bytes and more, and it may have begun by a window
/// behind where the next one does.
const BARRED_SEQS: u64 = 5 * REPEAT_WINDOW;
/// Times that a claim is tried, and the pause between two tries.
const CLAIM_TRIES: u32 = 8;
const CLAIM_PAUSE: Duration = Duration::from_millis(50);
/// Rows of the first page of a read, which may all be pictures.
const PAGE_ROWS: i32 = 8;
/// Rows of any page. However small those before it were, these may all be pictures, and a page is in memory as a whole: 33 MiB.
/// A page of history, of 100 entries, needs two.
const PAGE_ROWS_MAX: i32 = 96;

/// The newest claim, by a plain read at a quorum.
pub(super) async fn fence(db: &Db, partition: Partition) -> Stored<Epoch> {
    let result = db.session.execute_unpaged(&db.statements.fence, (i32::from(partition.0),)).await;
    let rows = result.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let epoch = rows.maybe_first_row::<(i64,)>().map_err(damaged)?.map_or(0, |(epoch,)| epoch);
    Ok(Epoch(from_cql(epoch)?))
}

/// Claims higher than anybody. One whose answer is lost is claimed over, be it ours: a read that finds it ends it at a quorum of all
/// datacenters, and what fences read, of this one, may not have it yet.
pub(super) async fn claim(db: &Db, partition: Partition) -> Stored<Epoch> {
    let number = i32::from(partition.0);
    let mut failure = unavailable("others claim the partition all the time");
    for attempt in 0..CLAIM_TRIES {
        if attempt > 0 {
            tokio::time::sleep(CLAIM_PAUSE.mul_f64(0.5 + fastrand::f64()) * attempt).await;
        }
        match claim_once(db, number).await {
            Ok(Some(epoch)) => return Ok(epoch),
            Ok(None) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn claim_once(db: &Db, partition: i32) -> Stored<Option<Epoch>> {
    // A node of an older version, in a rolling update, looks for its own claim by it and can't read a fence without.
    let nonce = Uuid::new_v4();
    let (epoch, decided) = match settled(db, partition).await? {
        None => (1, lwt::run(&db.session, &db.statements.claim_first, (partition, nonce)).await?),
        Some(Epoch(last)) => {
            let values = (to_cql(last + 1)?, nonce, partition, to_cql(last)?);
            (last + 1, lwt::run(&db.session, &db.statements.claim, values).await?)
        }
    };
    Ok(decided.applied.then_some(Epoch(epoch)))
}

/// The newest claim once all that were begun have ended.
async fn settled(db: &Db, partition: i32) -> Stored<Option<Epoch>> {
    let result = db.session.execute_unpaged(&db.statements.fence_settled, (partition,)).await;
    let rows = result.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let epoch = rows.maybe_first_row::<(i64,)>().map_err(damaged)?;
    epoch.map(|(epoch,)| from_cql(epoch).map(Epoch)).transpose()
}

/// The segments of a room.
pub(super) async fn segments(db: &Db, room: &RoomId) -> Stored<Vec<Segment>> {
    let result = db.session.execute_unpaged(&db.statements.segments, (room.as_str(),)).await;
    let rows = result.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let mut segments = Vec::new();
    for row in rows.rows::<(i64, i64, Option<i64>)>().map_err(damaged)? {
        let (epoch, start, prev) = row.map_err(damaged)?;
        let prev = prev.map(from_cql).transpose()?.map(Epoch);
        segments.push(Segment { epoch: Epoch(from_cql(epoch)?), start: Seq(from_cql(start)?), prev });
    }
    Ok(segments)
}

/// Writes a segment's row.
pub(super) async fn put_segment(db: &Db, room: &RoomId, segment: Segment) -> Stored<()> {
    let prev = segment.prev.map(|epoch| to_cql(epoch.0)).transpose()?;
    let values = (room.as_str(), to_cql(segment.epoch.0)?, to_cql(segment.start.0)?, prev);
    db.session.execute_unpaged(&db.statements.put_segment, values).await.map_err(unavailable)?;
    Ok(())
}

/// A row of `entry` to write.
type Row<'a> = (&'a str, i64, i64, i64, Bytes);

/// Writes entries, the batches one after the other: what is missing after a failure is at the end.
pub(super) async fn append(db: &Db, append: Append) -> Stored<()> {
    if append.entries.iter().any(|entry| entry.kind == Kind::Retention) {
        schema::raise(db, VERSION_WITH_RETENTION).await?;
    }
    write_all(db, &db.statements.append, append).await
}

/// Writes what is left of erased entries.
pub(super) async fn erase(db: &Db, erased: Append) -> Stored<()> {
    schema::raise(db, VERSION_WITH_ERASED).await?;
    write_all(db, &db.statements.erase, erased).await
}

/// Bars a segment's rows from a seq on. As long as the database keeps what says so, `gc_grace_seconds`, what comes late stays hidden, and goes.
pub(super) async fn bar(db: &Db, room: &RoomId, epoch: Epoch, from: Seq) -> Stored<()> {
    let buckets = from.0 / BUCKET_SEQS..=(from.0 + BARRED_SEQS) / BUCKET_SEQS;
    let (epoch, from) = (to_cql(epoch.0)?, to_cql(from.0)?);
    let rows: Vec<_> =
        buckets.map(|bucket| Ok((room.as_str(), epoch, to_cql(bucket)?, from))).collect::<Stored<_>>()?;
    let mut batch =
        Batch::new_with_statements(BatchType::Unlogged, vec![db.statements.bar.clone().into(); rows.len()]);
    batch.set_is_idempotent(true);
    db.session.batch(&batch, rows).await.map(drop).map_err(unavailable)
}

async fn write_all(db: &Db, statement: &PreparedStatement, append: Append) -> Stored<()> {
    let Append { room, epoch, entries } = append;
    let epoch = to_cql(epoch.0)?;
    let (mut rows, mut bytes) = (Vec::<Row<'_>>::new(), 0);
    for entry in &entries {
        let (bucket, encoded) = (to_cql(entry.seq.0 / BUCKET_SEQS)?, entry.encode(&room));
        let is_full = rows.len() >= BATCH_ROWS_MAX || bytes + encoded.len() > BATCH_BYTES_MAX;
        if rows.last().is_some_and(|last| is_full || last.2 != bucket) {
            write(db, statement, &rows).await?;
            rows.clear();
            bytes = 0;
        }
        bytes += encoded.len();
        rows.push((room.as_str(), epoch, bucket, to_cql(entry.seq.0)?, encoded));
    }
    write(db, statement, &rows).await
}

async fn write(db: &Db, statement: &PreparedStatement, rows: &[Row<'_>]) -> Stored<()> {
    let written = match rows {
        [] => return Ok(()),
        [row] => db.session.execute_unpaged(statement, row).await,
        rows => {
            let statements = vec![statement.clone().into(); rows.len()];
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
            batch.set_is_idempotent(true);
            db.session.batch(&batch, rows).await
        }
    };
    written.map(drop).map_err(unavailable)
}

/// Reads rows of one segment, bucket after bucket. One that is empty ends the read, unless it is the first: a gap is never
/// longer than what was in flight at once.
pub(super) async fn read(db: &Db, read: Read) -> Stored<Vec<Entry>> {
    let (first, last) = read.seqs.clone().into_inner();
    // Nothing that can't be stored is there.
    let last = last.min(i64::MAX as u64);
    let mut found = Found { entries: Vec::new(), bytes: 0, bytes_max: read.bytes_max };
    if first > last {
        return Ok(found.entries);
    }
    for bucket in first / BUCKET_SEQS..=last / BUCKET_SEQS {
        let before = found.entries.len();
        let is_full = read_bucket(db, &read, bucket, (first, last), &mut found).await?;
        let is_empty = found.entries.len() == before;
        if is_full || is_empty && bucket > first / BUCKET_SEQS {
            break;
        }
    }
    Ok(found.entries)
}

struct Found {
    entries: Vec<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Found {
    /// How many rows the next page should have, so that little is fetched in vain: an entry may be 300 bytes or 300 KiB.
    fn page_rows(&self) -> i32 {
        let Some(each) = self.bytes.checked_div(self.entries.len()) else { return PAGE_ROWS };
        let rows = self.bytes_max.saturating_sub(self.bytes) / each.max(1) + 1;
        i32::try_from(rows).unwrap_or(PAGE_ROWS_MAX).clamp(1, PAGE_ROWS_MAX)
    }
}

/// Whether the bytes were reached.
async fn read_bucket(
    db: &Db,
    read: &Read,
    bucket: u64,
    (first, last): (u64, u64),
    found: &mut Found,
) -> Stored<bool> {
    let (room, epoch) = (read.room.as_str(), to_cql(read.epoch.0)?);
    let values = (room, epoch, to_cql(bucket)?, to_cql(first)?, to_cql(last)?);
    let mut page = PagingState::start();
    loop {
        let mut statement = db.statements.read.clone();
        statement.set_page_size(found.page_rows());
        let fetched = db.session.execute_single_page(&statement, values, page).await;
        let (result, next) = fetched.map_err(unavailable)?;
        let rows = result.into_rows_result().map_err(unavailable)?;
        for row in rows.rows::<(i64, &[u8])>().map_err(damaged)? {
            let (seq, bytes) = row.map_err(damaged)?;
            found.bytes += bytes.len();
            // A copy: one entry that is kept would keep all of its page.
            let bytes = Bytes::copy_from_slice(bytes);
            found.entries.push(Entry::decode(&read.room, Seq(from_cql(seq)?), bytes)?);
            if found.bytes >= found.bytes_max {
                return Ok(true);
            }
        }
        match next {
            PagingStateResponse::HasMorePages { state } => page = state,
            PagingStateResponse::NoMorePages => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Millis, User, UserId};
    use hubbub_core::limits::Content;

    use super::*;

    /// Rows of the next page of a read of 1 MiB that has found so many rows of that size.
    fn page_rows(rows: usize, each: usize) -> i32 {
        let ann = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        let (room, text) = (RoomId::parse("lobby").unwrap(), Content::text("hello".into()).unwrap());
        let entry = Entry::new(&room, Seq(1), Millis(1), &ann, None, Says::Message(&text));
        Found { entries: vec![entry; rows], bytes: rows * each, bytes_max: 1024 * 1024 }.page_rows()
    }

    #[test]
    fn pages_are_as_large_as_what_was_found_lets_them_be() {
        const PICTURE: usize = 350 * 1024;
        assert!(page_rows(0, 0) as usize * PICTURE < 4 * 1024 * 1024, "nothing is known");
        assert_eq!(page_rows(2, PICTURE), 1);
        assert!((92..=100).contains(&page_rows(8, 300)), "a page of history has two, not many");
        assert!(page_rows(1_000, 300) as usize * PICTURE < 40 * 1024 * 1024, "pictures behind what is small");
    }
}

//! Bringing the projections up to the log.
//!
//! Each cell is written with the seq that it is of as its timestamp, so a late or repeated write loses by order, whatever the
//! clocks say. The row of the room comes last, for its mark says that the rest is there.

use hubbub_core::ids::RoomId;
use hubbub_core::ports::store::{MemberChange, Projection, Stored};
use scylla::statement::batch::{Batch, BatchType};
use serde_json::to_string;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::failure::{damaged, to_cql, unavailable};
use super::schema::PERIOD_MS;
use super::{Db, retention};

/// Rows of one batch of members, and users whose rooms are written at once.
const BATCH_ROWS_MAX: usize = 200;
const AT_ONCE: usize = 64;

pub(super) async fn project(db: &Db, projection: Projection) -> Stored<()> {
    let room = &projection.room;
    put_members(db, room, &projection.members).await?;
    put_joined(db, room, &projection.members).await?;
    if let Some(created_at) = projection.created_at {
        let period = to_cql(created_at.0 / PERIOD_MS)?;
        let row = (period, to_cql(created_at.0)?, room.as_str());
        db.session.execute_unpaged(&db.statements.put_period, (period,)).await.map_err(unavailable)?;
        db.session.execute_unpaged(&db.statements.put_directory, row).await.map_err(unavailable)?;
    }
    if let Some(erased) = projection.erased {
        let erased = to_cql(erased.0)?;
        let row = (erased, erased, room.as_str());
        db.session.execute_unpaged(&db.statements.put_forgot, row).await.map_err(unavailable)?;
    }
    if let Some((kept, said)) = &projection.kept {
        retention::put_kept(db, room, kept, *said).await?;
    }
    put_room(db, &projection).await
}

async fn put_members(db: &Db, room: &RoomId, members: &[MemberChange]) -> Stored<()> {
    for changes in members.chunks(BATCH_ROWS_MAX) {
        let mut rows = Vec::with_capacity(changes.len());
        for MemberChange { user, seq, member } in changes {
            let seq = to_cql(seq.0)?;
            rows.push((room.as_str(), user.id.as_str(), &*user.name, seq, *member, seq));
        }
        let statements = vec![db.statements.put_member.clone().into(); rows.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        db.session.batch(&batch, rows).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Each user's list of rooms is a partition of its own.
async fn put_joined(db: &Db, room: &RoomId, members: &[MemberChange]) -> Stored<()> {
    stream::iter(members)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, async |MemberChange { user, seq, member }| {
            let seq = to_cql(seq.0)?;
            let row = (user.id.as_str(), room.as_str(), seq, *member, seq);
            db.session.execute_unpaged(&db.statements.put_joined, row).await.map(drop).map_err(unavailable)
        })
        .await
}

/// One batch of one row: all of it, or nothing.
async fn put_room(db: &Db, projection: &Projection) -> Stored<()> {
    let room = projection.room.as_str();
    let mark = to_cql(projection.mark.0)?;
    let counts = (mark, to_cql(projection.member_count)?, mark, to_cql(projection.mark_at.0)?, room);
    let mut batch = Batch::new(BatchType::Unlogged);
    batch.set_is_idempotent(true);
    batch.append_statement(db.statements.put_room.clone());
    let facts = projection.facts.as_ref().map(to_string).transpose().map_err(damaged)?;
    let facts = facts.map(|facts| (mark, facts, room));
    let created = projection.created_at.map(|at| to_cql(at.0)).transpose()?.map(|at| (mark, at, room));
    if facts.is_some() {
        batch.append_statement(db.statements.put_facts.clone());
    }
    if created.is_some() {
        batch.append_statement(db.statements.put_created.clone());
    }
    let written = match (facts, created) {
        (Some(facts), Some(created)) => db.session.batch(&batch, (counts, facts, created)).await,
        (Some(facts), None) => db.session.batch(&batch, (counts, facts)).await,
        (None, Some(created)) => db.session.batch(&batch, (counts, created)).await,
        (None, None) => db.session.batch(&batch, (counts,)).await,
    };
    written.map(drop).map_err(unavailable)
}

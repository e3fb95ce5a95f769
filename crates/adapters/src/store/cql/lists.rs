//! Rooms, members and the lists of them: reading the projections.

use futures_util::future::join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hubbub_core::entry::RoomFacts;
use hubbub_core::ids::{Millis, RoomId, Seq, User, UserId};
use hubbub_core::ports::store::{DirectoryCursor, JoinedRoom, MemberRow, RoomRow, Stored};
use scylla::deserialize::row::DeserializeRow;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::failure::{damaged, from_cql, to_cql, unavailable};
use super::schema::PERIOD_MS;
use super::{Db, retention};

/// Rows of a page that is fetched at once.
const PAGE_ROWS_MAX: usize = 1_000;
/// Rooms of the directory that are read at once.
const AT_ONCE: usize = 32;

pub(super) fn room_id(text: &str) -> Stored<RoomId> {
    RoomId::parse(text).map_err(|_| damaged(format_args!("{text:?} where a room's id should be")))
}

pub(super) fn user_id(text: &str) -> Stored<UserId> {
    UserId::parse(text).map_err(|_| damaged(format_args!("{text:?} where a user's id should be")))
}

/// Goes through the rows of a statement until `take` has enough, page after page.
pub(super) async fn each_row<R>(
    db: &Db,
    statement: &PreparedStatement,
    values: impl SerializeRow,
    limit: usize,
    mut take: impl FnMut(R) -> Stored<bool>,
) -> Stored<()>
where
    R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
{
    let mut statement = statement.clone();
    // Some of the rows may be of those who left; where they are many, larger pages pass them by.
    let mut page_rows = limit.saturating_add(8).min(PAGE_ROWS_MAX);
    statement.set_page_size(page_rows as i32);
    let mut page = PagingState::start();
    loop {
        let fetched = db.session.execute_single_page(&statement, &values, page).await;
        let (result, next) = fetched.map_err(unavailable)?;
        let rows = result.into_rows_result().map_err(unavailable)?;
        for row in rows.rows::<R>().map_err(damaged)? {
            if take(row.map_err(damaged)?)? {
                return Ok(());
            }
        }
        match next {
            PagingStateResponse::HasMorePages { state } => page = state,
            PagingStateResponse::NoMorePages => return Ok(()),
        }
        page_rows = (2 * page_rows).min(PAGE_ROWS_MAX);
        statement.set_page_size(page_rows as i32);
    }
}

/// A room as projected.
pub(super) async fn room(db: &Db, room: RoomId) -> Stored<Option<RoomRow>> {
    type Columns = (Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
    let asked = (room.as_str(),);
    // The mark first: it comes last with a projection, so that what is read after it is no older.
    let result = db.session.execute_unpaged(&db.statements.room, asked).await.map_err(unavailable)?;
    let forgot = db.session.execute_unpaged(&db.statements.forgot, asked);
    let (forgot, kept) = join(forgot, retention::kept(db, &room)).await;
    let (forgot, (kept, trimmed)) = (forgot.map_err(unavailable)?, kept?);
    let forgot = forgot.into_rows_result().map_err(unavailable)?;
    let erased = forgot.maybe_first_row::<(Option<i64>,)>().map_err(damaged)?.and_then(|(erased,)| erased);
    let rows = result.into_rows_result().map_err(unavailable)?;
    // Facts and time are missing while only later projections have come.
    let Some((Some(facts), Some(created_at), Some(member_count), Some(mark), Some(mark_at))) =
        rows.maybe_first_row::<Columns>().map_err(damaged)?
    else {
        return Ok(None);
    };
    let facts: RoomFacts = serde_json::from_str(&facts)
        .map_err(|error| damaged(format_args!("the facts of room {room}: {error}")))?;
    Ok(Some(RoomRow {
        room,
        facts,
        created_at: Millis(from_cql(created_at)?),
        member_count: from_cql(member_count)?,
        mark: Seq(from_cql(mark)?),
        mark_at: Millis(from_cql(mark_at)?),
        erased: Seq(from_cql(erased.unwrap_or(0))?),
        kept,
        trimmed,
    }))
}

/// Members of a room.
pub(super) async fn members(
    db: &Db,
    room: &RoomId,
    after: Option<UserId>,
    limit: usize,
) -> Stored<Vec<MemberRow>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    // No id is empty.
    let values = (room.as_str(), after.as_ref().map_or("", UserId::as_str));
    let take = |(id, name, seq, member): (String, String, i64, bool)| {
        if member {
            let user = User { id: user_id(&id)?, name: name.into() };
            found.push(MemberRow { user, joined: Seq(from_cql(seq)?) });
        }
        Ok(found.len() == limit)
    };
    each_row(db, &db.statements.members, values, limit, take).await?;
    Ok(found)
}

/// Rooms of a user.
pub(super) async fn rooms_of(
    db: &Db,
    user: &UserId,
    after: Option<RoomId>,
    limit: usize,
) -> Stored<Vec<JoinedRoom>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let values = (user.as_str(), after.as_ref().map_or("", RoomId::as_str));
    let take = |(room, seq, member): (String, i64, bool)| {
        if member {
            found.push(JoinedRoom { room: room_id(&room)?, joined: Seq(from_cql(seq)?) });
        }
        Ok(found.len() == limit)
    };
    each_row(db, &db.statements.rooms_of, values, limit, take).await?;
    Ok(found)
}

/// Rooms that a user is or was in: who left has a row that says so.
pub(super) async fn rooms_ever_of(
    db: &Db,
    user: &UserId,
    after: Option<RoomId>,
    limit: usize,
) -> Stored<Vec<RoomId>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let values = (user.as_str(), after.as_ref().map_or("", RoomId::as_str));
    let take = |(room, _, _): (String, i64, bool)| {
        found.push(room_id(&room)?);
        Ok(found.len() == limit)
    };
    each_row(db, &db.statements.rooms_of, values, limit, take).await?;
    Ok(found)
}

/// Rooms, the newest first.
pub(super) async fn directory(
    db: &Db,
    mut after: Option<DirectoryCursor>,
    limit: usize,
) -> Stored<Vec<RoomRow>> {
    let mut found = Vec::new();
    while found.len() < limit {
        let listed = listed(db, after, limit).await?;
        let all = listed.len() < limit;
        let rooms: Vec<RoomId> = listed.iter().map(|listed| listed.room.clone()).collect();
        // A room is in the directory a moment before it has its row: fewer rows are no end.
        let rows = stream::iter(rooms).map(|id| room(db, id)).buffered(AT_ONCE);
        found.extend(rows.try_filter_map(async |row| Ok(row)).try_collect::<Vec<_>>().await?);
        if all {
            break;
        }
        after = listed.into_iter().next_back();
    }
    found.truncate(limit);
    Ok(found)
}

/// The directory's lines, the newest first: period after period, down from the cursor's.
async fn listed(db: &Db, after: Option<DirectoryCursor>, limit: usize) -> Stored<Vec<DirectoryCursor>> {
    let newest = after.as_ref().map(|cursor| to_cql(cursor.created_at.0 / PERIOD_MS)).transpose()?;
    let mut periods = Vec::new();
    let take = |(period,): (i64,)| {
        periods.push(period);
        Ok(false)
    };
    each_row(db, &db.statements.periods, (newest.unwrap_or(i64::MAX),), PAGE_ROWS_MAX, take).await?;

    let mut rooms = Vec::new();
    for period in periods {
        let take = |(created_at, room): (i64, String)| {
            rooms.push(DirectoryCursor { created_at: Millis(from_cql(created_at)?), room: room_id(&room)? });
            Ok(rooms.len() == limit)
        };
        match &after {
            Some(cursor) if newest == Some(period) => {
                let values = (period, to_cql(cursor.created_at.0)?, cursor.room.as_str());
                each_row(db, &db.statements.directory, values, limit, take).await?;
            }
            _ => each_row(db, &db.statements.directory_all, (period,), limit, take).await?,
        }
        if rooms.len() == limit {
            break;
        }
    }
    Ok(rooms)
}

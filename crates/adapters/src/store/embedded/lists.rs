//! Rooms, members and the lists of them: reading the projections.

use std::sync::Arc;

use hubbub_core::entry::RoomFacts;
use hubbub_core::ids::{Millis, RoomId, Seq, User, UserId};
use hubbub_core::ports::store::{DirectoryCursor, JoinedRoom, MemberRow, RoomRow, Stored};
use rusqlite::{Connection, OptionalExtension, Row};

use super::failure::{damaged, failed, from_sql, to_sql};
use super::retention;
use super::row_sum::RowSum;

/// A row of `room` as it is kept. Facts and time are missing while only later projections have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptRoom {
    pub(super) room: String,
    pub(super) name: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) facts_seq: i64,
    pub(super) created_at: Option<i64>,
    pub(super) member_count: i64,
    pub(super) mark: i64,
    pub(super) mark_at: i64,
}

macro_rules! room_columns {
    () => {
        "room, name, topic, owner, facts_seq, created_at, member_count, mark, mark_at, sum"
    };
}
pub(super) use room_columns;

impl KeptRoom {
    pub(super) fn sum(&self) -> RowSum {
        RowSum::of("room")
            .text(&self.room)
            .maybe_text(self.name.as_deref())
            .maybe_text(self.topic.as_deref())
            .maybe_text(self.owner.as_deref())
            .number(self.facts_seq)
            .maybe_number(self.created_at)
            .number(self.member_count)
            .number(self.mark)
            .number(self.mark_at)
    }

    fn of(row: &Row<'_>) -> Stored<Self> {
        let get = || -> rusqlite::Result<(Self, i64)> {
            let kept = Self {
                room: row.get(0)?,
                name: row.get(1)?,
                topic: row.get(2)?,
                owner: row.get(3)?,
                facts_seq: row.get(4)?,
                created_at: row.get(5)?,
                member_count: row.get(6)?,
                mark: row.get(7)?,
                mark_at: row.get(8)?,
            };
            Ok((kept, row.get(9)?))
        };
        let (kept, sum) = get().map_err(failed)?;
        kept.sum().check(sum, || format!("room {}", kept.room))?;
        Ok(kept)
    }

    fn shown(self, db: &Connection) -> Stored<Option<RoomRow>> {
        let (Some(name), Some(topic), Some(owner), Some(created_at)) =
            (self.name, self.topic, self.owner, self.created_at)
        else {
            return Ok(None);
        };
        let facts = RoomFacts { name: name.into(), topic: topic.into(), owner: user_id(&owner)? };
        let erased = erased(db, &self.room)?;
        let (kept, trimmed) = retention::kept(db, &self.room)?;
        Ok(Some(RoomRow {
            room: room_id(&self.room)?,
            facts,
            created_at: Millis(from_sql(created_at)?),
            member_count: from_sql(self.member_count)?,
            mark: Seq(from_sql(self.mark)?),
            mark_at: Millis(from_sql(self.mark_at)?),
            erased,
            kept,
            trimmed,
        }))
    }
}

pub(super) fn forgot_sum(room: &str, erased: i64) -> RowSum {
    RowSum::of("forgot").text(room).number(erased)
}

/// The last entry of a room that says that messages were erased.
fn erased(db: &Connection, room: &str) -> Stored<Seq> {
    let found: Option<(i64, i64)> = db
        .prepare_cached("SELECT erased, sum FROM forgot WHERE room = ?")
        .and_then(|mut select| select.query_row([room], |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((erased, sum)) = found else { return Ok(Seq(0)) };
    forgot_sum(room, erased).check(sum, || format!("what room {room} forgot"))?;
    Ok(Seq(from_sql(erased)?))
}

pub(super) fn user_id(text: &str) -> Stored<UserId> {
    UserId::parse(text).map_err(|_| damaged(format_args!("{text:?} is no user's id")))
}

pub(super) fn room_id(text: &str) -> Stored<RoomId> {
    RoomId::parse(text).map_err(|_| damaged(format_args!("{text:?} is no room's id")))
}

pub(super) fn member_sum(room: &str, user: &str, name: &str, joined: i64) -> RowSum {
    RowSum::of("member").text(room).text(user).text(name).number(joined)
}

/// A list is read along an index. A bit that is another one there leads to the row of another name, whose own sum is right:
/// what it can't hide is that the row stands twice or out of its order.
fn check_order(what: &str, in_order: bool) -> Stored<()> {
    match in_order {
        true => Ok(()),
        false => Err(damaged(format_args!("{what} has a row twice or out of order"))),
    }
}

/// SQLite takes a negative limit for none.
pub(super) fn limit_to_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(-1)
}

/// The row of a room, if it has one.
pub(super) fn kept_room(db: &Connection, room: &RoomId) -> Stored<Option<KeptRoom>> {
    let mut select = db
        .prepare_cached(concat!("SELECT ", room_columns!(), " FROM room WHERE room = ?"))
        .map_err(failed)?;
    let mut rows = select.query([room.as_str()]).map_err(failed)?;
    rows.next().map_err(failed)?.map(KeptRoom::of).transpose()
}

/// A room as projected.
pub(super) fn room(db: &Connection, room: &RoomId) -> Stored<Option<RoomRow>> {
    match kept_room(db, room)? {
        Some(kept) => kept.shown(db),
        None => Ok(None),
    }
}

/// Rooms, the newest first; of the same instant, by descending id.
pub(super) fn directory(
    db: &Connection,
    after: Option<&DirectoryCursor>,
    limit: usize,
) -> Stored<Vec<RoomRow>> {
    let (before, room) = match after {
        Some(cursor) => (to_sql(cursor.created_at.0)?, cursor.room.as_str()),
        // No room's id is above this one.
        None => (i64::MAX, "~"),
    };
    let mut select = db
        .prepare_cached(concat!(
            "SELECT ",
            room_columns!(),
            " FROM room WHERE (created_at, room) < (?, ?) AND name IS NOT NULL",
            " ORDER BY created_at DESC, room DESC LIMIT ?"
        ))
        .map_err(failed)?;
    let mut rows = select.query((before, room, limit_to_sql(limit))).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.extend(KeptRoom::of(row)?.shown(db)?);
    }
    // By falling age: turned round, by rising.
    let in_order = found.iter().rev().is_sorted_by(|a, b| (a.created_at, &a.room) < (b.created_at, &b.room));
    check_order("the directory", in_order)?;
    Ok(found)
}

/// Members of a room by ascending id.
pub(super) fn members(
    db: &Connection,
    room: &RoomId,
    after: Option<&UserId>,
    limit: usize,
) -> Stored<Vec<MemberRow>> {
    let room = room.as_str();
    let mut select = db
        .prepare_cached(
            "SELECT user, name, joined, sum FROM member WHERE room = ? AND user > ? ORDER BY user LIMIT ?",
        )
        .map_err(failed)?;
    let after = after.map_or("", UserId::as_str);
    let mut rows = select.query((room, after, limit_to_sql(limit))).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let (user, name, joined, sum): (String, String, i64, i64) = row.try_into().map_err(failed)?;
        member_sum(room, &user, &name, joined).check(sum, || format!("member {user} of room {room}"))?;
        let user = User { id: user_id(&user)?, name: Arc::from(name) };
        found.push(MemberRow { user, joined: Seq(from_sql(joined)?) });
    }
    check_order("a list of members", found.is_sorted_by(|a, b| a.user.id < b.user.id))?;
    Ok(found)
}

/// The rooms of a user by ascending id.
pub(super) fn rooms_of(
    db: &Connection,
    user: &UserId,
    after: Option<&RoomId>,
    limit: usize,
) -> Stored<Vec<JoinedRoom>> {
    let user = user.as_str();
    let mut select = db
        .prepare_cached(
            "SELECT room, name, joined, sum FROM member WHERE user = ? AND room > ? ORDER BY room LIMIT ?",
        )
        .map_err(failed)?;
    let after = after.map_or("", RoomId::as_str);
    let mut rows = select.query((user, after, limit_to_sql(limit))).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let (room, name, joined, sum): (String, String, i64, i64) = row.try_into().map_err(failed)?;
        member_sum(&room, user, &name, joined).check(sum, || format!("member {user} of room {room}"))?;
        found.push(JoinedRoom { room: room_id(&room)?, joined: Seq(from_sql(joined)?) });
    }
    check_order("a list of rooms", found.is_sorted_by(|a, b| a.room < b.room))?;
    Ok(found)
}

/// The rooms that a user is or was in, by ascending id.
pub(super) fn rooms_ever_of(
    db: &Connection,
    user: &UserId,
    after: Option<&RoomId>,
    limit: usize,
) -> Stored<Vec<RoomId>> {
    let now = rooms_of(db, user, after, limit)?;
    let user = user.as_str();
    let mut select = db
        .prepare_cached(
            "SELECT room, seq, sum FROM departed WHERE user = ? AND room > ? ORDER BY room LIMIT ?",
        )
        .map_err(failed)?;
    let after = after.map_or("", RoomId::as_str);
    let mut rows = select.query((user, after, limit_to_sql(limit))).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let (room, seq, sum): (String, i64, i64) = row.try_into().map_err(failed)?;
        departed_sum(&room, user, seq).check(sum, || format!("departed {user} of room {room}"))?;
        found.push(room_id(&room)?);
    }
    check_order("a list of rooms", found.is_sorted_by(|a, b| a < b))?;
    found.extend(now.into_iter().map(|joined| joined.room));
    found.sort();
    found.truncate(limit);
    Ok(found)
}

/// The last word about a user in a room: the seq of their join or of their going; 0 if there is none.
pub(super) fn last_word(db: &Connection, room: &RoomId, user: &UserId) -> Stored<i64> {
    let (room, user) = (room.as_str(), user.as_str());
    let joined: Option<(String, i64, i64)> = db
        .prepare_cached("SELECT name, joined, sum FROM member WHERE room = ? AND user = ?")
        .and_then(|mut select| select.query_row((room, user), |row| row.try_into()).optional())
        .map_err(failed)?;
    if let Some((name, joined, sum)) = joined {
        member_sum(room, user, &name, joined).check(sum, || format!("member {user} of room {room}"))?;
        return Ok(joined);
    }
    let departed: Option<(i64, i64)> = db
        .prepare_cached("SELECT seq, sum FROM departed WHERE room = ? AND user = ?")
        .and_then(|mut select| select.query_row((room, user), |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((seq, sum)) = departed else { return Ok(0) };
    departed_sum(room, user, seq).check(sum, || format!("departed {user} of room {room}"))?;
    Ok(seq)
}

pub(super) fn departed_sum(room: &str, user: &str, seq: i64) -> RowSum {
    RowSum::of("departed").text(room).text(user).number(seq)
}

//! Bans: the statements.

use hubbub_core::ids::{Millis, UserId};
use hubbub_core::ports::bans::Ban;
use hubbub_core::ports::store::Stored;
use rusqlite::Connection;

use super::failure::{failed, from_sql, to_sql};
use super::lists::user_id;
use super::row_sum::RowSum;

fn sum(user: &str, at: i64, by: &str, reason: &str) -> RowSum {
    RowSum::of("ban").text(user).number(at).text(by).text(reason)
}

/// Keeps a ban, in the place of the one before.
pub(super) fn put(db: &Connection, ban: &Ban) -> Stored<()> {
    let (user, at) = (ban.user.as_str(), to_sql(ban.at.0)?);
    let sum = sum(user, at, &ban.by, &ban.reason).done();
    db.prepare_cached("INSERT OR REPLACE INTO ban (user, at, by, reason, sum) VALUES (?, ?, ?, ?, ?)")
        .and_then(|mut put| put.execute((user, at, &ban.by, &ban.reason, sum)))
        .map_err(failed)?;
    Ok(())
}

/// Lifts a ban, if there is one.
pub(super) fn lift(db: &Connection, user: &UserId) -> Stored<()> {
    let lifted = db.prepare_cached("DELETE FROM ban WHERE user = ?");
    lifted.and_then(|mut lift| lift.execute([user.as_str()])).map_err(failed)?;
    Ok(())
}

/// All of them, by ascending user.
pub(super) fn all(db: &Connection) -> Stored<Vec<Ban>> {
    type Columns = (String, i64, String, String, i64);
    let rows: Vec<Columns> = db
        .prepare_cached("SELECT user, at, by, reason, sum FROM ban ORDER BY user")
        .and_then(|mut select| select.query_map([], |row| row.try_into())?.collect())
        .map_err(failed)?;
    let read = |(user, at, by, reason, stored): Columns| {
        sum(&user, at, &by, &reason).check(stored, || format!("the ban of {user}"))?;
        Ok(Ban { user: user_id(&user)?, at: Millis(from_sql(at)?), by, reason })
    };
    rows.into_iter().map(read).collect()
}

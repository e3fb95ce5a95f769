//! Bans.

use hubbub_core::ids::{Millis, UserId};
use hubbub_core::ports::bans::Ban;
use hubbub_core::ports::store::Stored;

use super::Db;
use super::failure::{damaged, from_cql, to_cql, unavailable};
use super::lists::{each_row, user_id};

/// Keeps a ban.
pub(super) async fn put(db: &Db, ban: Ban) -> Stored<()> {
    let row = (ban.user.as_str(), to_cql(ban.at.0)?, &ban.by, &ban.reason);
    db.session.execute_unpaged(&db.statements.put_ban, row).await.map(drop).map_err(unavailable)
}

/// Lifts a ban.
pub(super) async fn lift(db: &Db, user: UserId) -> Stored<()> {
    let lifted = db.session.execute_unpaged(&db.statements.lift_ban, (user.as_str(),)).await;
    lifted.map(drop).map_err(unavailable)
}

/// All bans that were not lifted.
pub(super) async fn all(db: &Db) -> Stored<Vec<Ban>> {
    type Columns = (String, bool, Option<i64>, Option<String>, Option<String>);
    let mut bans = Vec::new();
    let take = |(user, banned, at, by, reason): Columns| {
        if banned {
            let (Some(at), Some(by), Some(reason)) = (at, by, reason) else {
                return Err(damaged(format_args!("the ban of {user} is not whole")));
            };
            bans.push(Ban { user: user_id(&user)?, at: Millis(from_cql(at)?), by, reason });
        }
        Ok(false)
    };
    each_row(db, &db.statements.bans, (), usize::MAX, take).await?;
    Ok(bans)
}

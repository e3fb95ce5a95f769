//! Tokens that were called back: rows that the database lets go when the tokens end.
//!
//! Each is there twice. Who begins reads all by when they end, and so passes by none that has: a table from which rows vanish
//! is full of traces of them. Who looks for what is new reads what was put of late.

use std::time::SystemTime;

use futures_util::future::try_join;
use hubbub_core::ids::Millis;
use hubbub_core::ports::revocations::{Revocation, TokenId};
use hubbub_core::ports::store::Stored;

use super::Db;
use super::failure::{damaged, from_cql, unavailable};
use super::lists::each_row;

const HOUR_MS: u64 = 3_600 * 1_000;
/// Tokens that end in the same week share a partition of the database.
const WEEK_MS: u64 = 7 * 24 * HOUR_MS;
/// What ends later than this is kept for ever: databases refuse a time to live whose end they can't tell, some from 2038 on.
const LIFE_MAX_MS: u64 = 105 * WEEK_MS;
/// In the place of their week.
const FOR_EVER: i64 = i64::MAX;
/// For how long what was put is among what is new, at least; it goes a good deal later.
const NEWS_MS: u64 = HOUR_MS;
const NEWS_LIFE_SECONDS: i32 = 2 * 3_600;

/// Keeps a revocation.
pub(super) async fn put(db: &Db, Revocation { token, until }: Revocation) -> Stored<()> {
    let now = Millis::from(SystemTime::now()).0;
    let id = &token.0[..];
    let (week, seconds) = match until.0.saturating_sub(now) {
        // 0 would be for ever.
        life if life <= LIFE_MAX_MS => (number(until.0 / WEEK_MS), (life / 1_000) as i32 + 1),
        _ => (FOR_EVER, 0),
    };
    let until = number(until.0);
    let news = (number(now / HOUR_MS), number(now), id, until, NEWS_LIFE_SECONDS);
    let put = db.session.execute_unpaged(&db.statements.put_revoked, (week, until, id, seconds));
    let put_news = db.session.execute_unpaged(&db.statements.put_revoked_of_late, news);
    try_join(put, put_news).await.map(drop).map_err(unavailable)
}

/// Those that were put at this time or later, or all of them.
pub(super) async fn all(db: &Db, since: Millis) -> Stored<Vec<Revocation>> {
    let now = Millis::from(SystemTime::now()).0;
    let mut found = Vec::new();
    let mut take = |(id, until): (Vec<u8>, i64)| {
        let id = id.try_into();
        let id = id.map_err(|_| damaged("the name of a token that was called back has another length"))?;
        found.push(Revocation { token: TokenId(id), until: Millis(from_cql(until)?) });
        Ok(false)
    };
    if now.saturating_sub(since.0) < NEWS_MS {
        // One more: of a node whose clock is ahead of this one's.
        for hour in since.0 / HOUR_MS..=now / HOUR_MS + 1 {
            let from = (number(hour), number(since.0));
            each_row(db, &db.statements.revoked_of_late, from, usize::MAX, &mut take).await?;
        }
    } else {
        let weeks = now / WEEK_MS..=(now + LIFE_MAX_MS) / WEEK_MS;
        for week in weeks.map(number).chain([FOR_EVER]) {
            let from = (week, number(now));
            each_row(db, &db.statements.revoked, from, usize::MAX, &mut take).await?;
        }
    }
    Ok(found)
}

/// A time as a number; one that is too large for the database is none that anybody lives to see.
fn number(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

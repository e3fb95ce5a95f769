//! Tokens that were called back: the statements.

use std::time::SystemTime;

use hubbub_core::ids::Millis;
use hubbub_core::ports::revocations::{Revocation, TokenId};
use hubbub_core::ports::store::Stored;
use rusqlite::Connection;

use super::failure::{damaged, failed, from_sql};
use super::row_sum::RowSum;

fn sum(token: &[u8], until: i64) -> RowSum {
    RowSum::of("revoked").bytes(token).number(until)
}

/// Keeps a revocation, and lets go those that have ended.
pub(super) fn put(db: &Connection, Revocation { token, until }: Revocation) -> Stored<()> {
    let now = i64::try_from(Millis::from(SystemTime::now()).0).unwrap_or(i64::MAX);
    db.prepare_cached("DELETE FROM revoked WHERE until <= ?")
        .and_then(|mut ended| ended.execute([now]))
        .map_err(failed)?;
    // An end beyond what can be stored is none that anybody lives to see.
    let until = i64::try_from(until.0).unwrap_or(i64::MAX);
    db.prepare_cached(
        "INSERT INTO revoked (token, until, sum) VALUES (?, ?, ?) \
         ON CONFLICT (token) DO UPDATE SET until = excluded.until, sum = excluded.sum WHERE excluded.until > until",
    )
    .and_then(|mut put| put.execute((&token.0[..], until, sum(&token.0, until).done())))
    .map_err(failed)?;
    Ok(())
}

/// All of them.
pub(super) fn all(db: &Connection) -> Stored<Vec<Revocation>> {
    let rows: Vec<(Vec<u8>, i64, i64)> = db
        .prepare_cached("SELECT token, until, sum FROM revoked")
        .and_then(|mut select| select.query_map([], |row| row.try_into())?.collect())
        .map_err(failed)?;
    let read = |(token, until, stored): (Vec<u8>, i64, i64)| {
        let of = || format!("a token that was called back, until {until}");
        sum(&token, until).check(stored, of)?;
        let token = token.try_into().map_err(|_| damaged(format_args!("{} has another length", of())))?;
        Ok(Revocation { token: TokenId(token), until: Millis(from_sql(until)?) })
    };
    rows.into_iter().map(read).collect()
}

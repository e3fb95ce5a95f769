//! Built-in accounts and shared secrets: the statements.

use std::sync::Arc;

use hubbub_core::ids::Millis;
use hubbub_core::ports::accounts::{AccountRow, AccountStoreError, Secret};
use hubbub_core::ports::store::Stored;
use rusqlite::{Connection, OptionalExtension};

use super::failure::{failed, from_sql, to_sql};
use super::lists::user_id;
use super::row_sum::RowSum;

fn account_sum(id: &str, email: &str, name: &str, password_hash: &str, created_at: i64) -> RowSum {
    RowSum::of("account").text(id).text(email).text(name).text(password_hash).number(created_at)
}

/// Keeps a new account, unless its address or id is taken.
pub(super) fn insert(db: &Connection, account: &AccountRow) -> Result<(), AccountStoreError> {
    let created_at = to_sql(account.created_at.0)?;
    let (id, email, name) = (account.id.as_str(), account.email.as_str(), &*account.name);
    let hash = account.password_hash.reveal();
    let sum = account_sum(id, email, name, hash, created_at).done();
    let inserted = db
        .prepare_cached(
            "INSERT INTO account (id, email, name, password_hash, created_at, sum) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .and_then(|mut insert| insert.execute((id, email, name, hash, created_at, sum)))
        .map_err(failed)?;
    match inserted {
        0 => Err(AccountStoreError::Taken),
        _ => Ok(()),
    }
}

/// The account of an address.
pub(super) fn by_email(db: &Connection, email: &str) -> Stored<Option<AccountRow>> {
    type Columns = (String, String, String, String, i64, i64);
    let found: Option<Columns> = db
        .prepare_cached("SELECT id, email, name, password_hash, created_at, sum FROM account WHERE email = ?")
        .and_then(|mut select| select.query_row([email], |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((id, email, name, hash, created_at, sum)) = found else { return Ok(None) };
    account_sum(&id, &email, &name, &hash, created_at).check(sum, || format!("account {id}"))?;
    Ok(Some(AccountRow {
        id: user_id(&id)?,
        name: Arc::from(name),
        email,
        password_hash: Secret::new(hash),
        created_at: Millis(from_sql(created_at)?),
    }))
}

fn secret_sum(name: &str, value: &[u8]) -> RowSum {
    RowSum::of("secret").text(name).bytes(value)
}

/// The secret of that name, if there is one.
pub(super) fn secret(db: &Connection, name: &str) -> Stored<Option<Vec<u8>>> {
    let found: Option<(Vec<u8>, i64)> = db
        .prepare_cached("SELECT value, sum FROM secret WHERE name = ?")
        .and_then(|mut select| select.query_row([name], |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((value, sum)) = found else { return Ok(None) };
    secret_sum(name, &value).check(sum, || format!("secret {name}"))?;
    Ok(Some(value))
}

/// The secret of that name: `candidate` if there was none.
pub(super) fn secret_or(db: &Connection, name: &str, candidate: Vec<u8>) -> Stored<Vec<u8>> {
    if let Some(kept) = secret(db, name)? {
        return Ok(kept);
    }
    let sum = secret_sum(name, &candidate).done();
    db.prepare_cached("INSERT INTO secret (name, value, sum) VALUES (?, ?, ?)")
        .and_then(|mut insert| insert.execute((name, &candidate, sum)))
        .map_err(failed)?;
    Ok(candidate)
}

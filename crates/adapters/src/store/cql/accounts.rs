//! Built-in accounts and what all nodes share.

use std::sync::Arc;

use hubbub_core::ids::Millis;
use hubbub_core::ports::accounts::{AccountRow, AccountStoreError, Secret};
use hubbub_core::ports::store::Stored;
use scylla::value::CqlValue;

use super::failure::{damaged, from_cql, to_cql, unavailable};
use super::lists::user_id;
use super::{Db, lwt};

/// Keeps a new account. First its id is taken, then its address; whoever comes second to either gives the other back. A try whose
/// answer was lost can be made again: what it took is known by its content.
pub(super) async fn insert(db: &Db, account: AccountRow) -> Result<(), AccountStoreError> {
    let (id, email) = (account.id.as_str(), account.email.as_str());
    let taken = lwt::run(&db.session, &db.statements.take_account_id, (id, email)).await?;
    if !taken.applied && text(taken.found("email")) != Some(email) {
        return Err(AccountStoreError::Taken);
    }
    let created_at = to_cql(account.created_at.0)?;
    let row = (email, id, &*account.name, account.password_hash.reveal(), created_at);
    let put = lwt::run(&db.session, &db.statements.put_account, row).await?;
    if put.applied || text(put.found("id")) == Some(id) {
        return Ok(());
    }
    lwt::run(&db.session, &db.statements.give_account_id_back, (id, email)).await?;
    Err(AccountStoreError::Taken)
}

fn text(value: Option<&CqlValue>) -> Option<&str> {
    value.and_then(CqlValue::as_text).map(String::as_str)
}

/// The account of an address.
pub(super) async fn by_email(db: &Db, email: String) -> Stored<Option<AccountRow>> {
    // CQL takes no empty key.
    if email.is_empty() {
        return Ok(None);
    }
    let result = db.session.execute_unpaged(&db.statements.account, (&email,)).await;
    let rows = result.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let row = rows.maybe_first_row::<(String, String, String, i64)>().map_err(damaged)?;
    let Some((id, name, hash, created_at)) = row else { return Ok(None) };
    Ok(Some(AccountRow {
        id: user_id(&id)?,
        name: Arc::from(name),
        email,
        password_hash: Secret::new(hash),
        created_at: Millis(from_cql(created_at)?),
    }))
}

/// What is kept by that name: `candidate` if there was nothing.
pub(super) async fn shared(db: &Db, name: &str, candidate: Vec<u8>) -> Stored<Vec<u8>> {
    if let Some(kept) = kept(db, name).await? {
        return Ok(kept);
    }
    let put = lwt::run(&db.session, &db.statements.put_shared, (name, &candidate)).await?;
    match put.found("value") {
        Some(CqlValue::Blob(kept)) if !put.applied => Ok(kept.clone()),
        _ if put.applied => Ok(candidate),
        _ => Err(damaged(format_args!("what is shared as {name} has no value"))),
    }
}

/// What is kept by that name, if anything.
pub(super) async fn kept(db: &Db, name: &str) -> Stored<Option<Vec<u8>>> {
    let result = db.session.execute_unpaged(&db.statements.shared, (name,)).await;
    let rows = result.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let row = rows.maybe_first_row::<(Vec<u8>,)>().map_err(damaged)?;
    Ok(row.map(|(kept,)| kept))
}

//! What SQLite's errors, and rows that are not as they were written, are to the port.

use std::fmt::Display;

use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::{Error, ErrorCode};

/// What went wrong in SQLite, as the port says it.
///
/// All statements are our own and fixed, so one that SQLite does not understand, or a column of another type, means
/// that the file is not as we wrote it.
pub(super) fn failed(error: Error) -> StoreError {
    let damage = match &error {
        Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::SqlInputError { .. }
        | Error::Utf8Error(..) => true,
        _ => false,
    };
    match damage {
        true => damaged(error),
        false => unavailable(error),
    }
}

/// Stored bytes are not what was written.
pub(super) fn damaged(what: impl Display) -> StoreError {
    StoreError::Damaged { what: what.to_string() }
}

/// Not now; unknown whether it was done.
pub(super) fn unavailable(inside: impl Display) -> StoreError {
    StoreError::Unavailable { inside: inside.to_string() }
}

/// A number as SQLite keeps it, which knows no unsigned ones.
pub(super) fn to_sql(number: u64) -> Stored<i64> {
    i64::try_from(number).map_err(|_| unavailable(format_args!("{number} is beyond what can be stored")))
}

/// A number as it was before [`to_sql`].
pub(super) fn from_sql(number: i64) -> Stored<u64> {
    u64::try_from(number).map_err(|_| damaged(format_args!("{number} where no negative number can be")))
}

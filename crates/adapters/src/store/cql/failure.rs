//! What the driver's errors, and rows that are not as they were written, are to the port; and why a database can't be had as a store.

use std::fmt::Display;

use hubbub_core::ports::store::{StoreError, Stored};

/// Why a database can't be had as this node's store: one line for whoever starts the process.
#[derive(Debug, thiserror::Error)]
pub enum CqlOpenError {
    /// A setting is missing, or names what is not ours. The sentence says which.
    #[error("{0}")]
    Setting(String),
    /// A later version of hubbub wrote to it.
    #[error("the keyspace has layout {found}; this hubbub knows up to {known}")]
    Newer {
        /// The layout that is there.
        found: u32,
        /// The last of ours.
        known: u32,
    },
    /// As of a read or a write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Not now; unknown whether it was done.
pub(super) fn unavailable(inside: impl Display) -> StoreError {
    StoreError::Unavailable { inside: inside.to_string() }
}

/// Stored bytes are not what was written.
pub(super) fn damaged(what: impl Display) -> StoreError {
    StoreError::Damaged { what: what.to_string() }
}

/// A number as CQL keeps it, which knows no unsigned ones.
pub(super) fn to_cql(number: u64) -> Stored<i64> {
    i64::try_from(number).map_err(|_| unavailable(format_args!("{number} is beyond what can be stored")))
}

/// A number as it was before [`to_cql`].
pub(super) fn from_cql(number: i64) -> Stored<u64> {
    u64::try_from(number).map_err(|_| damaged(format_args!("{number} where no negative number can be")))
}

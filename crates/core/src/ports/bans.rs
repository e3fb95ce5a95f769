//! `Bans`: who may not use this server at all, kept beside the logs so that every node and every start knows it.
//!
//! # The contract
//! - An `Ok` of a write means *durable*, and a read that begins after it sees it.
//! - A user has at most one ban: a later one takes the place of the one before.
//! - Lifting a ban that is not there is no error, and may be repeated.
//! - [`Bans::bans`] is whole or an error: a ban that can't be read is never left out.

use crate::ids::{Millis, UserId};
use crate::ports::PortFuture;
use crate::ports::store::Stored;

/// Longest reason of a ban, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// A user who may not use this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who: by id, whichever service the account is of.
    pub user: UserId,
    /// When it was said.
    pub at: Millis,
    /// The name of the credential that said it.
    pub by: String,
    /// Why, for those who look at it later; empty if nobody said. Up to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
}

/// Where bans are kept. See the [module](self) for what it promises.
pub trait Bans: Send + Sync + 'static {
    /// Keeps a ban.
    fn put_ban(&self, ban: Ban) -> PortFuture<'_, Stored<()>>;

    /// Lifts the ban of a user.
    fn lift_ban(&self, user: UserId) -> PortFuture<'_, Stored<()>>;

    /// All bans, by ascending user.
    fn bans(&self) -> PortFuture<'_, Stored<Vec<Ban>>>;
}

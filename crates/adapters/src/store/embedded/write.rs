//! What the writer thread is asked for, and how it is done inside a transaction.

use bytes::Bytes;
use hubbub_core::ids::{Epoch, Partition, RoomId, Seq, UserId};
use hubbub_core::ports::accounts::{AccountRow, AccountStoreError};
use hubbub_core::ports::bans::Ban;
use hubbub_core::ports::revocations::Revocation;
use hubbub_core::ports::store::{Appended, Projection, Segment, StoreError, Stored, Trim};
use tokio::sync::oneshot;

/// Where an answer goes. Whoever asked may have gone.
pub(super) type Reply<T> = oneshot::Sender<Stored<T>>;

/// Entries of one room and epoch, encoded.
pub(super) struct NewEntries {
    pub(super) room: RoomId,
    pub(super) epoch: Epoch,
    pub(super) entries: Vec<(Seq, Bytes)>,
}

/// A write on its way to the writer thread.
pub(super) enum Write {
    Append(NewEntries, Appended),
    Segment(RoomId, Segment, Reply<()>),
    /// What is left of entries that are to be erased.
    Erase(NewEntries, Reply<()>),
    Trim(Trim, Reply<Seq>),
    Project(Box<Projection>, Reply<()>),
    Claim(Partition, Reply<Epoch>),
    Account(Box<AccountRow>, oneshot::Sender<Result<(), AccountStoreError>>),
    Secret(&'static str, Vec<u8>, Reply<Vec<u8>>),
    Revocation(Revocation, Reply<()>),
    Ban(Box<Ban>, Reply<()>),
    LiftBan(UserId, Reply<()>),
    /// Only shows whether a commit succeeds.
    Probe(Reply<()>),
}

impl Write {
    /// About how much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match self {
                Self::Append(new, _) | Self::Erase(new, _) => {
                    new.entries.iter().map(|(_, bytes)| bytes.len() + 48).sum()
                }
                Self::Project(projection, _) => projection.members.len() * 192,
                Self::Account(..) | Self::Segment(..) | Self::Claim(..) | Self::Probe(_) => 0,
                Self::Ban(..) | Self::LiftBan(..) | Self::Revocation(..) => 0,
                Self::Trim(trim, _) => trim.epochs.len() * 8,
                Self::Secret(_, candidate, _) => candidate.len(),
            }
    }

    /// Answers that it was not done, or that nobody knows.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Append(_, appended) => appended.tell(Err(error)),
            Self::Erase(_, reply)
            | Self::Segment(_, _, reply)
            | Self::Project(_, reply)
            | Self::Ban(_, reply)
            | Self::LiftBan(_, reply)
            | Self::Revocation(_, reply)
            | Self::Probe(reply) => _ = reply.send(Err(error)),
            Self::Claim(_, reply) => _ = reply.send(Err(error)),
            Self::Trim(_, reply) => _ = reply.send(Err(error)),
            Self::Account(_, reply) => _ = reply.send(Err(error.into())),
            Self::Secret(_, _, reply) => _ = reply.send(Err(error)),
        }
    }
}

/// An answer that waits for the commit that it rests on.
pub(super) enum Held {
    Appended(Appended, Stored<()>),
    Done(Reply<()>, Stored<()>),
    Claimed(Partition, Reply<Epoch>, Stored<Epoch>),
    Trimmed(Reply<Seq>, Stored<Seq>),
    Account(oneshot::Sender<Result<(), AccountStoreError>>, Result<(), AccountStoreError>),
    Secret(Reply<Vec<u8>>, Stored<Vec<u8>>),
}

impl Held {
    /// Why it was not done, if the store is why.
    pub(super) fn failure(&self) -> Option<StoreError> {
        match self {
            Self::Appended(_, Err(error))
            | Self::Done(_, Err(error))
            | Self::Claimed(_, _, Err(error))
            | Self::Trimmed(_, Err(error))
            | Self::Secret(_, Err(error)) => Some(error.clone()),
            Self::Account(_, Err(AccountStoreError::Store(error))) => Some(error.clone()),
            _ => None,
        }
    }

    /// Gives the answer, or says that the commit failed.
    pub(super) fn answer(self, committed: &Stored<()>) {
        match self {
            Self::Appended(appended, result) => appended.tell(committed.clone().and(result)),
            Self::Done(reply, result) => _ = reply.send(committed.clone().and(result)),
            Self::Claimed(_, reply, result) => _ = reply.send(committed.clone().and(result)),
            Self::Trimmed(reply, result) => _ = reply.send(committed.clone().and(result)),
            Self::Account(reply, result) => {
                _ = reply.send(committed.clone().map_err(AccountStoreError::Store).and(result));
            }
            Self::Secret(reply, result) => _ = reply.send(committed.clone().and(result)),
        }
    }
}

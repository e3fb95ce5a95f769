//! `Leases`: who *should* write a partition. Only liveness rests on it: that two nodes believe in a lease at
//! once is allowed, and the store's fence makes it harmless.
//!
//! # The contract
//! - A lease is a cell with a revision; every change gives it a higher one, never one it had before.
//! - [`Leases::take`] and [`Leases::renew`] are compare-and-set: of two that name the same revision at most one succeeds.
//! - An `Unavailable` means *unknown*; read again.
//! - Whether a lease has run out is for the reader to say: it has, when its revision did not change for a
//!   time-to-live on the reader's own clock. Nobody compares clocks.

use crate::ids::{NodeId, Partition};
use crate::ports::PortFuture;

/// A number that a lease's cell gets with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// A lease as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it; `None` after a release.
    pub holder: Option<NodeId>,
    /// The cell's revision.
    pub revision: Revision,
}

/// Why a lease was not taken, renewed or released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The cell has another revision than was named: somebody was quicker.
    #[error("the lease changed meanwhile")]
    Changed,
    /// Not now, and whether it was done is unknown.
    #[error("leases are not available: {inside}")]
    Unavailable {
        /// What the product said.
        inside: String,
    },
}

/// The leases of the partitions.
pub trait Leases: Send + Sync + 'static {
    /// The lease as it is; `None` if it was never taken.
    fn read(&self, partition: Partition) -> PortFuture<'_, Result<Option<Lease>, LeaseError>>;

    /// Takes the lease if it is still as it was seen (`None`: never taken).
    fn take(
        &self,
        partition: Partition,
        node: NodeId,
        seen: Option<Revision>,
    ) -> PortFuture<'_, Result<Revision, LeaseError>>;

    /// Shows that the holder is alive: gives the cell a new revision if it still has the one named.
    fn renew(
        &self,
        partition: Partition,
        node: NodeId,
        held: Revision,
    ) -> PortFuture<'_, Result<Revision, LeaseError>>;

    /// Gives the lease back, so that the next holder need not wait for its time-to-live.
    fn release(&self, partition: Partition, held: Revision) -> PortFuture<'_, Result<(), LeaseError>>;
}

//! Leases inside one process: a map of cells.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hubbub_core::ids::{NodeId, Partition};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::leases::{Lease, LeaseError, Leases, Revision};

/// Leases for workers that live in one process.
#[derive(Default)]
pub struct LocalLeases {
    cells: Mutex<Cells>,
}

#[derive(Default)]
struct Cells {
    last: u64,
    by_partition: HashMap<Partition, Lease>,
}

impl LocalLeases {
    fn set(
        &self,
        partition: Partition,
        seen: Option<Revision>,
        holder: Option<NodeId>,
    ) -> PortFuture<'static, Result<Revision, LeaseError>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let now = cells.by_partition.get(&partition).map(|lease| lease.revision);
        let result = if now == seen {
            cells.last += 1;
            let revision = Revision(cells.last);
            cells.by_partition.insert(partition, Lease { holder, revision });
            Ok(revision)
        } else {
            Err(LeaseError::Changed)
        };
        Box::pin(std::future::ready(result))
    }
}

impl Leases for LocalLeases {
    fn read(&self, partition: Partition) -> PortFuture<'_, Result<Option<Lease>, LeaseError>> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(Ok(cells.by_partition.get(&partition).cloned())))
    }

    fn take(
        &self,
        partition: Partition,
        node: NodeId,
        seen: Option<Revision>,
    ) -> PortFuture<'_, Result<Revision, LeaseError>> {
        self.set(partition, seen, Some(node))
    }

    fn renew(
        &self,
        partition: Partition,
        node: NodeId,
        held: Revision,
    ) -> PortFuture<'_, Result<Revision, LeaseError>> {
        self.set(partition, Some(held), Some(node))
    }

    fn release(&self, partition: Partition, held: Revision) -> PortFuture<'_, Result<(), LeaseError>> {
        let released = self.set(partition, Some(held), None);
        Box::pin(async move { released.await.map(|_| ()) })
    }
}

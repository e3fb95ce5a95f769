//! The room-worker: the only writer of the rooms of the partitions that it holds.
//!
//! In reading order: which partitions it has ([`placement`], `holding`, `lease`); the `partition`'s loop, which owns the state of their
//! rooms, and which of them are in `memory`; the `inbox` it takes asks from; a room's `slot` in memory, from the ask to
//! the batch; the `steps` from there on, by which a batch gets into the log (`append`), to readers and askers
//! (`commit`, `voice`, `tail`, `heads`) and to the lists (`projecting`); what operators order of a log (`orders`: `erasing`, `trimming`); what of it is `traced`; a room's first touch in an epoch (`recovery`);
//! and a room that is written without all this ([`offline`]).
//!
//! # What an answer waits for
//! ```text
//! ask → decide → [append → durable] → a fence read that began after that → publish → [project] → answer
//! ```
//! Each step takes all that waits for it, of all rooms at once; a room has one append in flight, a partition one
//! fence read. A holder that finds itself fenced stops there: it has told nobody anything that rests on that step.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hubbub_core::ports::bus::Bus;
use hubbub_core::ports::leases::Leases;
use hubbub_core::ports::store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod append;
mod commit;
pub mod config;
mod erasing;
mod error;
mod gathered;
mod heads;
mod holding;
mod inbox;
mod lease;
mod memory;
mod metrics;
pub mod offline;
mod orders;
mod partition;
pub mod placement;
mod projecting;
mod recovery;
mod retry;
mod slot;
mod steps;
mod tail;
mod traced;
mod trimming;
mod voice;

pub use config::Config;
pub use error::OpenError;

/// What the worker needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Where asks come from, answers and events go to.
    pub bus: Arc<dyn Bus>,
    /// Where the logs live.
    pub store: Arc<dyn Store>,
    /// Who should write what.
    pub leases: Arc<dyn Leases>,
}

/// What all parts of a worker share.
pub(crate) struct Tier {
    ports: Ports,
    config: Config,
    /// About how many bytes the rooms in memory take, of all partitions.
    rooms_bytes: AtomicUsize,
}

/// How long a partition rests whose task ended by a defect.
const REST: Duration = Duration::from_secs(1);

/// Serves the rooms of all partitions, each as soon as its lease can be had, until `shutdown`. Then it takes no more, finishes
/// what is in flight within [`Config::drain_max`], brings the lists up to the logs, gives the leases back and returns.
///
/// # Cancel safety
/// Dropped, it is as a worker that was killed: what was asked of it is unknown to the askers, and its leases run out.
pub async fn serve(ports: Ports, config: Config, shutdown: CancellationToken) {
    metrics::describe();
    let partitions = config.partitions;
    ::metrics::gauge!(metrics::PARTITIONS).set(partitions.count());
    let tier = Arc::new(Tier { ports, config, rooms_bytes: AtomicUsize::new(0) });
    let mut tasks = JoinSet::new();
    let mut by_task = HashMap::new();
    let (sweep, ends) = (trimming::sweep(tier.clone()), shutdown.clone());
    tasks.spawn(async move { ends.run_until_cancelled(sweep).await.unwrap_or(()) });
    for partition in partitions.all() {
        let task = tasks.spawn(holding::hold(tier.clone(), partition, shutdown.clone()));
        by_task.insert(task.id(), partition);
    }
    while let Some(ended) = tasks.join_next().await {
        let Err(defect) = ended else { continue };
        let Some(partition) = by_task.remove(&defect.id()) else {
            tracing::error!(%defect, "what trims logs ended by a defect; it begins anew with this process");
            continue;
        };
        tracing::error!(%partition, %defect, "a partition's task ended by a defect and is begun anew");
        let (tier, shutdown) = (tier.clone(), shutdown.clone());
        let task = tasks.spawn(async move {
            tokio::time::sleep(REST).await;
            holding::hold(tier, partition, shutdown).await;
        });
        by_task.insert(task.id(), partition);
    }
}

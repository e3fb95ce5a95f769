//! The history service: reads for those who were not there. Stateless, any number of them.
//!
//! In reading order: a page of a log (`replay`), made of blocks that never change (`blocks`), which are read once for
//! many (`coalesce`) and kept (`page_cache`); up to where a log may be read (`holder`); the lists (`members`, `directory`).

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{NodeId, Partitions};
use hubbub_core::ports::bus::{Bus, Message, Payload, Reply, Server, Subject, Subscription};
use hubbub_core::ports::store::Store;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Query};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

mod blocks;
mod coalesce;
mod directory;
mod error;
mod holder;
mod members;
mod metrics;
mod page_cache;
mod replay;

use error::Failure;
use holder::Holders;

/// The service's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many partitions there are: the holder of a room is found by it.
    pub partitions: Partitions,
    /// The node that it is to gateways, if it is one of several.
    pub node: Option<NodeId>,
    /// Most reads at a time.
    pub reads_max: usize,
    /// Most reads that wait for their turn, about half a KiB each. Above it a read is answered `unavailable` at once. All who were
    /// at a gateway that died come to the others within a second, and each asks which rooms are theirs. As many again may wait for
    /// rooms' holders, those of one partition for half as many.
    pub queue_max: usize,
    /// After what time a read is given up.
    pub timeout: Duration,
    /// Bytes of log that are kept in memory.
    pub cache_bytes_max: usize,
}

impl Config {
    /// The defaults, for so many partitions.
    pub fn new(partitions: Partitions) -> Self {
        Self {
            partitions,
            node: None,
            reads_max: 64,
            queue_max: 16_384,
            timeout: Duration::from_secs(5),
            cache_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// What the reads share.
struct Tier {
    store: Arc<dyn Store>,
    config: Config,
    blocks: blocks::Blocks,
    holders: Arc<Holders>,
}

/// A read's turn at the store.
struct Turn {
    reads: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Lets another read have it while something else is waited for, and comes back for what was found.
    async fn lent<T>(&mut self, wait: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.permit = None;
        let found = wait.await?;
        // It is never closed.
        self.permit = self.reads.clone().acquire_owned().await.ok();
        Ok(found)
    }
}

/// A read on its way, and when it is given up.
struct Asked {
    payload: Payload,
    reply: Reply,
    until: Instant,
    in_flight: metrics::InFlight,
}

/// Serves reads until `shutdown`; then takes no more, finishes those in flight and returns.
///
/// # Cancel safety
/// Dropped, the reads in flight are not answered.
pub async fn serve(bus: Arc<dyn Bus>, store: Arc<dyn Store>, config: Config, shutdown: CancellationToken) {
    metrics::describe();
    let (queue, mut asked) = mpsc::channel(config.queue_max.max(1));
    let timeout = config.timeout;
    let server = Arc::new(move |Message { payload, .. }, reply| {
        let (until, in_flight) = (Instant::now() + timeout, metrics::InFlight::new());
        let asked = Asked { payload, reply, until, in_flight };
        if let Err(mpsc::error::TrySendError::Full(asked) | mpsc::error::TrySendError::Closed(asked)) =
            queue.try_send(asked)
        {
            metrics::count("full");
            asked.reply.send(Payload::whole(Found::Unavailable));
        }
    });
    let listen = listen(&*bus, &config, server);
    let Some(serving) = shutdown.run_until_cancelled(listen).await else { return };
    let reads = Arc::new(Semaphore::new(config.reads_max.max(1)));
    let blocks = blocks::Blocks::new(store.clone(), config.cache_bytes_max);
    let holders = Holders::new(bus, config.partitions, config.queue_max.max(1));
    let tier = Arc::new(Tier { store, config, blocks, holders });
    let mut running = JoinSet::new();
    let mut take = async |running: &mut JoinSet<()>| {
        // A permit first: what can't be read yet waits in the bounded queue.
        let permit = Some(reads.clone().acquire_owned().await.ok()?);
        let asked = asked.recv().await?;
        while running.try_join_next().is_some() {}
        running.spawn(answer(tier.clone(), asked, Turn { reads: reads.clone(), permit }));
        Some(())
    };
    while let Some(Some(())) = shutdown.run_until_cancelled(take(&mut running)).await {}
    drop(serving);
    asked.close();
    while let Ok(left) = asked.try_recv() {
        left.reply.send(Payload::whole(Found::Unavailable));
    }
    while running.join_next().await.is_some() {}
}

async fn listen(bus: &dyn Bus, config: &Config, server: Server) -> Vec<Subscription> {
    let mut serving = Vec::new();
    for subject in [Some(Subject::Query), config.node.clone().map(Subject::Node)].into_iter().flatten() {
        loop {
            match bus.serve(subject.clone(), server.clone()).await {
                Ok(served) => break serving.push(served),
                Err(error) => tracing::warn!(%error, "can't serve reads yet"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    serving
}

async fn answer(tier: Arc<Tier>, asked: Asked, mut turn: Turn) {
    let Asked { payload, reply, until, in_flight } = asked;
    let found = match timeout_at(until, find(&tier, payload, until, &mut turn)).await {
        Ok(found) => found,
        Err(_) => Err(Failure::TooSlow),
    };
    let payload = found.unwrap_or_else(|failure| {
        failure.log();
        Payload::whole(failure.told())
    });
    reply.send(payload);
    drop(in_flight);
}

async fn find(
    tier: &Tier,
    mut payload: Payload,
    until: Instant,
    turn: &mut Turn,
) -> Result<Payload, Failure> {
    let query: Query = parcel::header(&mut payload)?;
    let store = &*tier.store;
    let whole = |found: Found| Payload::whole(found);
    let (what, found) = match query {
        Query::Replay(replay) => ("replay", replay::page(tier, replay, until, turn).await?),
        Query::Members { room, after, limit } => {
            ("members", whole(members::of_room(store, room, after, limit).await?))
        }
        Query::RoomsOf { user } => ("rooms_of", whole(members::rooms_of(store, user).await?)),
        Query::RoomsEverOf { user, after, limit } => {
            ("rooms_ever_of", whole(members::rooms_ever_of(store, user, after, limit).await?))
        }
        Query::Facts => {
            let (log, partitions) = (store.log_id(), tier.config.partitions.count());
            ("facts", whole(Found::Facts { log, partitions }))
        }
        Query::Directory { cursor, limit } => {
            ("directory", whole(directory::page(store, cursor, limit).await?))
        }
    };
    metrics::count(what);
    Ok(found)
}

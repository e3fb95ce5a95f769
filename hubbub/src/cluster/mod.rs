//! The tiers of a cluster, each a process of its own, over NATS and a database that speaks CQL.
//!
//! Every one listens first (`door`), so that it can be asked how it is from its first moment; then it waits for what it can't work without
//! ([`Node::reach`]), and from then on keeps looking at it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use hubbub_adapters::bus::NatsBus;
use hubbub_adapters::store::{CqlOptions, CqlStore};
use hubbub_core::ids::{LogId, NodeId, Partitions};
use hubbub_core::ports::bus::{Bus, BusError, Subject};
use hubbub_core::ports::store::{Store, StoreError};
use hubbub_node::agent::{Agent, Insight};
use hubbub_node::health::{Condition, Health};
use hubbub_node::telemetry::Metrics;
use hubbub_wire::tier::agent::Role;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Query};
use tokio_util::sync::CancellationToken;

use crate::process::WrongSettings;
use crate::settings::{Database, Nats, SchemaSettings};

pub mod bot_bridge;
pub(crate) mod door;
pub mod gateway;
pub mod history_service;
pub mod room_worker;

/// How many partitions a new cluster has that was told nothing: enough for as many workers, few enough that each gathers.
const PARTITIONS: u16 = 32;
/// How often the database is asked whether it can be written to.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How old the last good answer of the database may be for a node that is fit for its work.
const FIT_MAX: Duration = Duration::from_secs(3);
/// How long a history service may take to say what is fixed, and the pause before it is asked again.
const FACTS_MAX: Duration = Duration::from_secs(2);
const FACTS_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked again where it keeps its rooms when no answer came: a history service that hangs gets its part of what is asked.
const COMPARED_AGAIN_MAX: u32 = 3;
/// How long it is asked again when it keeps them elsewhere: after `hubbub restored` a process from before ends when it sees that, and it may be
/// a while until it has reached the database again.
const STRAY_MAX: Duration = Duration::from_secs(15);
const STRAY_EVERY: Duration = Duration::from_secs(1);
/// Pause between two tries to agree on what is fixed.
const AGREE_EVERY: Duration = Duration::from_millis(500);

/// What a process of a cluster has before it has reached anything.
struct Node {
    id: NodeId,
    role: Role,
    metrics: Arc<Metrics>,
    health: Health,
    nats: Condition,
    database: Condition,
    serving: Condition,
}

/// What it has after that.
struct Reached {
    bus: Arc<NatsBus>,
    store: Arc<CqlStore>,
    /// When the database was last well.
    well: Mutex<Option<Instant>>,
}

impl Node {
    /// A process that will be able to [`reach`](Self::reach) what it stands on, as far as its settings go.
    fn new(role: Role, metrics: Metrics, settings: &(impl Nats + Database)) -> anyhow::Result<Self> {
        // Another one at every start.
        let id = NodeId::parse(&uuid::Uuid::now_v7().simple().to_string())?;
        settings.nats(role.as_str(), &id)?;
        settings.database()?;
        let health = Health::default();
        Ok(Self {
            id,
            role,
            metrics: Arc::new(metrics),
            nats: health.condition("nats", "not connected yet"),
            database: health.condition("database", "not connected yet"),
            serving: health.condition("serving", "not yet"),
            health,
        })
    }

    /// Connects to NATS and the database, however long it takes.
    async fn reach(&self, settings: &(impl Nats + Database)) -> anyhow::Result<Arc<Reached>> {
        let bus = async {
            let bus = NatsBus::connect(&settings.nats(self.role.as_str(), &self.id)?).await?;
            self.nats.is_met();
            anyhow::Ok(bus)
        };
        let store = async {
            let store = CqlStore::open(&settings.database()?).await?;
            self.database.is_met();
            anyhow::Ok(store)
        };
        // Boxed: they are large, and there is one of each.
        let (bus, store) = tokio::try_join!(Box::pin(bus), Box::pin(store))?;
        compare_stores(&bus, store.log_id(), &settings.database()?).await?;
        let (bus, store) = (Arc::new(bus), Arc::new(store));
        tracing::info!(node = %self.id, tier = self.role.as_str(), "reached NATS and the database");
        Ok(Arc::new(Reached { bus, store, well: Mutex::new(Some(Instant::now())) }))
    }

    /// Does a tier's work, and shows the process to operators until that is done.
    async fn shown<T>(
        &self,
        reached: &Reached,
        (address, insight): (String, Option<Insight>),
        shutdown: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        let agent = Agent {
            node: self.id.clone(),
            role: self.role,
            address,
            health: self.health.clone(),
            shutdown: shutdown.clone(),
            insight,
        };
        let end = CancellationToken::new();
        let agent = agent.work(reached.bus.clone(), end.clone());
        let work = async {
            let done = work.await;
            end.cancel();
            done
        };
        let (done, shown) = tokio::join!(work, agent);
        shown?;
        // Without its last words it would be shown as silent for a while.
        if let Err(error) = reached.bus.reach_server().await {
            tracing::warn!(%error, "the others were not told that this process ends");
        }
        Ok(done)
    }

    /// Keeps readiness and metrics up to date, as long as the log is the one that the process began with. Then it says why the
    /// process has to end, and at once: what it would still write and tell is another log's.
    async fn watch(&self, reached: &Reached, shutdown: &CancellationToken) -> anyhow::Error {
        loop {
            match reached.look_at_log().await {
                Ok(log) if log != reached.store.log_id() => {
                    return anyhow::anyhow!(
                        "the database was restored (hubbub restored), and this process knows its log by the id from before: \
                         it ends; start it again"
                    );
                }
                Ok(_) => {
                    *reached.lock_well() = Some(Instant::now());
                    if self.database.is_met() {
                        tracing::info!("the database is there again");
                    }
                }
                Err(error) => {
                    if self.database.is_not_met(&error.to_string()) {
                        tracing::error!(%error, "the database is away");
                    }
                }
            }
            match reached.bus.is_connected() {
                true if self.nats.is_met() => tracing::info!("NATS is there again"),
                false if self.nats.is_not_met("not connected") => tracing::error!("NATS is away"),
                _ => {}
            }
            self.metrics.run_upkeep();
            let pause = tokio::time::sleep(CHECK_EVERY);
            if shutdown.is_cancelled() {
                pause.await;
            } else if shutdown.run_until_cancelled(pause).await.is_none() {
                self.serving.is_not_met("the process is draining");
            }
        }
    }
}

impl Reached {
    /// Which log the database has, if it can be written to.
    async fn look_at_log(&self) -> Result<LogId, StoreError> {
        self.store.check().await?;
        self.store.current_log().await
    }

    /// Whether the database was well of late.
    fn is_fit(&self) -> bool {
        self.lock_well().is_some_and(|well| well.elapsed() < FIT_MAX)
    }

    fn lock_well(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.well.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That the cluster's rooms are read from the store that this process was told of, if anybody reads them yet. A process with another one
/// would hold partitions and take messages, which nobody would find again.
async fn compare_stores(bus: &NatsBus, ours: LogId, options: &CqlOptions) -> anyhow::Result<()> {
    let (mut attempts, mut stray_since) = (0, None);
    loop {
        let question = parcel::pack(&Query::Facts);
        let answer = match bus.request(&Subject::Query, question.into(), FACTS_MAX).await {
            Ok(mut answer) => parcel::header(&mut answer),
            // Who was asked hangs, and the next one may be another.
            Err(BusError::TimedOut) if attempts < COMPARED_AGAIN_MAX => {
                attempts += 1;
                continue;
            }
            // It has ended.
            Err(BusError::NoResponders) => return Ok(()),
            Err(_) if stray_since.is_none() => return Ok(()),
            Err(error) => {
                anyhow::bail!(
                    "a history service of this cluster keeps its rooms in another store, and then: {error}"
                )
            }
        };
        if !matches!(answer, Ok(Found::Facts { log, .. }) if log != ours) {
            return Ok(());
        }
        let since = *stray_since.get_or_insert_with(|| {
            tracing::warn!("a history service of this cluster keeps its rooms in another store: waits for it to end, if it is from before a restore");
            Instant::now()
        });
        if since.elapsed() >= STRAY_MAX {
            break;
        }
        tokio::time::sleep(STRAY_EVERY).await;
    }
    Err(WrongSettings(format!(
        "the cluster {:?} on this NATS keeps its rooms in another store than the keyspace {} of the database at {}: \
         --cql (CQL_NODES) or --cql-keyspace (CQL_KEYSPACE) is another one's, or --cluster (CLUSTER) or --nats (NATS_URL) is; \
         after hubbub restored all processes of the cluster have to be stopped before the first is started",
        options.cluster,
        options.keyspace,
        options.nodes.join(","),
    ))
    .into())
}

/// How many partitions this cluster has: as the store says, which refuses whoever was told another number.
pub(crate) async fn agreed_partitions(store: &dyn Store, told: Option<u64>) -> anyhow::Result<Partitions> {
    let candidate = told.map_or(Ok(PARTITIONS), u16::try_from)?;
    let candidate = Partitions::new(candidate).context("at least one partition")?;
    let kept = loop {
        match store.partitions(candidate).await {
            Ok(kept) => break kept,
            Err(error @ StoreError::Damaged { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "waits for the database to say how many partitions there are")
            }
        }
        tokio::time::sleep(AGREE_EVERY).await;
    };
    if told.is_some() && kept != candidate {
        return Err(WrongSettings(format!(
            "this cluster's rooms are divided into {} partitions and that can't be changed, but this node was told {}; \
             start it with --partitions {}, or without",
            kept.count(),
            candidate.count(),
            kept.count(),
        ))
        .into());
    }
    Ok(kept)
}

/// How many partitions there are, as a history service knows it from the store.
async fn partitions(bus: &dyn Bus) -> anyhow::Result<Partitions> {
    for attempt in 0.. {
        let question = parcel::pack(&Query::Facts);
        match bus.request(&Subject::Query, question.into(), FACTS_MAX).await {
            Ok(mut answer) => {
                if let Found::Facts { partitions, .. } = parcel::header(&mut answer)? {
                    return Partitions::new(partitions).context("a cluster of no partitions");
                }
            }
            Err(error) if attempt % 20 == 0 => tracing::warn!(%error, "waits for a history service"),
            Err(_) => {}
        }
        tokio::time::sleep(FACTS_EVERY).await;
    }
    unreachable!("the loop ends by an answer")
}

/// `hubbub schema`: makes the tables where they are not there.
///
/// # Errors
/// When what is there is another cluster's, or of another layout.
pub async fn schema(
    settings: SchemaSettings,
    _metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let options = settings.database()?;
    match shutdown.run_until_cancelled(CqlStore::open(&options)).await {
        Some(store) => _ = store?,
        None => anyhow::bail!("stopped before its end; run it again"),
    }
    tracing::info!(keyspace = options.keyspace, "the tables are there");
    Ok(())
}

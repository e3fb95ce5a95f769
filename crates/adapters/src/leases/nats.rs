//! Leases in a key-value bucket of JetStream: a key a partition, changed by compare-and-set.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, UpdateErrorKind};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use hubbub_core::ids::{NodeId, Partition};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::leases::{Lease, LeaseError, Leases, Revision};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::bus::NatsBus;

/// How long one operation may take: below the time in which a lease has to be renewed.
const OPERATION_MAX: Duration = Duration::from_millis(900);

/// Leases that live as long as the data of NATS. If that is lost the bucket is made anew, and every holder finds that its lease
/// is gone: it claims again, and no clock or lease was trusted meanwhile.
pub struct NatsLeases {
    context: Context,
    bucket: String,
    replicas: usize,
    /// Whether the bucket was compared with that.
    compared: AtomicBool,
    /// Whether the last operation found it away, which is said once and not for each partition.
    away: AtomicBool,
    store: Mutex<Option<kv::Store>>,
}

/// A lease as it is kept.
#[derive(Serialize, Deserialize)]
struct Cell {
    holder: Option<NodeId>,
}

fn unavailable(error: impl ToString) -> LeaseError {
    LeaseError::Unavailable { inside: error.to_string() }
}

fn key(partition: Partition) -> String {
    partition.to_string()
}

fn cell(holder: Option<NodeId>) -> Result<Bytes, LeaseError> {
    serde_json::to_vec(&Cell { holder }).map(Bytes::from).map_err(unavailable)
}

impl NatsLeases {
    /// The leases beside a bus. The bucket is made when it is first needed.
    pub fn new(bus: &NatsBus) -> Self {
        let (client, prefix, replicas) = bus.parts();
        let mut context = jetstream::new(client);
        context.set_timeout(OPERATION_MAX);
        let bucket = format!("{prefix}_leases");
        Self {
            context,
            bucket,
            replicas,
            compared: AtomicBool::new(false),
            away: AtomicBool::new(false),
            store: Mutex::default(),
        }
    }

    async fn store(&self) -> Result<kv::Store, LeaseError> {
        let mut known = self.store.lock().await;
        if let Some(store) = &*known {
            return Ok(store.clone());
        }
        let store = match self.context.get_key_value(&self.bucket).await {
            Ok(store) => store,
            Err(_) => {
                let config = kv::Config {
                    bucket: self.bucket.clone(),
                    history: 1,
                    num_replicas: self.replicas,
                    ..kv::Config::default()
                };
                // Made by another at the same time with the same settings, it is there as well.
                self.context.create_key_value(config).await.map_err(unavailable)?
            }
        };
        *known = Some(store.clone());
        Ok(store)
    }

    /// Has a bucket that was there kept by as many servers as is said now. Once, and only by who holds leases: who reads them may
    /// not have been told how many. Leases do not wait for it.
    fn compare_replicas(&self, store: &kv::Store) {
        if self.compared.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut config = store.stream.cached_info().config.clone();
        let (before, wanted) = (config.num_replicas, self.replicas);
        if before == wanted {
            return;
        }
        config.num_replicas = wanted;
        let context = self.context.clone();
        tokio::spawn(async move {
            match context.update_stream(config).await {
                Ok(_) => tracing::info!(before, now = wanted, "servers of NATS that keep the leases"),
                Err(error) => tracing::warn!(
                    %error,
                    "{before} servers of NATS keep the leases, and it does not make that {wanted}, as --nats-replicas \
                     (NATS_REPLICAS) says; the next start tries it again"
                ),
            }
        });
    }

    /// Does it in time. After a failure the bucket is looked for again: it may be another one.
    async fn in_time<T>(
        &self,
        act: impl AsyncFnOnce(kv::Store) -> Result<T, LeaseError>,
    ) -> Result<T, LeaseError> {
        let done = tokio::time::timeout(OPERATION_MAX, async { act(self.store().await?).await }).await;
        let done = done.unwrap_or_else(|_| Err(unavailable("no answer in time")));
        match &done {
            Err(LeaseError::Unavailable { inside }) => {
                if !self.away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        inside,
                        "leases are not available; who holds some stays, and it is tried again"
                    );
                }
                *self.store.lock().await = None;
            }
            _ if self.away.swap(false, Ordering::Relaxed) => tracing::info!("leases are available again"),
            _ => {}
        }
        done
    }

    async fn change(
        &self,
        partition: Partition,
        holder: Option<NodeId>,
        seen: Revision,
    ) -> Result<Revision, LeaseError> {
        self.in_time(async |store| {
            self.compare_replicas(&store);
            let updated = store.update(key(partition), cell(holder)?, seen.0).await;
            updated.map(Revision).map_err(|error| match error.kind() {
                UpdateErrorKind::WrongLastRevision => LeaseError::Changed,
                _ => unavailable(error),
            })
        })
        .await
    }
}

impl Leases for NatsLeases {
    fn read(&self, partition: Partition) -> PortFuture<'_, Result<Option<Lease>, LeaseError>> {
        Box::pin(self.in_time(async move |store| {
            let Some(entry) = store.entry(key(partition)).await.map_err(unavailable)? else {
                return Ok(None);
            };
            let revision = Revision(entry.revision);
            if entry.operation != Operation::Put {
                return Ok(Some(Lease { holder: None, revision }));
            }
            let Cell { holder } = serde_json::from_slice(&entry.value).map_err(unavailable)?;
            Ok(Some(Lease { holder, revision }))
        }))
    }

    fn take(
        &self,
        partition: Partition,
        node: NodeId,
        seen: Option<Revision>,
    ) -> PortFuture<'_, Result<Revision, LeaseError>> {
        Box::pin(async move {
            if let Some(seen) = seen {
                return self.change(partition, Some(node), seen).await;
            }
            self.in_time(async |store| {
                self.compare_replicas(&store);
                let created = store.create(key(partition), cell(Some(node))?).await;
                created.map(Revision).map_err(|error| match error.kind() {
                    CreateErrorKind::AlreadyExists => LeaseError::Changed,
                    _ => unavailable(error),
                })
            })
            .await
        })
    }

    fn renew(
        &self,
        partition: Partition,
        node: NodeId,
        held: Revision,
    ) -> PortFuture<'_, Result<Revision, LeaseError>> {
        Box::pin(self.change(partition, Some(node), held))
    }

    fn release(&self, partition: Partition, held: Revision) -> PortFuture<'_, Result<(), LeaseError>> {
        Box::pin(async move { self.change(partition, None, held).await.map(drop) })
    }
}

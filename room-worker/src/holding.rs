//! Holding one partition: take its lease, claim its fence, serve it, start over when it is lost.

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::Partition;
use hubbub_core::ports::bus::{Subject, Subscription};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::inbox::Inbox;
use crate::lease::Fresh;
use crate::partition::{Ended, Writer};
use crate::retry::{PAUSES, until_done};
use crate::{Tier, lease, metrics};

/// How often a holder looks whether the partition is still for it.
const PLACEMENT_LOOK: Duration = Duration::from_millis(200);
/// How long giving a lease back may take: its time-to-live does the same.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// How long a hand-over may take to finish what is in flight: somebody else is ready to do it.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

/// What ends a holding in order.
struct End {
    /// The process ends.
    process: CancellationToken,
    /// That, or the partition is for another worker.
    holding: CancellationToken,
}

impl End {
    fn drain_max(&self, tier: &Tier) -> Duration {
        let most = tier.config.drain_max;
        if self.process.is_cancelled() { most } else { most.min(HAND_OVER_MAX) }
    }
}

/// Holds the partition as often as it can be had, until `shutdown`.
pub(crate) async fn hold(tier: Arc<Tier>, partition: Partition, shutdown: CancellationToken) {
    let config = &tier.config;
    loop {
        let Some(mut held) = shutdown.run_until_cancelled(lease::take(&tier, partition)).await else {
            return;
        };
        let end = End { process: shutdown.clone(), holding: shutdown.child_token() };
        let fresh = held.fresh();
        let ended = tokio::select! {
            ended = claim_and_serve(&tier, partition, fresh, &end) => ended,
            () = held.keep() => Ended::LeaseLost,
            () = cancel_when_for_another(&tier, partition, &end.holding) => Ended::LeaseLost,
        };
        match ended {
            Ended::ShutDown => {
                if timeout(RELEASE_MAX, held.release()).await.is_err() {
                    tracing::info!(%partition, "the lease was not given back in time; it will run out");
                }
                if shutdown.is_cancelled() {
                    return;
                }
                ::metrics::counter!(metrics::HANDED_OVER).increment(1);
                tracing::info!(%partition, "handed the partition over");
                continue;
            }
            Ended::LeaseLost => tracing::warn!(%partition, "lost the lease"),
            Ended::Fenced(by) => {
                ::metrics::counter!(metrics::FENCED).increment(1);
                tracing::warn!(%partition, %by, "fenced by a newer holder");
            }
        }
        // Somebody else is at it: let them show themselves in the lease.
        if shutdown.run_until_cancelled(sleep(config.lease_ttl / 10)).await.is_none() {
            return;
        }
    }
}

/// Ends the holding in order once the partition is for another worker. Never returns.
async fn cancel_when_for_another(tier: &Tier, partition: Partition, holding: &CancellationToken) {
    let config = &tier.config;
    while config.placement.is_for(&config.node, partition) {
        sleep(PLACEMENT_LOOK).await;
    }
    holding.cancel();
    std::future::pending().await
}

/// Serves the partition in a new epoch. Dropped, it is mute from that instant: what it still had to tell is `unavailable`.
async fn claim_and_serve(tier: &Arc<Tier>, partition: Partition, fresh: Fresh, end: &End) -> Ended {
    let store = &tier.ports.store;
    let claim = until_done("claim", || store.claim(partition));
    let Some(epoch) = end.holding.run_until_cancelled(claim).await else { return Ended::ShutDown };
    let inbox = Inbox::new(tier.config.inbox_asks_max, tier.config.inbox_bytes_max);
    let _closed = CloseOnDrop(inbox.clone());
    let listen = listen(tier, partition, &inbox);
    let Some(serving) = end.holding.run_until_cancelled(listen).await else { return Ended::ShutDown };
    tracing::info!(%partition, %epoch, "holds the partition");
    let _counted = Counted::new();
    let writer = Writer::new(tier.clone(), partition, epoch, (inbox.clone(), fresh));
    serve_until(writer, &inbox, serving, end).await
}

async fn serve_until(mut writer: Writer, inbox: &Inbox, serving: Subscription, end: &End) -> Ended {
    // The loop says itself when others have their turn: a budget would cut a batch in two.
    let serve = tokio::task::coop::unconstrained(writer.run());
    if let Some(ended) = end.holding.run_until_cancelled(serve).await {
        return ended;
    }
    drop(serving);
    inbox.close();
    let (drain_max, partition) = (end.drain_max(&writer.tier), writer.voice.partition);
    let drain = tokio::task::coop::unconstrained(writer.drain());
    match timeout(drain_max, drain).await {
        Ok(Some(fenced)) => fenced,
        Ok(None) => Ended::ShutDown,
        Err(_) => {
            let left = inbox.held();
            tracing::warn!(%partition, left, "ended with work in flight; what became of it is unknown to its askers");
            Ended::ShutDown
        }
    }
}

async fn listen(tier: &Arc<Tier>, partition: Partition, inbox: &Arc<Inbox>) -> Subscription {
    let mut backoff = PAUSES;
    loop {
        let inbox = inbox.clone();
        let server = Arc::new(move |message, reply| inbox.push(message, reply));
        match tier.ports.bus.serve(Subject::Act(partition), server).await {
            Ok(serving) => return serving,
            Err(error) => tracing::warn!(%partition, %error, "can't serve the partition yet"),
        }
        backoff.pause().await;
    }
}

/// Nothing that comes to an inbox nobody empties may wait there.
struct CloseOnDrop(Arc<Inbox>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        // Dropped, each is answered.
        self.0.take_all(&mut Vec::new());
    }
}

/// One partition held, as long as it is.
struct Counted;

impl Counted {
    fn new() -> Self {
        ::metrics::gauge!(metrics::PARTITIONS_HELD).increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::PARTITIONS_HELD).decrement(1);
    }
}

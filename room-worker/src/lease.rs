//! Taking a partition's lease, keeping it, giving it back. Only liveness rests on it.

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{NodeId, Partition};
use hubbub_core::ports::leases::{Lease, LeaseError, Leases, Revision};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::Tier;
use crate::placement::Placement;

/// Parts of a time-to-live: a holder renews at each third, a contender looks at each tenth.
const RENEWALS_A_TTL: u32 = 3;
const LOOKS_A_TTL: u32 = 10;

/// How often a contender looks at a lease that is to be its own: its holder is about to hand it over, or dead.
const LOOK_AT_HAND_OVER: Duration = Duration::from_millis(20);

/// When a lease was last found to be ours, or nobody could say. One that was paused may have a successor, who hears the same asks.
pub(crate) struct Fresh {
    looked_at: watch::Receiver<Instant>,
    /// Two thirds of a time-to-live: longer than a renewal may take, shorter than a contender waits, also for one without signs of life:
    /// those have to be missing for 2.5 s.
    max: Duration,
}

impl Fresh {
    /// Whether that was of late.
    pub(crate) fn is_fresh(&self) -> bool {
        self.looked_at.borrow().elapsed() < self.max
    }

    /// Waits until it is looked at again.
    pub(crate) async fn looked_at(&mut self) {
        if self.looked_at.changed().await.is_err() {
            // It is given up, and so will be whoever waits here.
            std::future::pending().await
        }
    }
}

/// A lease that this node has.
pub(crate) struct Held {
    leases: Arc<dyn Leases>,
    partition: Partition,
    node: NodeId,
    ttl: Duration,
    revision: Revision,
    looked_at: watch::Sender<Instant>,
}

/// Waits until the lease can be had, and takes it: it is free, it is ours from a call whose answer was lost, or its revision has
/// not changed for a time-to-live on our own clock; for half of one if its holder gives no sign of life either. While the
/// partition is for another worker it is left to that one.
pub(crate) async fn take(tier: &Tier, partition: Partition) -> Held {
    let (leases, placement) = (tier.ports.leases.clone(), &tier.config.placement);
    let (node, ttl) = (tier.config.node.clone(), tier.config.lease_ttl);
    let mut watched: Option<(Revision, Instant)> = None;
    loop {
        let mut pause = ttl / LOOKS_A_TTL;
        let is_ours_to_take = placement.is_for(&node, partition);
        match leases.read(partition).await {
            Ok(lease) => {
                let seen = lease.as_ref().map(|l| l.revision);
                let holder = lease.as_ref().and_then(|lease| lease.holder.clone());
                let lives = holder.is_some_and(|holder| placement.lives(&holder));
                let silence = match lives {
                    true => ttl,
                    false if matches!(placement, Placement::Alone) => ttl,
                    false => ttl / 2,
                };
                if !is_free(lease, &node, &mut watched, silence) {
                    if is_ours_to_take {
                        pause = LOOK_AT_HAND_OVER.min(pause);
                    }
                } else if is_ours_to_take {
                    match leases.take(partition, node.clone(), seen).await {
                        Ok(revision) => {
                            let looked_at = watch::Sender::new(Instant::now());
                            return Held { leases, partition, node, ttl, revision, looked_at };
                        }
                        // Somebody was quicker: look again at once.
                        Err(LeaseError::Changed) => continue,
                        Err(LeaseError::Unavailable { inside }) => unavailable(partition, &inside),
                    }
                }
            }
            Err(LeaseError::Changed) => {}
            Err(LeaseError::Unavailable { inside }) => unavailable(partition, &inside),
        }
        sleep(pause).await;
    }
}

fn is_free(
    lease: Option<Lease>,
    node: &NodeId,
    watched: &mut Option<(Revision, Instant)>,
    silence: Duration,
) -> bool {
    let Some(Lease { holder: Some(holder), revision }) = lease else { return true };
    if holder == *node {
        return true;
    }
    match watched {
        Some((seen, since)) if *seen == revision => since.elapsed() >= silence,
        _ => {
            *watched = Some((revision, Instant::now()));
            false
        }
    }
}

fn unavailable(partition: Partition, inside: &str) {
    // The adapter says it once for all.
    tracing::debug!(%partition, inside, "leases are not available; trying again");
}

impl Held {
    /// Renews the lease until somebody else has it. While leases are not available the holder stays: the store's fence
    /// is what makes that safe, and nobody else could take it either.
    pub(crate) async fn keep(&mut self) {
        loop {
            sleep(self.ttl / RENEWALS_A_TTL).await;
            match self.leases.renew(self.partition, self.node.clone(), self.revision).await {
                Ok(revision) => self.revision = revision,
                Err(LeaseError::Changed) => {
                    if !self.is_ours_still().await {
                        return;
                    }
                }
                Err(LeaseError::Unavailable { inside }) => unavailable(self.partition, &inside),
            }
            self.looked_at.send_replace(Instant::now());
        }
    }

    /// For whoever must know how long ago the lease was looked at.
    pub(crate) fn fresh(&self) -> Fresh {
        Fresh { looked_at: self.looked_at.subscribe(), max: self.ttl * 2 / 3 }
    }

    /// After a change that we know nothing of: it may be our own, whose answer was lost.
    async fn is_ours_still(&mut self) -> bool {
        match self.leases.read(self.partition).await {
            Ok(Some(lease)) if lease.holder.as_ref() == Some(&self.node) => {
                self.revision = lease.revision;
                true
            }
            Ok(_) => false,
            // The next renewal tells.
            Err(_) => true,
        }
    }

    /// Gives the lease back, so that the next holder need not wait.
    pub(crate) async fn release(mut self) {
        let mut released = self.leases.release(self.partition, self.revision).await;
        if released == Err(LeaseError::Changed) && self.is_ours_still().await {
            released = self.leases.release(self.partition, self.revision).await;
        }
        if let Err(error) = released {
            tracing::info!(partition = %self.partition, %error, "the lease was not given back; it will run out");
        }
    }
}

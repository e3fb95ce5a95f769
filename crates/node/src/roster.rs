//! Who lives: the signs of life that nodes give each other over the bus.
//!
//! Only liveness, presence and whom a read or a command is asked of rest on it. Two nodes may see two rosters for a while; the store's
//! fence makes that harmless. Each judges by the silence on its own clock, so no clocks are compared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubbub_core::ids::NodeId;
use hubbub_core::ports::bus::{Bus, BusError, Message, Subject, Subscription};
use hubbub_wire::tier::node::{HEARTBEAT_MS, Heartbeat, SILENCE_MAX_MS, Tier};
use hubbub_wire::tier::parcel;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The nodes of one tier that live, as this node hears them.
pub struct Roster {
    tier: Tier,
    heard: Mutex<HashMap<NodeId, Instant>>,
    changes: watch::Sender<u64>,
}

impl Roster {
    /// Listens for the nodes of a tier. The subscription keeps the roster up to date.
    ///
    /// # Errors
    /// As of [`Bus::listen`].
    pub async fn listen(bus: &dyn Bus, tier: Tier) -> Result<(Arc<Self>, Subscription), BusError> {
        let roster = Arc::new(Self { tier, heard: Mutex::default(), changes: watch::Sender::new(0) });
        let listener = roster.clone();
        let hear = move |mut message: Message| match parcel::header::<Heartbeat>(&mut message.payload) {
            Ok(heartbeat) => listener.hear(heartbeat, Instant::now()),
            Err(error) => tracing::debug!(%error, "a sign of life that can't be read"),
        };
        let subscription = bus.listen(Subject::Nodes, Arc::new(hear)).await?;
        Ok((roster, subscription))
    }

    /// Those who live now, by ascending id.
    pub fn living(&self) -> Vec<NodeId> {
        self.forget_the_silent(Instant::now());
        let mut living: Vec<_> = self.lock().keys().cloned().collect();
        living.sort_unstable();
        living
    }

    /// One of those who live, for each number in a row another one.
    pub fn one_living(&self, turn: usize) -> Option<NodeId> {
        let mut living = self.living();
        let nth = turn.checked_rem(living.len())?;
        Some(living.swap_remove(nth))
    }

    /// Whether the node lives.
    pub fn lives(&self, node: &NodeId) -> bool {
        self.lock().get(node).is_some_and(|heard| heard.elapsed() < silence_max())
    }

    /// Changes whenever a node was heard for the first time, left, or was found silent by [`Roster::living`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn hear(&self, Heartbeat { node, tier, leaving }: Heartbeat, now: Instant) {
        if tier != self.tier {
            return;
        }
        let changed = match leaving {
            true => self.lock().remove(&node).is_some(),
            false => self.lock().insert(node, now).is_none(),
        };
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    fn forget_the_silent(&self, now: Instant) {
        let mut heard = self.lock();
        let before = heard.len();
        heard.retain(|_, at| now.duration_since(*at) < silence_max());
        if heard.len() != before {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        // Each change is one call: a panic elsewhere leaves nothing half done.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn silence_max() -> Duration {
    Duration::from_millis(SILENCE_MAX_MS)
}

/// Says every half second that the node lives and `is_fit` for its work, until `leaving`; then once that it leaves. One that
/// is fit no more says so once, and is silent then: all count it out, itself included.
pub async fn give_signs_of_life(
    bus: Arc<dyn Bus>,
    node: NodeId,
    tier: Tier,
    is_fit: impl Fn() -> bool,
    leaving: CancellationToken,
) {
    let mut beat = interval(Duration::from_millis(HEARTBEAT_MS));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let say = |leaving| {
        let heartbeat = Heartbeat { node: node.clone(), tier, leaving };
        if let Err(error) = bus.publish(&Subject::Nodes, parcel::pack(&heartbeat).into()) {
            tracing::debug!(%error, "a sign of life was not sent");
        }
    };
    let mut was_fit = false;
    while leaving.run_until_cancelled(beat.tick()).await.is_some() {
        let fit = is_fit();
        // Once that it is unfit is enough: from then on there is silence.
        if fit || was_fit {
            say(!fit);
        }
        was_fit = fit;
    }
    say(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(node: &str, tier: Tier, leaving: bool) -> Heartbeat {
        Heartbeat { node: NodeId::parse(node).unwrap(), tier, leaving }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_lives_until_it_leaves_or_is_silent() {
        let roster =
            Roster { tier: Tier::RoomWorker, heard: Mutex::default(), changes: watch::Sender::new(0) };
        let mut changes = roster.changes();
        let names = |roster: &Roster| roster.living().iter().map(ToString::to_string).collect::<Vec<_>>();
        for beat in [
            heartbeat("b", Tier::RoomWorker, false),
            heartbeat("a", Tier::RoomWorker, false),
            heartbeat("g", Tier::Gateway, false),
            heartbeat("c", Tier::RoomWorker, false),
        ] {
            roster.hear(beat, Instant::now());
        }
        assert_eq!(names(&roster), ["a", "b", "c"]);
        assert!(changes.has_changed().unwrap());
        roster.hear(heartbeat("c", Tier::RoomWorker, true), Instant::now());
        assert_eq!(names(&roster), ["a", "b"]);
        tokio::time::advance(silence_max() - Duration::from_millis(1)).await;
        roster.hear(heartbeat("a", Tier::RoomWorker, false), Instant::now());
        changes.mark_unchanged();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(names(&roster), ["a"]);
        assert!(changes.has_changed().unwrap());
        assert!(!roster.lives(&NodeId::parse("b").unwrap()));
    }
}

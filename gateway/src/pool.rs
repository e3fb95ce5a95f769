//! Whom to ask where several serve alike, history services or bridges.
//!
//! As a rule the bus decides, which gives each request to one of those who share a subject. But it knows only whose connection ended: one
//! that is frozen gets its part of all requests for minutes. So once it chose somebody who did not answer, those are asked by name, by
//! turns, whose signs of life are heard. By name is also asked what has to keep a user's order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubbub_core::ids::{NodeId, UserId};
use hubbub_core::ports::bus::Subject;
use hubbub_node::roster::Roster;
use tokio::time::Instant;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// For how long: by then NATS has noticed as well that nobody is behind a connection.
const MISTRUSTED: Duration = Duration::from_secs(600);

/// Servers of one subject, any of which is as good. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Subject,
    roster: Option<Arc<Roster>>,
    turns: Arc<Mutex<Turns>>,
}

struct Turns {
    next: usize,
    /// When the bus last chose somebody who did not answer.
    unanswered: Option<Instant>,
}

impl Pool {
    /// Who serves `shared`, and of these whom the `roster` knows.
    pub fn new(shared: Subject, roster: Option<Arc<Roster>>) -> Self {
        // Each gateway begins with another one.
        let turns = Turns { next: fastrand::usize(..), unanswered: None };
        Self { shared, roster, turns: Arc::new(Mutex::new(turns)) }
    }

    /// What to ask first.
    pub fn first(&self) -> Subject {
        let mut turns = self.lock();
        match turns.unanswered.is_some_and(|at| at.elapsed() < MISTRUSTED) {
            true => self.one_that_lives(&mut turns),
            false => self.shared.clone(),
        }
    }

    /// What to ask first of what is to keep a user's order: always the same one, as long as the same ones live. By the bus each request would
    /// go to another one, and the one that is less busy would be first. Who comes or goes moves only its own users.
    ///
    /// Rendezvous hashing: D. G. Thaler, C. V. Ravishankar, "Using name-based mappings to increase hit rates", 1998.
    pub fn first_for(&self, user: &UserId) -> Subject {
        let living = self.roster.as_ref().map(|roster| roster.living()).unwrap_or_default();
        let weight =
            |node: &NodeId| xxh3_64_with_seed(user.as_str().as_bytes(), xxh3_64(node.as_str().as_bytes()));
        living.into_iter().max_by_key(weight).map_or_else(|| self.shared.clone(), Subject::Node)
    }

    /// What to ask now that nobody answered `asked` in time.
    pub fn after_silence(&self, asked: &Subject) -> Subject {
        let mut turns = self.lock();
        if self.is_shared(asked) {
            turns.unanswered = Some(Instant::now());
        }
        let other = self.one_that_lives(&mut turns);
        if other == *asked { self.one_that_lives(&mut turns) } else { other }
    }

    /// What to ask now that nobody serves what was asked: it just ended, or does not listen yet, and others may, of whom nobody heard.
    pub fn after_absence(&self) -> Subject {
        self.shared.clone()
    }

    /// Whether this is served by all of them.
    pub fn is_shared(&self, asked: &Subject) -> bool {
        *asked == self.shared
    }

    fn one_that_lives(&self, turns: &mut Turns) -> Subject {
        turns.next = turns.next.wrapping_add(1);
        let living = self.roster.as_ref().and_then(|roster| roster.one_living(turns.next));
        living.map_or_else(|| self.shared.clone(), Subject::Node)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Turns> {
        // Each change is whole by itself.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::ids::{Partitions, RoomId};
    use hubbub_core::ports::bus::{Bus, Payload, Reply, Subscription};
    use hubbub_node::roster::give_signs_of_life;
    use hubbub_wire::tier::node::Tier;
    use hubbub_wire::tier::query::Found;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::actions::Asker;
    use crate::peers::Cluster;

    /// One of several servers of a shared subject; how often it was asked.
    async fn server(
        bus: &Arc<LocalBus>,
        subject: Subject,
        answers: bool,
    ) -> (Arc<AtomicUsize>, Subscription) {
        let asked = Arc::<AtomicUsize>::default();
        let (counts, unanswered) = (asked.clone(), Mutex::new(Vec::new()));
        let serve = move |_, reply: Reply| {
            counts.fetch_add(1, Ordering::Relaxed);
            match answers {
                true => reply.send(Payload::whole(Found::Members { members: vec![], next: None })),
                false => unanswered.lock().unwrap().push(reply),
            }
        };
        let served = bus.serve(subject, Arc::new(serve)).await.unwrap();
        (asked, served)
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_asked_of_one_that_lives_once_the_bus_chose_one_that_does_not_answer() {
        let bus = Arc::new(LocalBus::default());
        let roster = async |tier| Roster::listen(&*bus, tier).await.unwrap();
        let ((gateways, _), (readers, _heard)) =
            (roster(Tier::Gateway).await, roster(Tier::HistoryService).await);
        let node = |name| NodeId::parse(name).unwrap();
        let cluster = Cluster { node: node("g"), roster: gateways.clone(), readers, bridges: gateways };
        let (partitions, timeout) = (Partitions::new(1).unwrap(), Duration::from_secs(5));
        let asker = Asker::new(bus.clone(), partitions, timeout, Some(&cluster));
        let read = async || asker.members(RoomId::parse("a").unwrap(), None, 1).await.map(drop);

        let (hangs, _hangs) = server(&bus, Subject::Node(node("a")), false).await;
        let (well, _well) = server(&bus, Subject::Node(node("b")), true).await;
        let (any, any_served) = server(&bus, Subject::Query, true).await;
        let asked = || [&any, &hangs, &well].map(|asked| asked.load(Ordering::Relaxed));
        let stops = CancellationToken::new();
        tokio::spawn(stops.clone().run_until_cancelled_owned(signs(&bus, "a")));
        tokio::spawn(signs(&bus, "b"));
        until_living(&cluster.readers, 2).await;
        assert_eq!((read().await, asked()), (Ok(()), [1, 0, 0]), "nobody failed to answer: the bus decides");

        // It chooses somebody who hangs, and another one is asked.
        drop(any_served);
        let (any, any_served) = server(&bus, Subject::Query, false).await;
        let began = Instant::now();
        assert_eq!(read().await, Ok(()));
        assert_eq!((any.load(Ordering::Relaxed), began.elapsed() < Duration::from_secs(5)), (1, true));

        // One falls silent without a word, as if it were frozen.
        stops.cancel();
        until_living(&cluster.readers, 1).await;
        let before = hangs.load(Ordering::Relaxed);
        for _ in 0..10 {
            assert_eq!(read().await, Ok(()));
        }
        assert_eq!((any.load(Ordering::Relaxed), hangs.load(Ordering::Relaxed)), (1, before));

        // One that has just ended has no server, and others may be there of whom nobody heard.
        drop((any_served, _well));
        let (any, _any) = server(&bus, Subject::Query, true).await;
        assert_eq!((read().await, any.load(Ordering::Relaxed)), (Ok(()), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_user_asks_goes_to_the_same_one_and_when_that_is_gone_to_another() {
        let bus = Arc::new(LocalBus::default());
        let (roster, _heard) = Roster::listen(&*bus, Tier::HistoryService).await.unwrap();
        let pool = Pool::new(Subject::Bots, Some(roster.clone()));
        let users: Vec<_> = (0..100).map(|n| UserId::parse(&format!("user-{n}")).unwrap()).collect();
        let asked = || users.iter().map(|user| pool.first_for(user)).collect::<Vec<_>>();
        assert!(asked().iter().all(|subject| *subject == Subject::Bots), "nobody is heard of");

        let stops = CancellationToken::new();
        tokio::spawn(stops.clone().run_until_cancelled_owned(signs(&bus, "a")));
        tokio::spawn(signs(&bus, "b"));
        tokio::spawn(signs(&bus, "c"));
        until_living(&roster, 3).await;
        let (before, again) = (asked(), asked());
        assert_eq!(before, again);
        let of = |name| Subject::Node(NodeId::parse(name).unwrap());
        for name in ["a", "b", "c"] {
            assert!(
                before.iter().filter(|subject| **subject == of(name)).count() > 15,
                "{name} has its part"
            );
            assert_ne!(pool.after_silence(&of(name)), of(name), "not the one that did not answer");
        }
        stops.cancel();
        until_living(&roster, 2).await;
        for (before, after) in before.iter().zip(asked()) {
            assert!(after != of("a") && (*before == of("a") || *before == after), "{before:?}, {after:?}");
        }
    }

    fn signs(bus: &Arc<LocalBus>, name: &str) -> impl Future<Output = ()> + Send + 'static {
        let (node, never) = (NodeId::parse(name).unwrap(), CancellationToken::new());
        give_signs_of_life(bus.clone(), node, Tier::HistoryService, || true, never)
    }

    async fn until_living(roster: &Roster, count: usize) {
        while roster.living().len() != count {
            tokio::time::advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
    }
}

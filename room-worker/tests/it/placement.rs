//! Partitions shared by two workers: who holds what, in order and after a crash.

use std::sync::Arc;

use hubbub_adapters::leases::LocalLeases;
use hubbub_core::ids::{NodeId, Partition, Partitions, RoomId};
use hubbub_core::ports::bus::{Payload, Subject};
use hubbub_core::ports::leases::Leases;
use hubbub_core::room::{Answer, Verb};
use hubbub_node::roster::{Roster, give_signs_of_life};
use hubbub_room_worker::placement::Placement;
use hubbub_wire::tier::act::{Ask, Told};
use hubbub_wire::tier::node::Tier;
use hubbub_wire::tier::parcel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::*;

/// A worker that shares partitions, and its signs of life.
struct Sharing {
    node: NodeId,
    worker: Worker,
    signs: JoinHandle<()>,
    leaving: CancellationToken,
}

/// A world whose partitions are shared by workers with the same leases.
struct Shared {
    world: World,
    leases: Arc<LocalLeases>,
    partitions: Partitions,
}

impl Shared {
    fn new() -> Self {
        let partitions = Partitions::new(8).unwrap();
        Self { world: World::new(), leases: Arc::default(), partitions }
    }

    async fn worker(&self, name: &str) -> Sharing {
        let (node, bus) = (NodeId::parse(name).unwrap(), self.world.bus.clone());
        let (roster, listening) = Roster::listen(&*bus, Tier::RoomWorker).await.unwrap();
        let worker = self.world.worker_with(self.world.store.clone(), self.leases.clone(), |config| {
            config.node = node.clone();
            config.partitions = self.partitions;
            config.placement = Placement::Shared(roster);
            config.lease_ttl = std::time::Duration::from_secs(1);
        });
        let leaving = CancellationToken::new();
        let signs = give_signs_of_life(bus, node.clone(), Tier::RoomWorker, || true, leaving.clone());
        let signs = tokio::spawn(async move {
            signs.await;
            drop(listening);
        });
        Sharing { node, worker, signs, leaving }
    }

    async fn holders(&self) -> Vec<Option<NodeId>> {
        let mut holders = Vec::new();
        for partition in self.partitions.all() {
            holders.push(self.leases.read(partition).await.unwrap().and_then(|lease| lease.holder));
        }
        holders
    }

    async fn held_by(&self, what: &str, wanted: impl Fn(&[Option<NodeId>]) -> bool) {
        until(what, async || wanted(&self.holders().await)).await;
    }

    /// A room of that partition.
    fn room_in(&self, partition: Partition) -> RoomId {
        let mut rooms = (0..).map(|n| room(&format!("room-{n}")));
        rooms.find(|room| self.partitions.of(room) == partition).unwrap()
    }

    /// Asks until it is known what became of it.
    async fn act(&self, room: &RoomId, verb: Verb) -> Answer {
        let subject = Subject::Act(self.partitions.of(room));
        let ask = Ask { room: room.clone(), what: act("ann", verb), timeout_ms: 5_000 };
        let mut answer = None;
        until("it is known what became of it", async || {
            let told = self.world.bus.request(&subject, parcel::pack(&ask).into(), DEADLINE).await;
            let told = told.ok().and_then(|mut told: Payload| parcel::header(&mut told).ok());
            if let Some(Told::Done(done)) = told {
                answer = Some(done);
            }
            answer.is_some()
        })
        .await;
        answer.unwrap()
    }

    /// Sends one message to a room of each partition; each is kept at the seq that follows.
    async fn talk(&self, seq: u64) {
        for partition in self.partitions.all() {
            let room = self.room_in(partition);
            let answer = self.act(&room, say("x", Some(&format!("key-{seq}")), None)).await;
            let is_next = matches!(answer, Answer::Kept { seq: kept, .. } if kept.0 == seq);
            assert!(is_next, "{answer:?} instead of {seq} in partition {partition}");
        }
    }
}

#[tokio::test]
async fn partitions_move_to_who_comes_and_back_from_who_goes_and_no_entry_with_them() {
    let shared = Shared::new();
    let ann = shared.worker("worker-a").await;
    for partition in shared.partitions.all() {
        let made = shared.act(&shared.room_in(partition), create("x")).await;
        assert!(matches!(made, Answer::Made(_)), "{made:?}");
    }
    shared.talk(2).await;
    let bob = shared.worker("worker-b").await;
    let has = |holders: &[Option<NodeId>], node: &NodeId| {
        holders.iter().filter(|holder| holder.as_ref() == Some(node)).count()
    };
    let (a, b) = (ann.node.clone(), bob.node.clone());
    shared.talk(3).await;
    shared
        .held_by("both have a share", |h| has(h, &a) > 0 && has(h, &b) > 0 && has(h, &a) + has(h, &b) == 8)
        .await;
    shared.talk(4).await;
    // Ends in order: it says that it leaves, and gives its partitions back.
    ann.leaving.cancel();
    ann.signs.await.unwrap();
    ann.worker.shut_down().await;
    shared.held_by("the other has all of them", |h| has(h, &b) == 8).await;
    shared.talk(5).await;
    // Killed: it says nothing more, and its leases run out.
    let cyd = shared.worker("worker-c").await;
    shared.held_by("the third has a share", |h| has(h, &cyd.node) > 0).await;
    bob.signs.abort();
    bob.worker.kill().await;
    shared.held_by("the third has all of them", |h| has(h, &cyd.node) == 8).await;
    shared.talk(6).await;
    cyd.worker.kill().await;
}

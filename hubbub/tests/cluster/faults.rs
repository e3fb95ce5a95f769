//! Whatever is killed, paused, cut off or rolled: nothing acknowledged is lost, doubled or reordered, and everybody is whole again.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hubbub_client::What;
use hubbub_client::answer::Range;
use hubbub_core::code::Code;
use hubbub_core::ids::Seq;
use hubbub_testkit::{Hubbub, Keyspace, Person, Plan, Proxy, Signal, eventually, in_time};
use tokio_util::sync::CancellationToken;

use crate::world::{ASKED_AGAIN, Quiet, World, plan, with_own_database};

/// A metric of a worker: partitions that it holds.
const HELD: &str = "hubbub_worker_partitions_held";
/// A metric of a history service: what it was asked.
const READS: &str = "hubbub_history_reads_total";
/// Entries of a block, as a history service reads them.
const BLOCK: u64 = 250;

async fn at_least(what: &str, server: &Hubbub, metric: &str, count: f64) {
    let reached = async || (server.metric(metric).await.ok()? >= count).then_some(());
    eventually(what, reached).await;
}

/// Waits until so many partitions have a holder again, with this one for all.
async fn takes_all(worker: &Hubbub) {
    at_least("the other worker takes all", worker, HELD, 32.0).await;
}

#[tokio::test]
async fn any_tier_is_killed_and_started_again() {
    let mut world = World::of(plan().await).await;
    for round in 0..2 {
        for n in 0..2 {
            world.breaks(format!("round {round}: room-worker {n} killed"));
            world.cluster.workers[n].kill().await.unwrap();
            world.crowd.acks(20).await;
            world.cluster.workers[n].restart().await.unwrap();
            world.heals().await;

            world.breaks(format!("round {round}: history service {n} killed"));
            world.cluster.histories[n].kill().await.unwrap();
            world.crowd.acks(20).await;
            world.cluster.histories[n].restart().await.unwrap();
            world.heals().await;

            world.breaks(format!("round {round}: gateway {n} killed"));
            world.cluster.gateways[n].kill().await.unwrap();
            tokio::time::sleep(Duration::from_millis(world.rng.u64(..300))).await;
            world.cluster.gateways[n].restart().await.unwrap();
            world.heals().await;
        }
    }
    world.end().await;
}

#[tokio::test]
async fn each_tier_is_rolled() {
    let mut world = World::of(plan().await).await;
    for n in 0..2 {
        world.breaks(format!("room-worker {n} restarted"));
        assert!(world.cluster.workers[n].terminate().await.unwrap().success());
        world.crowd.acks(20).await;
        world.cluster.workers[n].restart().await.unwrap();
        at_least("a share for it", &world.cluster.workers[n], HELD, 1.0).await;
        world.heals().await;

        world.breaks(format!("history service {n} restarted"));
        assert!(world.cluster.histories[n].terminate().await.unwrap().success());
        world.cluster.histories[n].restart().await.unwrap();
        world.heals().await;

        world.breaks(format!("gateway {n} restarted"));
        assert!(world.cluster.gateways[n].terminate().await.unwrap().success());
        world.cluster.gateways[n].restart().await.unwrap();
        world.heals().await;
    }
    world.end().await;
}

#[tokio::test]
async fn nats_is_killed_server_by_server_and_wiped() {
    let mut world = World::of(plan().await).await;
    for n in 0..3 {
        world.breaks(format!("nats-server {n} killed"));
        world.cluster.nats[n].kill().unwrap();
        world.crowd.acks(50).await;
        world.cluster.nats[n].start_again(true).await.unwrap();
        world.heals().await;
    }
    world.breaks("all of NATS killed, and its data wiped");
    let mut all = std::mem::take(&mut world.cluster.nats);
    all.iter_mut().for_each(|nats| nats.kill().unwrap());
    let again = all.iter_mut().map(|nats| nats.start_again(false));
    try_join_all(again).await.unwrap();
    world.cluster.nats = all;
    world.heals().await;
    world.end().await;
}

#[tokio::test]
async fn without_the_database_sends_are_refused_and_what_is_cached_is_read() {
    let mut world = World::of(Plan { histories: 1, ..with_own_database() }).await;
    let gateway = &world.cluster.gateways[0];
    let (talker, _events) = Person::register(gateway, "talker").await.unwrap().connect().await.unwrap();
    let room = talker.create("a room with a past", "").await.unwrap().id;
    // Only a block that is full can't change, and is kept.
    for n in 0..BLOCK {
        talker.send_text(&room, &n.to_string(), None).await.unwrap();
    }
    let page = async || in_time("a page", talker.history(&room, Range::After(Seq(2)), Some(10))).await;
    let before = page().await.unwrap();
    assert_eq!(before.entries.len(), 10);

    world.breaks("the database killed");
    world.cluster.database.as_mut().unwrap().kill().unwrap();
    let refused = in_time("an answer", talker.send_text(&room, "now", None)).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Unavailable), "{refused}");
    assert_eq!(page().await.unwrap().entries, before.entries);
    for tier in [&world.cluster.gateways[0], &world.cluster.workers[0], &world.cluster.histories[0]] {
        eventually("it says that it is not ready", async || {
            let ready = tier.get("/readyz", None).await.ok()?;
            (ready.status == 503 && ready.text.contains("database")).then_some(())
        })
        .await;
        assert_eq!(tier.get("/healthz", None).await.unwrap().status, 200);
    }
    world.cluster.database.as_mut().unwrap().start_again().await.unwrap();
    eventually("it takes messages again", async || talker.send_text(&room, "again", None).await.ok()).await;
    world.heals().await;
    world.end().await;
}

#[tokio::test]
async fn a_worker_that_was_paused_tells_nothing_when_it_wakes() {
    let mut world = World::of(plan().await).await;
    // Woken as soon as another has its partitions, there are still some who wait for its answer; after 15 s there are none.
    for (round, pause) in [0, 0, 0, 15].map(Duration::from_secs).into_iter().enumerate() {
        let (paused, other) = (round % 2, (round + 1) % 2);
        for worker in &world.cluster.workers {
            at_least("both have a share", worker, HELD, 1.0).await;
        }
        world.breaks(format!("room-worker {paused} paused until it is replaced, and {pause:?} more"));
        world.cluster.workers[paused].signal(Signal::STOP).unwrap();
        takes_all(&world.cluster.workers[other]).await;
        tokio::time::sleep(pause).await;
        world.cluster.workers[paused].signal(Signal::CONT).unwrap();
        world.heals().await;
    }
    world.end().await;
}

/// Nothing breaks here but an order: the word that it is kept is at one gateway before the message is at the other.
#[tokio::test]
async fn what_one_gateway_acknowledged_is_read_at_the_other() {
    let Quiet { cluster, .. } = &Quiet::of(plan().await).await;
    let person = async |n: usize, name| {
        Person::register(&cluster.gateways[n], name).await.unwrap().connect().await.unwrap()
    };
    let ((writer, _events), (reader, _heard)) = (person(0, "writer").await, person(1, "reader").await);
    let room = writer.create("a room of two", "").await.unwrap().id;
    reader.join(&room).await.unwrap();
    for n in 0..300 {
        let kept = writer.send_text(&room, &n.to_string(), None).await.unwrap().seq().unwrap();
        let after = Range::After(Seq(kept.0.saturating_sub(10)));
        let page = in_time("a page", reader.history(&room, after, None)).await.unwrap();
        assert_eq!((page.entries.last().unwrap().seq, page.more), (kept, false));
    }
}

/// Who waits for no ack: what found its room without a holder is in the log in the order in which it was said.
#[tokio::test]
async fn what_is_said_without_waiting_keeps_its_order_while_workers_are_rolled() {
    let Quiet { cluster, .. } = &mut Quiet::of(plan().await).await;
    let (hasty, mut events) =
        Person::register(&cluster.gateways[0], "hasty").await.unwrap().connect().await.unwrap();
    let heard = tokio::spawn(async move { while events.next().await.is_some() {} });
    let rooms = try_join_all([(); 8].map(|()| hasty.create("said in haste", ""))).await.unwrap();
    let done = CancellationToken::new();
    let saying = rooms.iter().map(async |room| {
        let say = async |n: usize| hasty.send_text(&room.id, &n.to_string(), None).await;
        let said = stream::iter(0..).take_until(done.cancelled()).map(say).buffered(6);
        said.try_fold(0, async |count, _| Ok(count + 1)).await.unwrap()
    });
    let rolling = async {
        for n in [0, 1, 0, 1] {
            let worker = &mut cluster.workers[n];
            assert!(worker.terminate().await.unwrap().success());
            worker.restart().await.unwrap();
            at_least("a share for it", worker, HELD, 1.0).await;
        }
        done.cancel();
    };
    let (counts, ()) = tokio::join!(join_all(saying), rolling);
    assert!(cluster.gateways[0].metric(ASKED_AGAIN).await.unwrap() > 0.0);
    for (room, count) in rooms.iter().zip(counts) {
        let mut said = Vec::new();
        let mut after = Seq(1);
        while said.len() < count {
            let page = hasty.history(&room.id, Range::After(after), Some(1_000)).await.unwrap();
            after = page.entries.last().unwrap().seq;
            said.extend(page.entries.into_iter().map(|entry| entry.what));
        }
        assert_eq!(said, (0..count).map(|n| What::Text(n.to_string())).collect::<Vec<_>>());
    }
    hasty.close().await;
    heard.await.unwrap();
}

#[tokio::test]
async fn a_history_service_that_hangs_fails_no_read_and_is_soon_asked_no_more() {
    let Quiet { cluster, .. } = &Quiet::of(plan().await).await;
    let gateway = &cluster.gateways[0];
    let (reader, _events) = Person::register(gateway, "reader").await.unwrap().connect().await.unwrap();
    let reads = async || {
        for _ in 0..40 {
            in_time("a read", reader.rooms(None, None)).await.unwrap();
        }
    };
    cluster.histories[0].signal(Signal::STOP).unwrap();
    eventually("no read meets the one that hangs", async || {
        let before = gateway.metric(ASKED_AGAIN).await.unwrap();
        reads().await;
        (gateway.metric(ASKED_AGAIN).await.unwrap() == before).then_some(())
    })
    .await;
    cluster.histories[0].signal(Signal::CONT).unwrap();
    let before = cluster.histories[0].metric(READS).await.unwrap_or_default();
    eventually("it gets its part again", async || {
        reads().await;
        (cluster.histories[0].metric(READS).await.ok()? >= before + 40.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_is_cut_off_from_nats_and_the_database() {
    let mut world = World::of(Plan { nats: 1, workers: 1, ..plan().await }).await;
    let nats = Proxy::to(world.cluster.nats[0].url().trim_start_matches("nats://").parse().unwrap());
    let database = Proxy::to(world.cluster.keyspace.database.parse().unwrap());
    let (nats, database) = (nats.await.unwrap(), database.await.unwrap());
    let keyspace = Keyspace { database: database.address().to_string(), ..world.cluster.keyspace.clone() };
    let start = world.cluster.tier_by("room-worker", &format!("nats://{}", nats.address()), &keyspace);
    world.cluster.add_worker(start).await.unwrap();
    for (what, ways) in [
        ("NATS", vec![&nats]),
        ("the database", vec![&database]),
        ("NATS and the database", vec![&nats, &database]),
    ] {
        at_least("a share for it", &world.cluster.workers[1], HELD, 1.0).await;
        world.crowd.acks(50).await;
        world.breaks(format!("room-worker 1 cut off from {what}"));
        ways.iter().for_each(|way| way.cut());
        takes_all(&world.cluster.workers[0]).await;
        world.crowd.acks(50).await;
        ways.iter().for_each(|way| way.heal());
        world.heals().await;
    }
    world.end().await;
}

//! Clusters that share servers and nothing else, nodes that were told something wrong, and those that come too early.

use futures_util::future::join_all;
use hubbub_client::Event;
use hubbub_core::code::Code;
use hubbub_testkit::{Hubbub, Keyspace, Person, Plan, Start, eventually, in_time};

use crate::import::{agreed_with_the_workers, into_the_database};
use crate::world::{Quiet, plan, with_own_database};

/// One of each.
fn small(plan: Plan) -> Plan {
    Plan { nats: 1, gateways: 1, workers: 1, histories: 1, ..plan }
}

async fn told_off(start: Start, because: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (status, log) = start.run_to_end(Hubbub::free_port().unwrap(), folder.path()).await.unwrap();
    assert!(status.code() == Some(64) && log.contains(because), "{status}: {log}");
}

#[tokio::test]
async fn two_clusters_on_one_nats_and_one_database_do_not_meet() {
    let mut quiet = Quiet::of(small(plan().await)).await;
    let cluster = &mut quiet.cluster;
    let keyspace = Keyspace::shared().await.unwrap();
    let of_another = |tier| cluster.tier_by(tier, &cluster.nats_urls(), &keyspace).with("--cluster=other");
    let (gateway, worker, history) =
        (of_another("gateway"), of_another("room-worker"), of_another("history-service"));
    cluster.add_history(history).await.unwrap();
    cluster.add_worker(worker).await.unwrap();
    cluster.add_gateway(gateway).await.unwrap();
    let [ours, theirs] = &cluster.gateways[..] else { panic!("two gateways") };

    // Each holds all of its own partitions: they don't share.
    for worker in &cluster.workers {
        let holds_all =
            async || (worker.metric("hubbub_worker_partitions_held").await.ok()? == 32.0).then_some(());
        eventually("it holds all partitions", holds_all).await;
    }
    // The same name and address can be had in both.
    let (ann, other_ann) =
        (Person::register(ours, "ann").await.unwrap(), Person::register(theirs, "ann").await.unwrap());
    let (anns, _hears) = ann.connect().await.unwrap();
    let (others, mut other_hears) = other_ann.connect().await.unwrap();
    others.watch(true).await.unwrap();
    let room = anns.create("ours", "").await.unwrap().id;
    anns.send_text(&room, "hello", None).await.unwrap();
    assert_eq!(others.join(&room).await.unwrap_err().code(), Some(Code::NoSuchRoom));
    assert!(others.rooms(None, None).await.unwrap().rooms.is_empty());
    assert_eq!(theirs.get("/v1/accounts/validate", Some(&ann.token)).await.unwrap().status, 401);
    // Of rooms made they hear of their own first, though ours was made before.
    let own = others.create("theirs", "").await.unwrap().id;
    let made = async {
        loop {
            match other_hears.next().await {
                Some(Event::RoomMade(room)) => return room.id,
                Some(_) => {}
                None => panic!("the connection is lost"),
            }
        }
    };
    assert_eq!(in_time("the room is told of", made).await, own);
}

#[tokio::test]
async fn who_was_told_another_number_or_cluster_refuses_to_start_and_an_import_goes_in_meanwhile() {
    let mut quiet = Quiet::of(small(plan().await)).await;
    let cluster = &quiet.cluster;
    for tier in ["room-worker", "history-service"] {
        told_off(cluster.tier(tier).with("--partitions=7"), "start it with --partitions 32").await;
        told_off(cluster.tier(tier).with("--cluster=other"), "is the store of the cluster").await;
    }
    told_off(cluster.tier("gateway").with("--cluster=other"), "is the store of the cluster").await;
    let mistyped = Keyspace::shared().await.unwrap();
    // Each asks for a while whether that is a process from before a restore.
    let tiers = ["room-worker", "history-service", "gateway"]
        .map(|tier| cluster.tier_by(tier, &cluster.nats_urls(), &mistyped));
    join_all(tiers.map(|tier| told_off(tier, "keeps its rooms in another store"))).await;
    let fresh = Keyspace::shared().await.unwrap();
    agreed_with_the_workers(&cluster.keyspace, &fresh);
    // An import may be the first to say it.
    let worker = cluster.tier_by("room-worker", &cluster.nats_urls(), &fresh).with("--cluster=fresh");
    told_off(worker.with("--partitions=5"), "start it with --partitions 4").await;
    // In the same cluster, for another one would take long to start.
    into_the_database(&mut quiet.cluster).await;
}

#[tokio::test]
async fn a_worker_that_can_have_no_lease_is_not_ready_and_says_so_once() {
    let quiet = Quiet::of(small(plan().await)).await;
    let (cluster, fresh) = (&quiet.cluster, Keyspace::shared().await.unwrap());
    // One server of NATS keeps nothing three times.
    let nats =
        [format!("--nats={}", cluster.nats_urls()), "--nats-replicas=3".into(), "--cluster=third".into()];
    let worker = Start::program(env!("CARGO_BIN_EXE_hubbub")).as_tier("room-worker");
    let worker = fresh.flags().iter().chain(&nats).fold(worker, |worker, flag| worker.with(flag));
    let worker = Hubbub::start_unready(worker).await.unwrap();
    let unmet = async || {
        let answer = worker.get("/readyz", None).await.ok()?;
        (answer.status == 503 && answer.text.contains("replicas")).then_some(())
    };
    eventually("it says what it lacks", unmet).await;
    let log = worker.log();
    assert_eq!(log.matches("leases are not available").count(), 1, "{log}");
}

#[tokio::test]
async fn a_node_that_starts_before_its_servers_waits_for_them_and_says_so() {
    let mut quiet = Quiet::of(small(with_own_database())).await;
    let cluster = &mut quiet.cluster;
    let start = cluster.tier("room-worker");
    cluster.nats[0].kill().unwrap();
    let database = cluster.database.as_mut().unwrap();
    database.kill().unwrap();
    let servers = async {
        // The one that takes its time first.
        database.start_again().await.unwrap();
        cluster.nats[0].start_again(true).await.unwrap();
    };
    let (started, ()) = tokio::join!(Hubbub::start(start), servers);
    let log = started.unwrap().log();
    assert!(log.contains("waits for NATS") && log.contains("waits for the database"), "{log}");
}

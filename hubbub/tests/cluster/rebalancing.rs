//! A gateway that is added gets its share of the connections that are there.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use hubbub_testkit::{Balancer, Crowd, Hubbub, Plan, Size, eventually, eventually_within};

use crate::world::{Quiet, plan};

const SIZE: Size = Size { rooms: 4, senders: 4, pause: Duration::from_secs(1), readers: 6, connections: 100 };
/// It begins when the gateways were the same for a while.
const PATIENCE: Duration = Duration::from_secs(120);

async fn connections(gateways: &[Hubbub]) -> Vec<f64> {
    let mut all = Vec::new();
    for gateway in gateways {
        all.push(gateway.metric("hubbub_gateway_connections").await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_gateway_gets_its_share_and_then_nobody_is_sent_away() {
    let mut plan = Plan { nats: 1, workers: 1, histories: 1, ..plan().await };
    plan.gateway_flags.push("--rebalance-per-second=50".into());
    let mut quiet = Quiet::of(plan).await;
    let cluster = &mut quiet.cluster;
    let balancer = Balancer::before(cluster.gateways.iter().map(Hubbub::address).collect()).await.unwrap();
    eventually("both gateways are ready", async || (balancer.ready().len() == 2).then_some(())).await;
    let crowd = Crowd::gather("", &[balancer.address()], SIZE, &mut Rng::new()).await.unwrap();
    let start = cluster.tier("gateway");
    cluster.add_gateway(start).await.unwrap();
    balancer.add(cluster.gateways[2].address());

    let even = async || {
        let all = connections(&cluster.gateways).await;
        let mean = all.iter().sum::<f64>() / 3.0;
        all.iter().all(|count| (0.85 * mean..=1.2 * mean).contains(count)).then_some(all)
    };
    let before = connections(&cluster.gateways).await;
    let after = eventually_within(PATIENCE, "it is even", even).await;
    let back = async || crowd.partings().iter().all(|parting| parting.back.is_some()).then_some(());
    eventually("all are back", back).await;
    // It may be even enough for us before it is for them. What would follow does in a second or two.
    let settled = async || {
        let moved = crowd.partings();
        crowd.acks(20).await;
        (crowd.partings() == moved).then_some(moved)
    };
    let moved = eventually_within(PATIENCE, "nobody is sent away any more", settled).await;

    println!("{before:?} became {after:?} by {} who were sent away", moved.len());
    let who: BTreeSet<_> = moved.iter().map(|parting| parting.reader).collect();
    assert_eq!(who.len(), moved.len(), "nobody twice");
    for parting in &moved {
        let (reason, told) = parting.bye.as_ref().expect("a bye");
        assert_eq!(reason, "rebalanced");
        assert!(parting.retry_in.unwrap() >= *told);
    }
    assert!(moved.len() < SIZE.readers * SIZE.connections / 2, "{}", moved.len());
    crowd.whole().await.unwrap();
    crowd.disperse().await.unwrap().is_clean();
}

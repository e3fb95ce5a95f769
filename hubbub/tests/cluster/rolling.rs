//! A rolling restart of each tier under load, before which nobody is sent away: all that a client feels of it is a `bye` with its
//! own time to come back, and no second of it brings many back at once.
//!
//! What is judged of time is what the server promised, not when a busy machine got to it: the delays that it told, and that it
//! told them no sooner than an even spread over the window has them.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::try_join_all;
use hubbub_testkit::{
    Balancer, Crowd, Hubbub, Parting, Plan, Size, allow_open_files, eventually, eventually_within,
};

use crate::world::{Quiet, plan};

/// Crowds, each with a room of its own: a message goes to one in eight of the two thousand connections.
const CROWDS: usize = 8;
const SIZE: Size =
    Size { rooms: 1, senders: 1, pause: Duration::from_millis(500), readers: 1, connections: 250 };
/// Over how long a gateway spreads its closes.
const WINDOW: Duration = Duration::from_secs(10);
/// What the client adds to the wait that it was told, at most.
const JITTER: Duration = Duration::from_millis(200);
/// How many times as many as an even spread over the window has may come back within a second.
const STORM: f64 = 2.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_are_whole_after_each_tier_was_rolled() {
    // Each connection is one here, and two at the balancer.
    allow_open_files(8_000).unwrap();
    let mut plan = Plan { nats: 1, ..plan().await };
    plan.gateway_flags.push(format!("--drain-window={}s", WINDOW.as_secs()));
    // The balancer asks every tenth of a second: it knows before anybody is sent away.
    plan.gateway_flags.push("--drain-delay=500ms".into());
    // What a gateway does that has too many is another test's.
    plan.gateway_flags.push("--rebalance-per-second=0".into());
    let mut quiet = Quiet::of(plan).await;
    let cluster = &mut quiet.cluster;
    let balancer = Balancer::before(cluster.gateways.iter().map(Hubbub::address).collect()).await.unwrap();
    eventually("both gateways are ready", async || (balancer.ready().len() == 2).then_some(())).await;
    let address = [balancer.address()];
    let gathering =
        (0..CROWDS).map(async |n| Crowd::gather(&format!("{n}-"), &address, SIZE, &mut Rng::new()).await);
    let crowds = try_join_all(gathering).await.unwrap();
    assert_eq!(crowds.iter().map(Crowd::connections).sum::<usize>(), 2_000);

    for history in &mut cluster.histories {
        assert!(history.terminate().await.unwrap().success());
        history.restart().await.unwrap();
        goes_on(&crowds).await;
    }
    for worker in &mut cluster.workers {
        assert!(worker.terminate().await.unwrap().success());
        goes_on(&crowds).await;
        worker.restart().await.unwrap();
        let has_a_share =
            async || (worker.metric("hubbub_worker_partitions_held").await.ok()? >= 1.0).then_some(());
        eventually("a share for it", has_a_share).await;
        goes_on(&crowds).await;
    }
    assert_eq!(partings(&crowds), [], "a connection was lost with a tier that holds none");

    for gateway in &mut cluster.gateways {
        let before = partings(&crowds).len();
        let connections = gateway.metric("hubbub_gateway_connections").await.unwrap();
        let began = Instant::now();
        assert!(gateway.terminate().await.unwrap().success());
        let back = async || {
            let partings = partings(&crowds);
            (partings.len() > before && partings.iter().all(|parting| parting.back.is_some())).then_some(())
        };
        eventually_within(2 * WINDOW + Duration::from_secs(60), "all are back", back).await;
        let mut partings = partings(&crowds);
        partings.sort_unstable_by_key(|parting| parting.at);
        is_even(&partings[before..], connections, began);
        gateway.restart().await.unwrap();
        let address = gateway.address();
        let taken = async || balancer.ready().contains(&address).then_some(());
        eventually("the balancer takes it again", taken).await;
        goes_on(&crowds).await;
    }

    let (mut acked, mut longest) = (0, Duration::ZERO);
    for crowd in crowds {
        crowd.whole().await.unwrap();
        let verdict = crowd.disperse().await.unwrap();
        verdict.is_clean();
        assert_eq!((verdict.refused, verdict.unknown), (0, 0));
        (acked, longest) = (acked + verdict.acked, longest.max(verdict.wait(1.0)));
    }
    println!("{acked} acknowledged, longest wait {longest:?}");
}

/// Everybody's messages are acknowledged.
async fn goes_on(crowds: &[Crowd]) {
    for crowd in crowds {
        crowd.acks(2).await;
    }
}

fn partings(crowds: &[Crowd]) -> Vec<Parting> {
    crowds.iter().flat_map(Crowd::partings).collect()
}

/// The connections of one gateway that was told to end at `began`, in the order of their closes.
fn is_even(partings: &[Parting], connections: f64, began: Instant) {
    assert!(partings.len() as f64 > connections * 0.9, "{} of {connections}", partings.len());
    let mut returns = Vec::new();
    let mut soonest = Duration::MAX;
    for (n, parting) in partings.iter().enumerate() {
        let Some((reason, told)) = &parting.bye else { panic!("no bye: {parting:?}") };
        assert_eq!(reason, "going_away");
        let meant = parting.retry_in.unwrap();
        assert!(*told <= meant && meant <= *told + JITTER, "{parting:?}");
        // When an even spread has it closed. That it is seen later is no fault of the server's.
        let due = WINDOW.mul_f64(n as f64 / connections);
        assert!(parting.at - began >= due.mul_f64(0.9), "close {n} of {connections} came before {due:?}");
        assert!(parting.back.unwrap() - began >= *told);
        returns.push(due + *told);
        soonest = soonest.min(parting.at - began);
    }
    returns.sort_unstable();
    let within_a_second =
        |first: usize| returns[first..].partition_point(|at| *at < returns[first] + Duration::from_secs(1));
    let most = (0..returns.len()).map(within_a_second).max().unwrap_or(0);
    let even = connections / WINDOW.as_secs_f64();
    println!(
        "{} of {connections} connections told to come back; the first close after {soonest:.1?}, the last after {:.1?}; \
         at most {most} to come back in a second, {even:.0} if it were even",
        partings.len(),
        partings.last().unwrap().at - began,
    );
    assert!((most as f64) < even * STORM, "{most} are to come back within a second");
}

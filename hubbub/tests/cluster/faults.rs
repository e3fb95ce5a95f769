//! Whatever is killed, paused or cut off: nothing acknowledged is lost, doubled or reordered, and everybody is whole again.

use std::time::Duration;

use crate::world::{World, plan};

#[tokio::test]
async fn any_tier_is_killed_and_started_again() {
    let mut world = World::of(plan()).await;
    for round in 0..2 {
        for n in 0..2 {
            world.cluster.workers[n].kill().await.unwrap();
            world.crowd.acks(20).await;
            world.cluster.workers[n].restart().await.unwrap();
            world.heals(&format!("round {round}: room-worker {n} killed")).await;

            world.cluster.histories[n].kill().await.unwrap();
            world.crowd.acks(20).await;
            world.cluster.histories[n].restart().await.unwrap();
            world.heals(&format!("round {round}: history service {n} killed")).await;

            world.cluster.gateways[n].kill().await.unwrap();
            tokio::time::sleep(Duration::from_millis(world.rng.u64(..300))).await;
            world.cluster.gateways[n].restart().await.unwrap();
            world.heals(&format!("round {round}: gateway {n} killed")).await;
        }
    }
    world.end().await;
}

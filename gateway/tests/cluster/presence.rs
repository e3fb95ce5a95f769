//! A user is online while they have a connection anywhere; who tells it, and when a gateway ends.

use std::time::Duration;

use hubbub_gateway::config::Config;

use crate::world::{LONG, Watcher, World};

/// Longer than a change takes to be told: by who has to wait whether it is one, and by a gateway that waits for more of them.
const TOLD: Duration = Duration::from_secs(1);
/// Silence that counts as death, and what it takes to believe and tell it, on a machine with other work to do.
const SILENCE_BOUND: Duration = Duration::from_secs(8);

#[tokio::test]
async fn with_connections_at_two_gateways_a_user_comes_once_and_goes_once() {
    let world = World::start().await;
    let [a, b, c] = world.gateways(["a", "b", "c"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &c, &[&ann]).await;
    let first = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    for door in [&b, &c] {
        door.settles(&eve.person, &eve.room, &ann, true).await;
    }
    let second = b.connect(&ann).await;
    a.learns(&ann.id, true).await;
    first.0.close().await;
    b.learns(&ann.id, false).await;
    eve.sees_nothing_for(2 * TOLD).await;
    assert!(a.shows(&eve.person, &eve.room, &ann).await && c.shows(&eve.person, &eve.room, &ann).await);
    second.0.close().await;
    eve.sees(&ann, false).await;
    for door in [&a, &b, &c] {
        door.settles(&eve.person, &eve.room, &ann, false).await;
    }
    eve.sees_nothing_for(2 * TOLD).await;
}

#[tokio::test]
async fn who_goes_from_two_gateways_at_the_same_moment_goes_once() {
    let world = World::start().await;
    let [a, b, c] = world.gateways(["a", "b", "c"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &c, &[&ann]).await;
    let first = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    b.learns(&ann.id, true).await;
    let second = b.connect(&ann).await;
    a.learns(&ann.id, true).await;
    // Each takes her to be at the other one, and tells nobody.
    tokio::join!(first.0.close(), second.0.close());
    eve.sees(&ann, false).await;
    eve.sees_nothing_for(4 * TOLD).await;
}

#[tokio::test]
async fn who_comes_to_one_gateway_while_the_other_tells_that_they_go_is_online_at_last() {
    let world = World::start().await;
    let [a, b, c] = world.gateways(["a", "b", "c"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &c, &[&ann]).await;
    let first = b.connect(&ann).await;
    eve.sees(&ann, true).await;
    a.learns(&ann.id, true).await;
    let (_second, ()) = tokio::join!(a.connect(&ann), first.0.close());
    let told = eve.told_for(4 * TOLD).await;
    assert!(told.last().is_none_or(|online| *online == Some(true)), "{told:?}");
    assert!(c.shows(&eve.person, &eve.room, &ann).await);
}

#[tokio::test]
async fn a_dead_gateways_users_go_once_unless_they_are_elsewhere() {
    let world = World::start().await;
    let [a, b, c] = world.gateways(["a", "b", "c"]).await;
    let (ann, bob) = (world.person("ann").await, world.person("bob").await);
    let mut eve = Watcher::at(&world, &c, &[&ann, &bob]).await;
    let (_ann, _bob) = (a.connect(&ann).await, a.connect(&bob).await);
    for _ in 0..2 {
        assert_eq!(eve.next().await.online, Some(true));
    }
    b.learns(&bob.id, true).await;
    let _bob_again = b.connect(&bob).await;
    a.learns(&bob.id, true).await;
    a.die();
    tokio::time::timeout(SILENCE_BOUND, eve.sees(&ann, false)).await.expect("within the bound of silence");
    for door in [&b, &c] {
        door.settles(&eve.person, &eve.room, &ann, false).await;
    }
    assert!(c.shows(&eve.person, &eve.room, &bob).await);
    eve.sees_nothing_for(4 * TOLD).await;
}

#[tokio::test]
async fn a_gateway_that_was_only_cut_off_comes_back_with_its_users_and_did_not_drop_the_others() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &b, &[&ann]).await;
    let _ann = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    a.settles(&eve.person, &eve.room, &eve.person, true).await;
    // What a gateway did not tell yet dies with it.
    b.learns(&ann.id, true).await;
    a.die();
    eve.sees(&ann, false).await;
    a.line.is_cut.store(false, std::sync::atomic::Ordering::SeqCst);
    eve.sees(&ann, true).await;
    assert!(a.shows(&eve.person, &eve.room, &eve.person).await, "eve never went");
    b.settles(&eve.person, &eve.room, &ann, true).await;
}

#[tokio::test]
async fn a_gateway_that_leaves_takes_its_users_along_at_once() {
    let world = World::start().await;
    let [a, b, c] = world.gateways(["a", "b", "c"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &c, &[&ann]).await;
    let _ann = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    for door in [&b, &c] {
        door.learns(&ann.id, true).await;
    }
    tokio::time::timeout(Duration::from_secs(3), async { tokio::join!(a.leave(), eve.sees(&ann, false)) })
        .await
        .expect("sooner than silence would tell");
    b.settles(&eve.person, &eve.room, &ann, false).await;
    eve.sees_nothing_for(LONG).await;
}

#[tokio::test]
async fn a_gateway_that_starts_later_learns_who_is_there() {
    let world = World::start().await;
    let [a] = world.gateways(["a"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &a, &[&ann]).await;
    let _ann = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    let late = world.gateway("late").await;
    late.settles(&eve.person, &eve.room, &ann, true).await;
    let again = late.connect(&ann).await;
    again.0.close().await;
    eve.sees_nothing_for(4 * TOLD).await;
}

#[tokio::test]
async fn a_large_rooms_count_is_of_all_living_gateways() {
    let world = World::start().await;
    let config = || Config { presence_members_max: 1, ..Config::default() };
    let (a, b) = (world.gateway_with("a", config()).await, world.gateway_with("b", config()).await);
    let (ann, bob) = (world.person("ann").await, world.person("bob").await);
    let mut eve = Watcher::at(&world, &b, &[&ann, &bob]).await;
    let _ann = a.connect(&ann).await;
    let bob_here = a.connect(&bob).await;
    eve.counts(3).await;
    bob_here.0.close().await;
    eve.counts(2).await;
    a.die();
    eve.counts(1).await;
}

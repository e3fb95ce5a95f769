//! Rooms that are written without a worker, and what workers find of them.

use hubbub_core::ids::{Millis, Seq};
use hubbub_core::room::{Action, Answer, Verb};
use hubbub_room_worker::OpenError;
use hubbub_room_worker::offline::{Claim, OfflineRoom, each_entry};

use crate::world::*;

/// More than one batch.
const ENTRIES: u64 = 2_500;

async fn claim(world: &World) -> Claim {
    Claim { partition: PARTITION, epoch: world.store.claim(PARTITION).await.unwrap() }
}

async fn open(world: &World, claim: Claim) -> OfflineRoom {
    OfflineRoom::open(world.store.clone(), room("lobby"), claim).await.unwrap()
}

async fn act(log: &mut OfflineRoom, who: &str, at: u64, verb: Verb) -> Answer {
    log.act(Action { user: &user(who), at: Millis(at), verb: &verb }).await.unwrap()
}

/// Writes up to so many entries, each at the time of its number.
async fn write(log: &mut OfflineRoom, upto: u64) {
    for n in log.room().head().0 + 1..=upto {
        let key = format!("k{n}");
        let verb = if n == 1 { create("lobby") } else { say("hello", Some(&key), None) };
        act(log, "ann", n, verb).await;
    }
}

#[tokio::test]
async fn a_room_that_was_left_in_the_middle_goes_on_and_a_worker_takes_it_over() {
    let world = World::new();
    let mut log = open(&world, claim(&world).await).await;
    write(&mut log, ENTRIES).await;
    // Killed: what was not written is gone.
    drop(log);
    let mut log = open(&world, claim(&world).await).await;
    let kept = log.room().head().0;
    assert!((1_024..ENTRIES).contains(&kept), "{kept}");
    // What is there is found by its key.
    let again = act(&mut log, "ann", 9_999, say("hello", Some("k1000"), None)).await;
    assert_eq!(again, Answer::Kept { seq: Seq(1_000), at: Some(Millis(1_000)) });
    write(&mut log, ENTRIES).await;
    log.finish().await.unwrap();
    let row = world.store.room(room("lobby")).await.unwrap().unwrap();
    assert_eq!((row.mark, row.mark_at, row.member_count), (Seq(ENTRIES), Millis(ENTRIES), 1));
    assert_eq!(row.created_at, Millis(1));
    let mut times = Vec::new();
    each_entry(&*world.store, &room("lobby"), row.mark, |entry| times.push((entry.seq.0, entry.at.0)))
        .await
        .unwrap();
    assert_eq!(times, (1..=ENTRIES).map(|n| (n, n)).collect::<Vec<_>>());

    let worker = world.worker();
    assert_eq!(world.kept(&room("lobby"), "bob", Verb::Join).await, ENTRIES + 1);
    assert_eq!(world.kept(&room("lobby"), "ann", say("hello", Some("k2000"), None)).await, 2_000);
    worker.shut_down().await;
}

#[tokio::test]
async fn a_room_that_is_added_to_by_somebody_new_goes_on() {
    let world = World::new();
    let mut log = open(&world, claim(&world).await).await;
    write(&mut log, 3).await;
    log.finish().await.unwrap();
    let mut log = open(&world, claim(&world).await).await;
    act(&mut log, "bob", 9, Verb::Join).await;
    // The keys that a repeat is looked for among are from before that.
    let said = act(&mut log, "bob", 9, say("hello", Some("bobs"), None)).await;
    assert_eq!(said, Answer::Kept { seq: Seq(5), at: Some(Millis(9)) });
    log.finish().await.unwrap();
    assert_eq!(world.store.room(room("lobby")).await.unwrap().unwrap().mark, Seq(5));
}

#[tokio::test]
async fn who_is_fenced_is_told_and_what_it_wrote_counts_for_nobody() {
    let world = World::new();
    let mut older = open(&world, claim(&world).await).await;
    write(&mut older, 3).await;
    let mut newer = open(&world, claim(&world).await).await;
    write(&mut newer, 2).await;
    newer.finish().await.unwrap();
    assert!(matches!(older.finish().await, Err(OpenError::Fenced(_))));
    let log = open(&world, claim(&world).await).await;
    assert_eq!(log.room().head(), Seq(2));
}

//! One room that the store does not take does not take the others along.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_adapters::leases::LocalLeases;
use hubbub_core::ports::bus::{Message, Subject};
use hubbub_core::room::{Answer, Verb};
use hubbub_wire::tier::act::Told;
use hubbub_wire::tier::event::Joined;
use hubbub_wire::tier::parcel;

use crate::faults::{Broken, Op};
use crate::world::*;

/// What the inbox takes.
const ASKS_MAX: usize = 50;
/// How long who asks of the broken room waits.
const PATIENCE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_room_whose_lists_can_not_be_written_gives_its_share_of_the_inbox_back() {
    gives_its_share_back(Op::Project).await;
}

#[tokio::test]
async fn a_room_whose_log_can_not_be_written_gives_its_share_of_the_inbox_back() {
    gives_its_share_back(Op::Append).await;
}

async fn gives_its_share_back(op: Op) {
    let world = World::new();
    let (stuck, lobby) = (room("stuck"), room("lobby"));
    let broken = Broken { room: stuck.clone(), op, mended: Arc::new(AtomicBool::new(true)) };
    let leases = Arc::new(LocalLeases::default());
    let store = world.broken(broken.clone());
    let worker = world.worker_with(store, leases, |config| config.inbox_asks_max = ASKS_MAX);
    world.served().await;
    world.made("stuck", "ann").await;
    world.made("lobby", "ann").await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let to = heard.clone();
    let listener = Arc::new(move |Message { mut payload, .. }| {
        let joined: Joined = parcel::header(&mut payload).expect("who joined");
        let joined = (joined.seq.0, joined.user.id.to_string());
        // The last one is said again, also that of her who made the room.
        let mut heard = to.lock().unwrap();
        if joined.1 != "ann" && !heard.contains(&joined) {
            heard.push(joined);
        }
    });
    let _listening = world.bus.listen(Subject::Memberships, listener).await.expect("listens");

    broken.mended.store(false, Ordering::SeqCst);
    let join = |n: usize| act(&format!("u{n}"), Verb::Join);
    let joins: Vec<_> = (0..2 * ASKS_MAX).map(|n| world.begin_for(&stuck, join(n), PATIENCE)).collect();
    for answer in joins {
        let told = answer.await.map(|mut told| parcel::header(&mut told).expect("a header"));
        assert!(matches!(told, None | Some(Told::Unavailable)), "{told:?}");
    }
    until("the other room is answered", async || {
        let told = world.ask_once(&lobby, act("ann", say("hello", None, None))).await;
        matches!(told, Some(Told::Done(Answer::Kept { .. })))
    })
    .await;
    // Nobody would hear what is decided now, and it would be held without a bound.
    let told = world.ask_once(&stuck, join(2 * ASKS_MAX)).await;
    assert!(matches!(told, Some(Told::Unavailable)), "{told:?}");

    broken.mended.store(true, Ordering::SeqCst);
    let (synced, _) = world.synced(&stuck, 0).await;
    assert_eq!(synced.info.members, 1 + ASKS_MAX as u64, "all that was taken");
    let expected: Vec<_> = (0..ASKS_MAX).map(|n| (2 + n as u64, format!("u{n}"))).collect();
    assert_eq!(*heard.lock().unwrap(), expected, "who joined is told of, in order");
    assert_eq!(world.store.members(stuck, None, 2 * ASKS_MAX).await.unwrap().len(), 1 + ASKS_MAX);
    worker.shut_down().await;
}

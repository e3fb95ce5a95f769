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

#[tokio::test]
async fn a_room_whose_mark_can_not_be_written_takes_no_more_than_a_first_touch_can_read() {
    let world = World::new();
    let lobby = room("lobby");
    let broken = Broken { room: lobby.clone(), op: Op::Project, mended: Arc::new(AtomicBool::new(true)) };
    let worker = world.worker_with(world.broken(broken.clone()), Arc::new(LocalLeases::default()), |_| {});
    world.served().await;
    world.made("lobby", "ann").await;
    until("it is in the lists", async || world.store.room(lobby.clone()).await.unwrap().is_some()).await;
    broken.mended.store(false, Ordering::SeqCst);
    let mut kept = 0;
    loop {
        let sent: Vec<_> = (0..500).map(|_| world.begin(&lobby, act("ann", say("x", None, None)))).collect();
        let before = kept;
        for answer in sent {
            match answer.await.map(|mut told| parcel::header(&mut told).expect("a header")) {
                Some(Told::Done(Answer::Kept { .. })) => kept += 1,
                told => assert!(matches!(told, Some(Told::Unavailable)), "{told:?}"),
            }
        }
        assert!(kept < 30_000, "{kept} messages are taken while the mark stays where it was");
        if kept == before {
            break;
        }
    }
    assert!(kept >= 20_000, "a mark may be late: {kept}");
    assert_eq!(world.synced(&lobby, 0).await.0.info.head.0, 1 + kept, "it is still read");

    // The next holder has the same store, until it is mended.
    worker.kill().await;
    let heard = world.listen(&lobby).await;
    let worker = world.worker_with(world.broken(broken.clone()), Arc::new(LocalLeases::default()), |_| {});
    assert_eq!(world.synced(&lobby, 0).await.0.info.head.0, 1 + kept);
    assert_eq!(heard.entries().len() as u64, kept);
    let told = world.ask_once(&lobby, act("ann", say("x", None, None))).await;
    assert!(matches!(told, Some(Told::Unavailable)), "{told:?}");
    broken.mended.store(true, Ordering::SeqCst);
    assert_eq!(world.kept(&lobby, "ann", say("x", None, None)).await, 2 + kept);
    worker.shut_down().await;
}

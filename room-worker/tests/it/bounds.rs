//! What waits in the loop has a bound, wherever it waits; and what waits for long gives its place to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hubbub_adapters::leases::LocalLeases;
use hubbub_core::ids::Seq;
use hubbub_core::ports::bus::Payload;
use hubbub_core::ports::store::Read;
use hubbub_core::room::{Answer, Verb};
use hubbub_wire::tier::act::{Told, What};
use hubbub_wire::tier::parcel;
use tokio::sync::Semaphore;

use crate::faults::{Fault, Op};
use crate::world::*;

/// More messages than a room may have on their way at once.
const MANY: usize = 700;
/// Rooms that have more on their way together than is allowed where the inbox is small.
const ROOMS: usize = 200;
/// Less than may be, and less than all of them.
const AT_LEAST: usize = 100;
/// What the inbox takes, where it is small.
const ASKS_MAX: usize = 50;
/// How long those wait whose asks are held up.
const PATIENCE: Duration = Duration::from_millis(200);

/// 16 KiB, of which a room may have some hundreds on their way.
fn long() -> Verb {
    say(&"😀".repeat(4_096), None, None)
}

/// Whoever was refused is told so while the others wait.
async fn refused_soon(answer: impl Future<Output = Option<Payload>>) {
    let told = tokio::time::timeout(Duration::from_secs(5), answer).await.expect("an answer");
    let told = told.map(|mut told| parcel::header(&mut told).expect("a header"));
    assert!(matches!(told, Some(Told::Unavailable)), "{told:?}");
}

/// Operations of a kind wait at a gate as long as it is `shut`.
fn gated(gated: Op) -> (Arc<AtomicBool>, Arc<Semaphore>, impl Fn(Op) -> Fault + Send + Sync + 'static) {
    let (shut, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let (is_shut, at) = (shut.clone(), gate.clone());
    let plan = move |op| match op == gated && is_shut.load(Ordering::SeqCst) {
        true => Fault::Gate(at.clone()),
        false => Fault::None,
    };
    (shut, gate, plan)
}

#[tokio::test]
async fn a_room_that_is_offered_more_than_its_log_takes_refuses_what_is_too_much_and_no_sync() {
    let world = World::new();
    let (shut, gate, plan) = gated(Op::Append);
    let worker = world.worker_on(world.faulty(plan));
    world.served().await;
    let lobby = room("lobby");
    world.made("lobby", "ann").await;

    shut.store(true, Ordering::SeqCst);
    let mut sent: Vec<_> = (0..MANY).map(|_| world.begin(&lobby, act("ann", long()))).collect();
    let synced = world.begin(&lobby, sync(0));
    refused_soon(sent.pop().unwrap()).await;
    shut.store(false, Ordering::SeqCst);
    gate.add_permits(MANY);

    let mut kept = 0;
    for answer in sent {
        let mut told = answer.await.expect("an answer");
        kept += usize::from(matches!(parcel::header(&mut told), Ok(Told::Done(Answer::Kept { .. }))));
    }
    assert!((AT_LEAST..MANY / 2).contains(&kept), "{kept} were taken");
    match parcel::header(&mut synced.await.expect("an answer")).expect("a header") {
        Told::Synced(synced) => assert_eq!(synced.info.head.0, 1 + kept as u64),
        told => panic!("{told:?}"),
    }
    assert_eq!(world.kept(&lobby, "ann", long()).await, 2 + kept as u64, "it goes on");
    worker.shut_down().await;
}

#[tokio::test]
async fn what_all_rooms_have_on_their_way_is_bounded_by_what_the_inbox_may_hold() {
    let world = World::new();
    let (shut, gate, plan) = gated(Op::Append);
    let worker = world.worker_with(world.faulty(plan), Arc::new(LocalLeases::default()), |config| {
        config.inbox_bytes_max = 256 * 1024;
    });
    world.served().await;
    let names: Vec<_> = (0..ROOMS).map(|n| format!("r{n}")).collect();
    for name in &names {
        world.made(name, "ann").await;
    }
    shut.store(true, Ordering::SeqCst);
    let mut taken = 0;
    // In ten rooms each time. Nobody waits for the answers for long: the inbox is empty again.
    for names in names.chunks(10) {
        let sent: Vec<_> =
            names.iter().map(|name| world.begin_for(&room(name), act("ann", long()), PATIENCE)).collect();
        for answer in sent {
            // What is taken waits until it is too late.
            taken += usize::from(answer.await.is_none());
        }
        until("there is room in the inbox", async || {
            let users = vec![user("somebody-with-a-name").id; 8_000];
            let told = world.ask_once(&room("is-it-served"), What::Sync { newest: 0, users }).await;
            matches!(told, Some(Told::NoSuchRoom))
        })
        .await;
    }
    assert!((10..ROOMS / 2).contains(&taken), "{taken} were taken");
    shut.store(false, Ordering::SeqCst);
    gate.add_permits(10 * ROOMS);
    until("it goes on", async || {
        let told = world.ask_once(&room("r199"), act("ann", long())).await;
        matches!(told, Some(Told::Done(Answer::Kept { .. })))
    })
    .await;
    worker.shut_down().await;
}

#[tokio::test]
async fn what_a_first_touch_finds_is_told_a_batch_at_a_time() {
    let world = World::new();
    let lobby = room("lobby");
    let worker = world.worker();
    world.made("lobby", "ann").await;
    // Not as much as a mark is written for, and more than a batch takes.
    let head = 101;
    for seq in 2..=head {
        assert_eq!(world.kept(&lobby, "ann", long()).await, seq);
    }
    worker.kill().await;

    let heard = world.listen(&lobby).await;
    let (shut, gate, plan) = gated(Op::Fence);
    let worker = world.worker_on(world.faulty(plan));
    world.served().await;
    shut.store(true, Ordering::SeqCst);
    let mut synced = Box::pin(world.begin(&lobby, sync(0)));
    for fences in 1..=2 {
        gate.add_permits(1);
        let before = heard.seqs();
        until("a batch is told", async || heard.seqs().len() > before.len()).await;
        assert!(heard.seqs().len() <= 35 * fences, "{:?}", heard.seqs());
        assert!((&mut synced).now_or_never().is_none(), "told before what it rests on");
    }
    // What is sent meanwhile comes behind it.
    let sent = world.begin(&lobby, act("ann", long()));
    shut.store(false, Ordering::SeqCst);
    gate.add_permits(1);
    let told = |answer: Option<Payload>| parcel::header(&mut answer.expect("an answer")).expect("a header");
    match (told(synced.await), told(sent.await)) {
        (Told::Synced(synced), Told::Done(Answer::Kept { seq, .. })) => {
            assert_eq!((synced.info.head, seq), (Seq(head), Seq(head + 1)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(heard.seqs(), Vec::from_iter(2..=head + 1));
    worker.shut_down().await;
}

#[tokio::test]
async fn what_is_in_the_store_counts_until_the_fence_is_read() {
    let world = World::new();
    let mended = Arc::new(AtomicBool::new(true));
    let is_mended = mended.clone();
    let worker =
        world.worker_on(world.faulty(move |op| match op == Op::Fence && !is_mended.load(Ordering::SeqCst) {
            true => Fault::Before,
            false => Fault::None,
        }));
    world.served().await;
    let lobby = room("lobby");
    world.made("lobby", "ann").await;
    let (synced, _) = world.synced(&lobby, 0).await;

    mended.store(false, Ordering::SeqCst);
    let mut sent = Vec::new();
    // One after the other, so that nothing waits for the store to take it.
    for n in 0..MANY {
        let mut answer = Box::pin(world.begin(&lobby, act("ann", long())));
        let seq = 2 + n as u64;
        let lands = until("it is in the store", async || {
            let (room, epoch, seqs) = (lobby.clone(), synced.epoch, seq..=seq);
            let read = Read { room, epoch, seqs, bytes_max: 1 };
            !world.store.read(read).await.expect("reads").is_empty()
        });
        tokio::select! {
            told = &mut answer => {
                refused_soon(async { told }).await;
                break;
            }
            () = lands => sent.push(answer),
        }
    }
    assert!((AT_LEAST..MANY / 2).contains(&sent.len()), "{} were taken", sent.len());
    mended.store(true, Ordering::SeqCst);
    for answer in sent {
        let mut told = answer.await.expect("an answer");
        let told = parcel::header(&mut told);
        assert!(matches!(told, Ok(Told::Done(Answer::Kept { .. }))), "{told:?}");
    }
    world.kept(&lobby, "ann", long()).await;
    worker.shut_down().await;
}

/// A world with a room `old` whose keys are not in memory, and a room `lobby`; both are open.
async fn with_old_room(
    messages: usize,
    plan: impl Fn(Op) -> Fault + Send + Sync + 'static,
) -> (World, Worker) {
    let world = World::new();
    let first = world.worker();
    world.served().await;
    for name in ["old", "lobby"] {
        world.made(name, "ann").await;
    }
    world.kept(&room("old"), "ann", say("first", Some("key"), None)).await;
    let sent: Vec<_> =
        (0..messages).map(|_| world.begin(&room("old"), act("ann", say("more", None, None)))).collect();
    for answer in sent {
        let told = answer.await.map(|mut told| parcel::header(&mut told).expect("a header"));
        assert!(matches!(told, Some(Told::Done(Answer::Kept { .. }))), "{told:?}");
    }
    first.shut_down().await;
    let store = world.faulty(plan);
    let set = |config: &mut hubbub_room_worker::Config| config.inbox_asks_max = ASKS_MAX;
    let worker = world.worker_with(store, Arc::new(LocalLeases::default()), set);
    world.served().await;
    for name in ["old", "lobby"] {
        world.synced(&room(name), 0).await;
    }
    (world, worker)
}

/// As many asks as the inbox takes wait for an operation of the store that does not end: once nobody waits for them, others have
/// their places.
async fn gives_its_places_back(op: Op, name: &str, what: impl Fn() -> What) {
    let (shut, gate, plan) = gated(op);
    let (world, worker) = with_old_room(0, plan).await;
    shut.store(true, Ordering::SeqCst);
    let asks: Vec<_> = (0..ASKS_MAX).map(|_| world.begin_for(&room(name), what(), PATIENCE)).collect();
    for answer in asks {
        let told = answer.await.map(|mut told| parcel::header(&mut told).expect("a header"));
        assert!(matches!(told, None | Some(Told::Unavailable)), "{told:?}");
    }
    until("the other room is answered", async || {
        let told = world.ask_once(&room("lobby"), act("ann", say("hello", None, None))).await;
        matches!(told, Some(Told::Done(Answer::Kept { .. })))
    })
    .await;
    shut.store(false, Ordering::SeqCst);
    gate.add_permits(1_000);
    worker.shut_down().await;
}

#[tokio::test]
async fn asks_that_wait_for_keys_in_vain_give_their_places_back() {
    let keyed = || act("ann", say("again", Some("key"), None));
    gives_its_places_back(Op::Read, "old", keyed).await;
}

#[tokio::test]
async fn asks_that_wait_for_a_first_touch_in_vain_give_their_places_back() {
    gives_its_places_back(Op::Segments, "another", || sync(0)).await;
}

#[tokio::test]
async fn orders_that_wait_in_vain_give_their_places_back() {
    let erase = || What::Erase { by: user("admin"), author: user("ann").id, from: None };
    gives_its_places_back(Op::Segments, "old", erase).await;
}

#[tokio::test]
async fn keys_that_can_not_be_read_are_no_reason_to_refuse_who_needs_none() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let (world, worker) =
        with_old_room(0, move |op| match op == Op::Read && is_broken.load(Ordering::SeqCst) {
            true => Fault::Damage,
            false => Fault::None,
        })
        .await;
    let old = room("old");
    broken.store(true, Ordering::SeqCst);
    let keyed = world.begin(&old, act("bob", say("not a member's", Some("k"), None)));
    let plain = world.begin(&old, act("ann", say("hello", None, None)));
    let after = world.begin(&old, act("ann", say("hello again", Some("k"), Some(2))));
    let synced = world.begin(&old, sync(0));
    refused_soon(keyed).await;
    let told = parcel::header(&mut plain.await.expect("an answer"));
    assert!(matches!(told, Ok(Told::Done(Answer::Kept { seq: Seq(3), .. }))), "{told:?}");
    // It says what it has seen, and all that came since is in memory.
    let told = parcel::header(&mut after.await.expect("an answer"));
    assert!(matches!(told, Ok(Told::Done(Answer::Kept { seq: Seq(4), .. }))), "{told:?}");
    let told = parcel::header(&mut synced.await.expect("an answer"));
    assert!(matches!(told, Ok(Told::Synced(_))), "{told:?}");
    worker.shut_down().await;
}

#[tokio::test]
async fn keys_that_were_read_are_not_read_again_because_others_could_not_be() {
    let broken = Arc::new(AtomicBool::new(false));
    let (is_broken, reads) = (broken.clone(), AtomicUsize::new(0));
    // Every other read fails: never two pages in a row.
    let (world, worker) = with_old_room(2_500, move |op| {
        let is_hit = op == Op::Read && is_broken.load(Ordering::SeqCst);
        match is_hit && reads.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            true => Fault::Damage,
            false => Fault::None,
        }
    })
    .await;
    broken.store(true, Ordering::SeqCst);
    let again = world.kept(&room("old"), "ann", say("first", Some("key"), None)).await;
    assert_eq!(again, 2, "it is a repeat");
    worker.shut_down().await;
}

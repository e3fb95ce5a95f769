//! A room in its next holder's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hubbub_adapters::leases::LocalLeases;
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Key, Millis, Seq};
use hubbub_core::limits::Content;
use hubbub_core::ports::leases::Leases;
use hubbub_core::ports::store::{Append, Segment, Store};
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_wire::tier::act::Told;
use tokio::time::Instant;

use crate::faults::{Fault, Op};
use crate::log_reader::read_log;
use crate::world::*;

#[tokio::test]
async fn a_room_survives_restart_with_members_keys_and_order() {
    let mut world = World::new();
    let lobby = room("lobby");
    for (start, killed) in [false, true, true, false].into_iter().enumerate() {
        let worker = world.worker();
        let first = 2 + 3 * start as u64;
        if start == 0 {
            world.made("lobby", "ann").await;
        }
        let bob = match start % 2 == 0 {
            true => world.kept(&lobby, "bob", Verb::Join).await,
            false => world.kept(&lobby, "bob", Verb::Leave).await,
        };
        assert_eq!(bob, first);
        for n in 0..2 {
            let key = format!("key-{start}-{n}");
            assert_eq!(world.kept(&lobby, "ann", say("x", Some(&key), None)).await, first + 1 + n);
        }
        for earlier in 0..=start {
            let key = format!("key-{earlier}-1");
            let seq = world.kept(&lobby, "ann", say("x", Some(&key), None)).await;
            assert_eq!(seq, 4 + 3 * earlier as u64, "a repeat is found over restarts");
        }
        match killed {
            true => worker.kill().await,
            false => worker.shut_down().await,
        }
        // The process ends, and another opens the same folder.
        let dir = world.dir;
        drop(world.store);
        world = World { store: open(dir.path()), dir, bus: world.bus };
    }
    let worker = world.worker();
    let refused = world.act(&lobby, "bob", say("gone", None, None)).await;
    assert_eq!(refused, Answer::Refused(Refusal::NotMember), "who left is gone");
    assert_eq!(world.act(&lobby, "bob", create("lobby")).await, Answer::Refused(Refusal::RoomTaken));
    let (synced, _) = world.synced(&lobby, 0).await;
    assert_eq!((synced.info.head, synced.info.members), (Seq(13), 1));
    let log = read_log(&world.store, &lobby, synced.read_to()).await;
    assert!(log.is_sorted_by_key(|e| (e.seq, e.at)));
    worker.shut_down().await;
}

#[tokio::test]
async fn a_repeat_after_takeover_gets_the_first_seq() {
    let world = World::new();
    let lobby = room("lobby");
    let leases = Arc::new(LocalLeases::default());
    let old = world.worker_with(world.store.clone(), leases.clone(), |_| {});
    world.made("lobby", "ann").await;
    let first = world.kept(&lobby, "ann", say("one", Some("k"), Some(1))).await;
    old.kill().await;
    // The lease was not given back: the next holder takes it when it has run out.
    let new = world.worker_with(world.store.clone(), leases, |_| {});
    assert_eq!(world.kept(&lobby, "ann", say("one", Some("k"), Some(1))).await, first);
    assert_eq!(world.kept(&lobby, "ann", say("one", Some("k"), None)).await, first);
    assert_eq!(world.kept(&lobby, "ann", say("two", Some("l"), Some(2))).await, first + 1);
    new.shut_down().await;
}

/// The answer of the write is lost and the holder dies: nobody knows whether it is there. From the next holder on everybody does.
#[tokio::test]
async fn an_entry_written_but_never_acked_is_found_once() {
    let world = World::new();
    let lobby = room("lobby");
    let (lost, wrote) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (plan_lost, plan_wrote) = (lost.clone(), wrote.clone());
    let old = world.worker_on(world.faulty(move |op| {
        if op != Op::Append || !plan_lost.load(Ordering::SeqCst) {
            return Fault::None;
        }
        plan_wrote.store(true, Ordering::SeqCst);
        Fault::After
    }));
    world.made("lobby", "ann").await;
    lost.store(true, Ordering::SeqCst);
    let _unknown = world.begin(&lobby, act("ann", say("one", Some("k"), None)));
    until("it is written", async || wrote.load(Ordering::SeqCst)).await;
    let epoch = world.store.segments(lobby.clone()).await.unwrap()[0].epoch;
    until("and there", async || {
        let seqs = 2..=2;
        let read = hubbub_core::ports::store::Read { room: lobby.clone(), epoch, seqs, bytes_max: 1 };
        !world.store.read(read).await.unwrap().is_empty()
    })
    .await;
    old.kill().await;
    let heard = world.listen(&lobby).await;
    let new = world.worker();
    assert_eq!(world.kept(&lobby, "ann", say("one", Some("k"), None)).await, 2);
    assert!(heard.seqs().contains(&2), "readers who missed it are told");
    let (synced, _) = world.synced(&lobby, 0).await;
    let log = read_log(&world.store, &lobby, synced.read_to()).await;
    assert_eq!(log.iter().filter(|e| e.key.is_some()).count(), 1);
    let store = &world.store;
    until("the lists are brought up to it", async || {
        store.room(lobby.clone()).await.unwrap().unwrap().mark == synced.info.head
    })
    .await;
    new.shut_down().await;
}

#[tokio::test]
async fn a_released_lease_is_taken_at_once_and_a_held_one_is_left_alone() {
    let world = World::new();
    let leases = Arc::new(LocalLeases::default());
    let slow = |config: &mut hubbub_room_worker::Config| config.lease_ttl = Duration::from_secs(2);
    let old = world.worker_with(world.store.clone(), leases.clone(), slow);
    world.served().await;
    let epoch = world.store.fence(PARTITION).await.unwrap();
    let new = world.worker_with(world.store.clone(), leases.clone(), slow);
    world.made("lobby", "ann").await;
    let revision = async || leases.read(PARTITION).await.unwrap().map(|lease| lease.revision.0);
    let renewed = revision().await.map(|before| before + 2);
    until("it was renewed twice, and the other has looked often", async || revision().await >= renewed).await;
    assert_eq!(world.store.fence(PARTITION).await.unwrap(), epoch, "nobody claims what another holds");
    let released = Instant::now();
    old.shut_down().await;
    until("the other holds it", async || world.store.fence(PARTITION).await.unwrap() > epoch).await;
    assert!(released.elapsed() < Duration::from_secs(2), "it waited for the lease to run out");
    assert_eq!(world.kept(&room("lobby"), "ann", say("x", None, None)).await, 2);
    new.shut_down().await;
}

/// Two writes come late: an entry that the first holder had given up, and the segment of a second one that had not seen that
/// entry. The third has vouched for the entry in between.
#[tokio::test]
async fn what_was_vouched_for_is_not_cut_by_a_late_segment() {
    let world = World::new();
    let lobby = room("lobby");
    let first = world.worker();
    world.made("lobby", "ann").await;
    let e1 = world.store.segments(lobby.clone()).await.unwrap()[0].epoch;
    first.kill().await;
    let second = world.store.claim(PARTITION).await.unwrap();
    let entry = |text: &str, key: &str| {
        let (content, key) = (Content::text(text.into()).unwrap(), Key::parse(key).unwrap());
        Entry::new(&lobby, Seq(2), Millis(1), &user("ann"), Some(key), Says::Message(&content))
    };
    let late = Append { room: lobby.clone(), epoch: e1, entries: vec![entry("of the first", "k")] };
    world.store.append(late).await.unwrap();

    let third = world.worker();
    assert_eq!(world.kept(&lobby, "ann", say("of the first", Some("k"), None)).await, 2);
    let segment = Segment { epoch: second, start: Seq(2), prev: Some(e1) };
    world.store.put_segment(lobby.clone(), segment).await.unwrap();
    let late = Append { room: lobby.clone(), epoch: second, entries: vec![entry("of the second", "l")] };
    world.store.append(late).await.unwrap();
    third.kill().await;

    let fourth = world.worker();
    assert_eq!(world.kept(&lobby, "ann", say("of the first", Some("k"), None)).await, 2);
    let (synced, _) = world.synced(&lobby, 0).await;
    let to = synced.read_to();
    let log = read_log(&world.store, &lobby, to).await;
    assert_eq!(log[1..], [entry("of the first", "k")]);
    fourth.shut_down().await;
}

/// A gap in what a mark says is there is not papered over: nobody is told anything of that room, and nothing is written.
#[tokio::test]
async fn a_room_with_a_gap_in_its_committed_log_is_not_opened() {
    let world = World::new();
    let lobby = room("lobby");
    let first = world.worker();
    world.made("lobby", "ann").await;
    let e1 = world.store.segments(lobby.clone()).await.unwrap()[0].epoch;
    first.kill().await;
    // A segment that begins at 5 says that 2 to 4 were there.
    let epoch = world.store.claim(PARTITION).await.unwrap();
    let segment = Segment { epoch, start: Seq(5), prev: Some(e1) };
    world.store.put_segment(lobby.clone(), segment).await.unwrap();
    let before = world.store.segments(lobby.clone()).await.unwrap();
    let second = world.worker();
    world.served().await;
    let told = world.ask_once(&lobby, act("ann", say("x", None, None))).await;
    assert!(matches!(told, Some(Told::Unavailable)), "{told:?}");
    assert_eq!(world.store.segments(lobby.clone()).await.unwrap(), before);
    assert_eq!(world.made("other", "ann").await.head, Seq(1), "other rooms go on");
    second.shut_down().await;
}

/// The store, and how many rooms were opened from it.
fn counts_opened(world: &World) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let store = world.faulty(move |op| {
        count.fetch_add(usize::from(op == Op::Segments), Ordering::Relaxed);
        Fault::None
    });
    (store, opened)
}

/// A room put out of memory comes back as it was, also in the same epoch.
#[tokio::test]
async fn a_room_put_out_of_memory_comes_back_as_it_was() {
    let world = World::new();
    let (store, opened) = counts_opened(&world);
    let worker = world.worker_with(store, Arc::new(LocalLeases::default()), |config| {
        config.open_rooms_max = 4;
    });
    for n in 0..20 {
        world.made(&format!("room-{n}"), "ann").await;
    }
    for round in 0..5 {
        for n in 0..20 {
            let (room, key) = (room(&format!("room-{n}")), format!("k{round}"));
            assert_eq!(world.kept(&room, "ann", say("x", Some(&key), None)).await, round + 2);
            assert_eq!(world.kept(&room, "ann", say("x", Some("k0"), None)).await, 2);
        }
    }
    worker.shut_down().await;
    assert!(opened.load(Ordering::Relaxed) > 100, "rooms went and came");
    assert_eq!(world.store.segments(room("room-0")).await.unwrap().len(), 1);
}

/// By number there may be many more: it is members, keys and the newest entries that take so much.
#[tokio::test]
async fn rooms_that_take_more_memory_than_they_may_are_put_out_of_it() {
    const ROOMS_BYTES_MAX: usize = 100 * 1024;
    let world = World::new();
    let (store, opened) = counts_opened(&world);
    let worker = world.worker_with(store, Arc::new(LocalLeases::default()), |config| {
        config.rooms_bytes_max = ROOMS_BYTES_MAX;
    });
    let long = "x".repeat(4_000);
    let rooms = [room("a"), room("b")];
    for room in &rooms {
        world.made(room.as_str(), "ann").await;
        for n in 0..ROOMS_BYTES_MAX / 2 / long.len() + 1 {
            world.kept(room, "ann", say(&long, Some(&format!("k{n}")), None)).await;
        }
    }
    assert_eq!(opened.load(Ordering::Relaxed), 2);
    let put_out = async {
        while opened.load(Ordering::Relaxed) == 2 {
            for room in &rooms {
                assert_eq!(world.kept(room, "ann", say(&long, Some("k0"), None)).await, 2);
            }
        }
    };
    tokio::time::timeout(DEADLINE, put_out).await.expect("one is put out, and comes back as it was");
    worker.shut_down().await;
}

//! A user's messages are erased: first the bytes, then the word.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hubbub_core::entry::{Entry, Erasure, Kept, Kind, Retention, Says};
use hubbub_core::ids::{Epoch, Millis, Seq};
use hubbub_core::limits::Content;
use hubbub_core::ports::store::{Append, MemberChange, Projection, Read, Segment};
use hubbub_core::room::{Action, Verb};
use hubbub_wire::tier::act::{EraseFrom, Erased, Told, What};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::faults::{Bars, Fault, Faulty, Op};
use crate::log_reader::read_log;
use crate::world::*;

/// One part of an order; asked for again while nobody serves.
async fn part(world: &World, author: &str, from: Option<EraseFrom>) -> Erased {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let what = What::Erase { by: user("admin"), author: user(author).id, from };
        match world.ask_once(&room("lobby"), what).await {
            Some(Told::Erased(erased)) => return erased,
            told if Instant::now() > deadline => panic!("no part of it, last {told:?}"),
            _ => tokio::task::yield_now().await,
        }
    }
}

/// All parts of an order: how many there were, how many messages, and the entry that says so.
async fn erase(world: &World, author: &str) -> (usize, u64, Option<u64>) {
    let (mut from, mut parts, mut count) = (None, 0, 0);
    loop {
        let erased = part(world, author, from).await;
        (parts, count) = (parts + 1, count + erased.count);
        match erased.next {
            Some(next) => from = Some(next),
            None => return (parts, count, erased.seq.map(|seq| seq.0)),
        }
    }
}

async fn log(world: &World) -> Vec<Entry> {
    let (synced, _) = world.synced(&room("lobby"), 0).await;
    read_log(&world.store, &room("lobby"), synced.read_to()).await
}

fn says(entry: &Entry, text: &str) -> bool {
    String::from_utf8_lossy(&entry.json).contains(text)
}

#[tokio::test]
async fn what_a_user_said_is_gone_and_its_places_are_there() {
    let world = World::new();
    let lobby = room("lobby");
    let worker = world.worker();
    world.made("lobby", "ann").await;
    world.kept(&lobby, "bob", Verb::Join).await;
    for n in 0..5 {
        world.kept(&lobby, "bob", say(&format!("a secret, {n}"), Some(&format!("k{n}")), None)).await;
        world.kept(&lobby, "ann", say(&format!("no secret, {n}"), None, None)).await;
    }
    let heard = world.listen(&lobby).await;
    assert_eq!(erase(&world, "nobody").await, (1, 0, None));
    assert_eq!(erase(&world, "bob").await, (1, 5, Some(13)));
    let before = log(&world).await;
    assert!(before.iter().all(|entry| !says(entry, "a secret")));
    let count = |kind| before.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count(Kind::Text), count(Kind::Erased), count(Kind::Join)), (5, 5, 2));
    // Members are told, and what is in memory for who comes is blank.
    let [told] = &heard.entries()[..] else { panic!("{:?}", heard.entries()) };
    let erasure = told.erasure().unwrap();
    assert_eq!((told.seq, told.user.as_str(), erasure.upto), (Seq(13), "bob", Seq(11)));
    let (synced, newest) = world.synced(&lobby, 20).await;
    assert_eq!(
        (synced.erased, newest.len(), newest.iter().any(|e| says(e, "a secret"))),
        (Seq(13), 13, false)
    );
    // The same again is the same, also of the next holder, who does not know of the first.
    assert_eq!(erase(&world, "bob").await, (1, 0, Some(13)));
    worker.shut_down().await;
    let _worker = world.worker();
    assert_eq!(world.synced(&lobby, 0).await.0.erased, Seq(13));
    assert_eq!(erase(&world, "bob").await, (1, 0, Some(13)));
    assert_eq!(log(&world).await, before);
    // A repeat still finds its first; what is said from now on stays, until it is erased in turn.
    assert_eq!(world.kept(&lobby, "bob", say("a secret, 2", Some("k2"), None)).await, 7);
    assert_eq!(world.kept(&lobby, "bob", say("a secret, again", Some("k9"), None)).await, 14);
    assert!(log(&world).await.iter().any(|entry| says(entry, "a secret, again")));
    assert_eq!(erase(&world, "bob").await, (1, 1, Some(15)));
    assert!(log(&world).await.iter().all(|entry| !says(entry, "a secret")));
    assert_eq!(world.synced(&lobby, 0).await.0.info.members, 2, "members stay members");
}

#[tokio::test]
async fn a_long_log_is_gone_through_in_parts_by_whoever_holds_it() {
    let world = World::new();
    let lobby = room("lobby");
    let mut worker = world.worker();
    world.made("lobby", "ann").await;
    let content = "long ".repeat(800);
    for n in 0..1_200 {
        world.begin(&lobby, act("ann", say(&format!("a secret {n} {content}"), None, None))).await;
    }
    let (mut from, mut parts, mut count) = (None, 0, 0);
    let seq = loop {
        let erased = part(&world, "ann", from).await;
        (parts, count) = (parts + 1, count + erased.count);
        let Some(next) = erased.next else { break erased.seq };
        from = Some(next);
        assert_eq!(erased.seq, None, "nothing is said before all is done");
        // What was asked of one holder goes on with the next, and meanwhile there is more to erase.
        worker.kill().await;
        worker = world.worker();
        world.kept(&lobby, "ann", say("a secret of now", None, None)).await;
    };
    assert!((4..12).contains(&parts), "{parts} parts");
    assert_eq!(count, 1_199 + parts, "1,200, and one after each part but the last");
    let log = log(&world).await;
    assert!(log.iter().all(|entry| !says(entry, "a secret")));
    let last = log.last().unwrap();
    let expected = Erasure { upto: Seq(last.seq.0 - 1), seq: seq.unwrap(), at: last.at };
    assert_eq!(last.erasure(), Some(expected));
    drop(worker);
}

#[tokio::test]
async fn what_a_fenced_holder_wrote_goes_too_and_says_nothing() {
    let world = World::new();
    let lobby = room("lobby");
    // The log of epoch 1 goes on in epoch 3. Epoch 2 was fenced: it wrote the same message, and that all is erased.
    let (mut entries, mut orders) = (Vec::new(), Vec::new());
    let mut room = hubbub_core::room::Room::new(lobby.clone(), 10);
    for verb in [create("lobby"), say("a secret", None, None), say("a secret, again", None, None)] {
        let at = Millis(1);
        entries.extend(room.decide(Action { user: &user("ann"), at, verb: &verb }).entry);
    }
    orders.extend(room.erase(&user("admin"), &user("ann").id, Seq(3), Millis(2)).entry);
    let segment = |epoch, start, prev: Option<u64>| Segment {
        epoch: Epoch(epoch),
        start: Seq(start),
        prev: prev.map(Epoch),
    };
    let fenced = [&entries[2..], &orders[..]].concat();
    for (segment, entries) in [
        (segment(1, 1, None), entries[..2].to_vec()),
        (segment(2, 3, Some(1)), fenced),
        (segment(3, 3, Some(1)), entries[2..].to_vec()),
    ] {
        world.store.put_segment(lobby.clone(), segment).await.unwrap();
        world.store.append(Append { room: lobby.clone(), epoch: segment.epoch, entries }).await.unwrap();
    }
    while world.store.claim(PARTITION).await.unwrap() < Epoch(4) {}
    let barred = Bars::default();
    let store = Faulty {
        inner: world.store.clone(),
        plan: Arc::new(|_| Fault::None),
        partition: PARTITION,
        broken: None,
        barred: barred.clone(),
    };
    let _worker = world.worker_on(Arc::new(store));
    let (_, count, seq) = erase(&world, "ann").await;
    assert_eq!((count, seq), (3, Some(4)), "two of the log, and one that nobody was told of");
    for epoch in 1..=4 {
        let read = Read { room: lobby.clone(), epoch: Epoch(epoch), seqs: 1..=9, bytes_max: usize::MAX };
        let rows = world.store.read(read).await.unwrap();
        assert!(rows.iter().all(|entry| !says(entry, "a secret")), "epoch {epoch}");
    }
    assert_eq!(log(&world).await.last().unwrap().kind, Kind::Erase);
    // What such a holder had on its way stays out, and nothing of the log; before that our own segment is there.
    let barred_since = barred.clone();
    let mut barred = std::mem::take(&mut *barred.lock().unwrap());
    barred.sort_unstable();
    let from = |epoch, seq| (lobby.clone(), Epoch(epoch), Seq(seq));
    // The last one had claimed, and nothing of it came yet.
    assert_eq!(barred, [from(1, 3), from(2, 1), from(3, 4), from(4, 1)]);
    assert_eq!(erase(&world, "ann").await.1, 0);
    assert_eq!(barred_since.lock().unwrap().len(), 0, "once is enough");
}

/// A holder that is fenced while it goes through a log bars nothing that its successor took for a part of it.
#[tokio::test]
async fn a_fenced_holder_bars_nothing() {
    let world = World::new();
    let lobby = room("lobby");
    let first = world.worker();
    world.made("lobby", "ann").await;
    world.kept(&lobby, "ann", say("one", None, None)).await;
    first.shut_down().await;
    let epoch = world.store.segments(lobby.clone()).await.unwrap()[0].epoch;
    let (puts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let plan = {
        let (puts, gate) = (puts.clone(), gate.clone());
        move |op| match op {
            Op::PutSegment if puts.fetch_add(1, SeqCst) == 0 => Fault::Gate(gate.clone()),
            _ => Fault::None,
        }
    };
    let store = world.faulty(plan);
    let worker = world.worker_on(store.clone());
    assert_eq!(world.synced(&lobby, 0).await.0.read_to().head, Seq(2));
    let order = || What::Erase { by: user("admin"), author: user("nobody").id, from: None };
    let erased = world.ask_once(&lobby, order());
    let fenced = async {
        let deadline = Instant::now() + DEADLINE;
        while puts.load(SeqCst) == 0 {
            assert!(Instant::now() < deadline, "its segment is not put");
            tokio::task::yield_now().await;
        }
        // What was on its way is taken by the next holder, who goes on after it.
        let late = Content::text("late".into()).unwrap();
        let late = Entry::new(&lobby, Seq(3), Millis(1), &user("ann"), None, Says::Message(&late));
        let append = Append { room: lobby.clone(), epoch, entries: vec![late] };
        world.store.append(append).await.unwrap();
        let next = world.store.claim(PARTITION).await.unwrap();
        let segment = Segment { epoch: next, start: Seq(4), prev: Some(epoch) };
        world.store.put_segment(lobby.clone(), segment).await.unwrap();
        gate.add_permits(1);
    };
    let (told, ()) = tokio::join!(erased, fenced);
    assert!(matches!(told, Some(Told::Unavailable) | None), "{told:?}");
    worker.kill().await;
    let _worker = world.worker_on(store.clone());
    erase(&world, "nobody").await;
    let (synced, _) = world.synced(&lobby, 0).await;
    let entries = read_log(&store, &lobby, synced.read_to()).await;
    assert!(says(entries.last().unwrap(), "late"), "{entries:?}");
}

/// A trimming that ended before it noted how far it came leaves a gap that is longer than a read.
#[tokio::test]
async fn what_is_behind_rows_that_were_trimmed_unnoticed_goes_too() {
    const FIRST: u64 = 3_001;
    let world = World::new();
    let lobby = room("lobby");
    let mut machine = hubbub_core::room::Room::new(lobby.clone(), 10);
    let at = Millis(1);
    let mut decide = |verb| machine.decide(Action { user: &user("ann"), at, verb: &verb }).entry.unwrap();
    let made = decide(create("lobby"));
    let mut entries: Vec<_> = (2..=6_000).map(|_| decide(say("a secret", None, None))).collect();
    let kept = Kept { retention: Retention::default(), first: Seq(FIRST) };
    let word = Entry::new(&lobby, Seq(6_001), at, &user("admin"), None, Says::Retention(kept));
    entries.retain(|entry| entry.seq.0 >= FIRST);
    entries.push(word);
    let segment = Segment { epoch: Epoch(1), start: Seq(1), prev: None };
    world.store.put_segment(lobby.clone(), segment).await.unwrap();
    for entries in [std::slice::from_ref(&made), &entries[..]] {
        let append = Append { room: lobby.clone(), epoch: Epoch(1), entries: entries.to_vec() };
        world.store.append(append).await.unwrap();
    }
    let projection = Projection {
        room: lobby.clone(),
        facts: made.facts.clone(),
        created_at: Some(at),
        members: vec![MemberChange { user: user("ann"), seq: Seq(1), member: true }],
        member_count: 1,
        mark: Seq(6_001),
        mark_at: at,
        erased: None,
        kept: Some((kept, Seq(6_001))),
    };
    world.store.project(projection).await.unwrap();
    world.store.claim(PARTITION).await.unwrap();
    let _worker = world.worker();
    let (_, count, seq) = erase(&world, "ann").await;
    assert_eq!((count, seq), (6_001 - FIRST, Some(6_002)));
    assert!(log(&world).await.iter().all(|entry| !says(entry, "a secret")));
}

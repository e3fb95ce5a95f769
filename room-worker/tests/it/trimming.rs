//! A log is trimmed: first the word, then the rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hubbub_adapters::leases::LocalLeases;
use hubbub_core::entry::{Entry, Kept, Kind, Retention};
use hubbub_core::ids::{Epoch, Millis, Seq};
use hubbub_core::ports::store::{Append, Read, Segment, Store};
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_wire::tier::act::{Erased, Told, Trimmed, What};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::faults::{Fault, Op};
use crate::log_reader::read_log;
use crate::world::*;

const DAY: u64 = 24 * 3_600 * 1_000;

/// A world whose clock is set by hand.
struct Days {
    world: World,
    now: Arc<AtomicU64>,
}

impl Days {
    fn new() -> Self {
        Self { world: World::new(), now: Arc::new(AtomicU64::new(100 * DAY)) }
    }

    fn worker(&self) -> Worker {
        self.worker_with(Duration::from_secs(3_600))
    }

    fn worker_with(&self, retention_every: Duration) -> Worker {
        self.worker_on(self.world.store.clone(), retention_every)
    }

    fn worker_on(&self, store: Arc<dyn Store>, retention_every: Duration) -> Worker {
        let now = self.now.clone();
        self.world.worker_with(store, Arc::new(LocalLeases::default()), |config| {
            config.clock = Arc::new(move || Millis(now.load(Ordering::SeqCst)));
            config.retention_every = retention_every;
        })
    }

    fn pass(&self, days: f64) {
        self.now.fetch_add((days * DAY as f64) as u64, Ordering::SeqCst);
    }

    async fn retain(&self, entries: Option<u64>, days: Option<u32>) -> u64 {
        let retention = Retention { entries, days };
        self.world.kept(&room("lobby"), "admin", Verb::Retain { retention }).await
    }

    /// Trims to the end; how the log is then.
    async fn trim(&self, fully: bool) -> Trimmed {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let what = What::Trim { by: user("admin"), fully };
            match self.world.ask_once(&room("lobby"), what).await {
                Some(Told::Trimmed(trimmed)) if !trimmed.more => return trimmed,
                told => assert!(Instant::now() < deadline, "not trimmed, last {told:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn say(&self, texts: std::ops::Range<u64>) {
        for n in texts {
            self.world
                .kept(&room("lobby"), "ann", say(&format!("text {n}"), Some(&format!("k{n}")), None))
                .await;
        }
    }

    async fn log(&self) -> Vec<Entry> {
        let (synced, _) = self.world.synced(&room("lobby"), 0).await;
        read_log(&self.world.store, &room("lobby"), synced.read_to()).await
    }

    /// Seqs of all rows that are there, in the log or not.
    async fn rows(&self) -> Vec<u64> {
        let mut found = Vec::new();
        for segment in self.world.store.segments(room("lobby")).await.unwrap() {
            let read =
                Read { room: room("lobby"), epoch: segment.epoch, seqs: 1..=u64::MAX, bytes_max: usize::MAX };
            found.extend(self.world.store.read(read).await.unwrap().iter().map(|entry| entry.seq.0));
        }
        found
    }
}

fn trimmed(first: u64, gone: u64) -> Trimmed {
    Trimmed { first: Seq(first), gone: Seq(gone), more: false }
}

#[tokio::test]
async fn what_is_older_than_is_kept_goes_and_the_rest_has_its_place() {
    let days = Days::new();
    let (world, lobby) = (&days.world, room("lobby"));
    let worker = days.worker();
    world.made("lobby", "ann").await;
    world.kept(&lobby, "bob", Verb::Join).await;
    days.say(3..11).await;
    days.pass(2.0);
    days.say(11..21).await;
    let before = days.log().await;
    assert_eq!(days.trim(true).await, trimmed(0, 0), "nobody said anything");
    assert_eq!(days.retain(None, Some(5)).await, 21);
    assert_eq!(days.trim(true).await, trimmed(0, 0));
    days.pass(3.5);
    assert_eq!(days.trim(false).await, trimmed(0, 0), "for half a day it is not worth it");
    let heard = world.listen(&lobby).await;
    assert_eq!(days.trim(true).await, trimmed(11, 11));
    let [said] = &heard.entries()[..] else { panic!("{:?}", heard.entries()) };
    let retention = Retention { entries: None, days: Some(5) };
    assert_eq!((said.seq, said.kept()), (Seq(22), Some(Kept { retention, first: Seq(11) })));
    assert_eq!(days.log().await[..10], before[10..20]);
    assert_eq!(days.rows().await, (11..=22).collect::<Vec<_>>());
    let (synced, _) = world.synced(&lobby, 0).await;
    assert_eq!((synced.info.members, synced.info.kept), (2, Kept { retention, first: Seq(11) }));
    // The next holder knows it, and who left would not be back by what went.
    worker.shut_down().await;
    let worker = days.worker();
    let (synced, _) = world.synced(&lobby, 0).await;
    assert_eq!((synced.info.members, synced.info.kept.first, synced.info.head), (2, Seq(11), Seq(22)));
    assert_eq!(world.kept(&lobby, "bob", Verb::Leave).await, 23);
    // A repeat finds what is kept; of what went nobody can tell.
    assert_eq!(world.kept(&lobby, "ann", say("text 12", Some("k12"), Some(3))).await, 12);
    let unknown = world.act(&lobby, "ann", say("text 5", Some("k5"), Some(3))).await;
    assert_eq!(unknown, Answer::Refused(Refusal::RepeatUnknown));
    assert_eq!(world.kept(&lobby, "ann", say("text 24", Some("k24"), Some(10))).await, 24);
    // All may go but the word, and then nothing is said for ever.
    days.pass(8.0);
    assert_eq!(days.trim(false).await, trimmed(25, 25));
    assert_eq!((days.rows().await, days.log().await[0].kind), (vec![25], Kind::Retention));
    for _ in 0..3 {
        days.pass(30.0);
        assert_eq!(days.trim(true).await, trimmed(25, 25));
    }
    days.say(26..27).await;
    assert_eq!(days.log().await.len(), 2);
    // All is kept from here on.
    assert_eq!(days.retain(None, None).await, 27);
    days.pass(100.0);
    assert_eq!(days.trim(true).await, trimmed(25, 25));
    worker.shut_down().await;
}

#[tokio::test]
async fn the_newest_entries_are_kept_over_all_holders_and_a_fenced_ones_rows_go_too() {
    let days = Days::new();
    let (world, lobby) = (&days.world, room("lobby"));
    // The log of epoch 1 goes on in epoch 3. Epoch 2 was fenced.
    let mut machine = hubbub_core::room::Room::new(lobby.clone(), 10);
    let mut decide = |verb| {
        let action = hubbub_core::room::Action { user: &user("ann"), at: Millis(1), verb: &verb };
        machine.decide(action).entry.unwrap()
    };
    let mut entries = vec![decide(create("lobby"))];
    entries.extend((2..=7_000).map(|n| decide(say(&format!("text {n}"), None, None))));
    let segment = |epoch, start, prev: Option<u64>| Segment {
        epoch: Epoch(epoch),
        start: Seq(start),
        prev: prev.map(Epoch),
    };
    for (segment, entries) in [
        (segment(1, 1, None), &entries[..3_000]),
        (segment(2, 3_001, Some(1)), &entries[3_000..3_100]),
        (segment(3, 3_001, Some(1)), &entries[3_000..]),
    ] {
        world.store.put_segment(lobby.clone(), segment).await.unwrap();
        for entries in entries.chunks(1_000) {
            let append = Append { room: lobby.clone(), epoch: segment.epoch, entries: entries.to_vec() };
            world.store.append(append).await.unwrap();
        }
    }
    while world.store.claim(PARTITION).await.unwrap() < Epoch(4) {}
    let worker = days.worker();
    world.synced(&lobby, 0).await;
    let said: Vec<_> = (7_001..=14_000)
        .map(|n| world.begin(&lobby, act("ann", say(&format!("text {n}"), None, None))))
        .collect();
    for said in said {
        said.await.unwrap();
    }
    assert_eq!(days.retain(Some(13_500), None).await, 14_001);
    assert_eq!(days.trim(false).await, trimmed(0, 0), "501 are not a tenth");
    assert_eq!(days.trim(true).await, trimmed(503, 503));
    assert_eq!(days.retain(Some(10_000), None).await, 14_003);
    assert_eq!(days.trim(false).await, trimmed(4_005, 4_005));
    let rows = days.rows().await;
    assert_eq!(rows, (4_005..=14_004).collect::<Vec<_>>(), "of the fenced one too");
    // What is left of a segment whose beginning is gone is gone through as before.
    let (mut from, deadline) = (None, Instant::now() + DEADLINE);
    let erased = loop {
        let what = What::Erase { by: user("admin"), author: user("ann").id, from };
        match world.ask_once(&lobby, what).await {
            Some(Told::Erased(Erased { next: None, seq, .. })) => break seq,
            Some(Told::Erased(Erased { next, .. })) => from = next,
            told => assert!(Instant::now() < deadline, "not erased, last {told:?}"),
        }
    };
    assert_eq!(erased, Some(Seq(14_005)));
    assert!(days.log().await.iter().all(|entry| !entry.kind.has_content()));
    worker.shut_down().await;
}

#[tokio::test]
async fn a_word_that_is_said_while_a_log_is_looked_at_counts() {
    let days = Days::new();
    let lobby = room("lobby");
    let (looks, gate) = (Arc::new(AtomicU64::new(1)), Arc::new(Semaphore::new(0)));
    let plan = {
        let (looks, gate) = (looks.clone(), gate.clone());
        move |op| match op {
            Op::Read if looks.fetch_add(1, Ordering::SeqCst) == 0 => Fault::Gate(gate.clone()),
            _ => Fault::None,
        }
    };
    let first = days.worker();
    days.world.made("lobby", "ann").await;
    days.say(2..12).await;
    days.pass(5.0);
    days.retain(None, Some(1)).await;
    first.shut_down().await;
    let _worker = days.worker_on(days.world.faulty(plan), Duration::from_secs(3_600));
    days.world.synced(&lobby, 0).await;
    looks.store(0, Ordering::SeqCst);
    let trim = days.world.ask_once(&lobby, What::Trim { by: user("admin"), fully: true });
    let meanwhile = async {
        until("the log is looked at", async || looks.load(Ordering::SeqCst) > 0).await;
        days.retain(None, Some(10)).await;
        gate.add_permits(1);
    };
    let (told, _) = tokio::join!(trim, meanwhile);
    assert!(matches!(told, Some(Told::Trimmed(told)) if told == trimmed(0, 0)), "{told:?}");
    assert_eq!(days.log().await[0].seq, Seq(1));
}

#[tokio::test]
async fn a_worker_trims_by_itself_the_rooms_of_its_partitions() {
    let days = Days::new();
    let worker = days.worker();
    days.world.made("lobby", "ann").await;
    days.say(2..12).await;
    days.retain(None, Some(1)).await;
    worker.shut_down().await;
    days.pass(3.0);
    let _worker = days.worker_with(Duration::from_millis(600));
    until("all but the word is gone", async || days.rows().await == [13]).await;
    days.say(14..15).await;
    days.pass(3.0);
    until("and again", async || days.rows().await == [15]).await;
}

/// Who lifts the bounds lifts them for what is kept yet: what was let go of by a word is to go, also where the word was not carried out.
#[tokio::test]
async fn rows_that_a_word_let_go_of_go_also_when_all_is_to_be_kept_again() {
    let days = Days::new();
    let worker = days.worker();
    days.world.made("lobby", "ann").await;
    days.say(2..12).await;
    days.retain(None, Some(1)).await;
    days.pass(3.0);
    let part = days.world.ask_once(&room("lobby"), What::Trim { by: user("admin"), fully: true }).await;
    assert!(matches!(part, Some(Told::Trimmed(Trimmed { gone: Seq(0), more: true, .. }))), "{part:?}");
    let first = days.log().await[0].seq.0;
    assert!(first > 10 && days.rows().await[0] == 1, "said, not done");
    days.retain(None, None).await;
    worker.shut_down().await;
    let _worker = days.worker_with(Duration::from_millis(600));
    until("they are gone", async || days.rows().await[0] == first).await;
}

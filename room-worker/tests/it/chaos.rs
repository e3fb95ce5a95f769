//! Holders that fence each other over a store that delays, fails before and after writing, and writes what it refused
//! later; senders that retry with keys; readers that hear and sync. Then the log is read and all that was ever told is held against it.
//!
//! `CHAOS_SEEDS=500` for more of it, `CHAOS_SEED=17` for one again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join_all;
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_core::entry::{Entry, Kind, Retention};
use hubbub_core::ids::{Millis, Partition, RoomId, Seq};
use hubbub_core::ports::bus::{Message, Payload, Subject};
use hubbub_core::ports::store::Store;
use hubbub_core::room::{Answer, Verb};
use hubbub_wire::tier::act::{Ask, ReadTo, Told, What};
use hubbub_wire::tier::{event, parcel};
use tokio::time::{Instant, timeout};

use crate::faults::{Bars, Faulty, bad_weather};
use crate::log_reader::{members_after, read_log};
use crate::world::*;

const SENDERS: usize = 3;
const MESSAGES: usize = 6;
const ROOMS: usize = 2;
/// How long a day is, in worlds that forget.
const DAY: Duration = Duration::from_millis(200);
/// How long faults and kills go on.
const STORM: Duration = Duration::from_secs(4);

/// All that anyone was told of a room.
#[derive(Default)]
struct Witness {
    /// What was shown at each seq.
    shown: BTreeMap<u64, Bytes>,
    /// Which keys were acked, and where.
    acked: Vec<(String, u64)>,
    /// Joins and leaves that were acked.
    memberships: Vec<(String, u64, Kind)>,
    /// Epochs and heads that were vouched for, and the number of members there.
    heads: Vec<(ReadTo, u64)>,
}

impl Witness {
    fn show(&mut self, seed: u64, entries: &[Entry]) {
        for entry in entries {
            let before = self.shown.entry(entry.seq.0).or_insert_with(|| entry.json.clone());
            assert_eq!(*before, entry.json, "seed {seed}: two contents of {}", entry.seq);
        }
    }
}

/// One seed's world.
struct Chaos {
    seed: u64,
    /// Whether entries are trimmed that are older than a day, and a day is a moment.
    forgets: bool,
    world: World,
    store: Arc<dyn Store>,
    rooms: Vec<(RoomId, Mutex<Witness>)>,
    calm: Arc<AtomicBool>,
}

impl Chaos {
    fn new(seed: u64, shared: Arc<dyn Store>) -> Self {
        let calm = Arc::new(AtomicBool::new(false));
        let store: Arc<dyn Store> = Arc::new(Faulty {
            inner: shared.clone(),
            plan: Arc::new(bad_weather(seed, calm.clone())),
            partition: Partition(seed as u16),
            broken: None,
            barred: Bars::default(),
        });
        let world = World {
            dir: tempfile::tempdir().expect("a folder"),
            store: shared,
            bus: Arc::new(LocalBus::default()),
        };
        let rooms = (0..ROOMS).map(|n| (room(&format!("s{seed}-{n}")), Mutex::default())).collect();
        Self { seed, forgets: seed % 4 == 1, world, store, rooms, calm }
    }

    /// Asks with a short patience; `None` where nothing is known.
    async fn ask(&self, room: &RoomId, what: What) -> Option<(Told, Payload)> {
        let patience = Duration::from_millis(60);
        let ask = Ask { room: room.clone(), what, timeout_ms: 60 };
        let asked = self.world.bus.request(&Subject::Act(PARTITION), parcel::pack(&ask).into(), patience);
        match asked.await {
            Ok(mut told) => Some((parcel::header(&mut told).expect("a header"), told)),
            Err(_) => None,
        }
    }

    async fn act(&self, room: &RoomId, who: &str, verb: Verb) -> Answer {
        loop {
            if let Some((Told::Done(answer), _)) = self.ask(room, act(who, verb.clone())).await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn sender(&self, n: usize, rng: &mut Rng) {
        let name = format!("user-{n}");
        for message in 0..MESSAGES {
            let (room, told) = &self.rooms[rng.usize(..ROOMS)];
            if rng.u8(..6) == 0 {
                self.comes_and_goes(room, told, &name, rng).await;
            }
            let key = format!("{name}-{message}");
            // The last seq seen when the key is first sent, or nothing said about it.
            let seen = told.lock().unwrap().shown.last_key_value().map_or(0, |(seq, _)| *seq);
            // Where entries go, only who says what they saw is sure that there is no first one.
            let after = (rng.bool() || self.forgets).then_some(seen);
            loop {
                match self.act(room, &name, say(&key, Some(&key), after)).await {
                    Answer::Kept { seq, .. } => {
                        told.lock().unwrap().acked.push((key, seq.0));
                        break;
                    }
                    // What came since is gone: nobody can tell whether it was among that.
                    Answer::Refused(hubbub_core::room::Refusal::RepeatUnknown) if self.forgets => break,
                    Answer::Refused(hubbub_core::room::Refusal::NotMember) => {
                        let joined = self.act(room, &name, Verb::Join).await;
                        let Answer::Kept { seq, .. } = joined else { panic!("{joined:?}") };
                        told.lock().unwrap().memberships.push((name.clone(), seq.0, Kind::Join));
                    }
                    other => panic!("seed {}: {other:?}", self.seed),
                }
            }
        }
    }

    async fn comes_and_goes(&self, room: &RoomId, told: &Mutex<Witness>, name: &str, rng: &mut Rng) {
        let (verb, kind) = match rng.bool() {
            true => (Verb::Join, Kind::Join),
            false => (Verb::Leave, Kind::Leave),
        };
        if let Answer::Kept { seq, .. } = self.act(room, name, verb).await {
            told.lock().unwrap().memberships.push((name.to_owned(), seq.0, kind));
        }
    }

    /// Hears what is published, and syncs again and again.
    async fn reader(&self, n: usize, done: &AtomicBool) {
        let (room, told) = &self.rooms[n];
        while !done.load(Ordering::SeqCst) {
            if let Some((Told::Synced(synced), entries)) = self.ask(room, sync(20)).await {
                let mut told = told.lock().unwrap();
                told.show(self.seed, &parcel::entries(room, entries).expect("entries"));
                let read_to = synced.read_to();
                told.heads.push((read_to, synced.info.members));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has all go that is a day old, again and again.
    async fn trimmer(&self, done: &AtomicBool) {
        let retention = Retention { entries: None, days: Some(1) };
        for (room, _) in &self.rooms {
            self.act(room, "admin", Verb::Retain { retention }).await;
        }
        while !done.load(Ordering::SeqCst) {
            for (room, _) in &self.rooms {
                self.ask(room, What::Trim { by: user("admin"), fully: true }).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has what somebody said erased who says nothing, again and again: logs are gone through, and what earlier holders may still write
    /// is barred.
    async fn eraser(&self, done: &AtomicBool) {
        let mut from = vec![None; ROOMS];
        while !done.load(Ordering::SeqCst) {
            for ((room, _), from) in self.rooms.iter().zip(&mut from) {
                let what = What::Erase { by: user("admin"), author: user("nobody").id, from: *from };
                if let Some((Told::Erased(erased), _)) = self.ask(room, what).await {
                    *from = erased.next;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Workers that start, claim, are killed and start again, two at a time.
    async fn workers(&self, rng: &mut Rng, done: &AtomicBool) {
        let (forgets, began) = (self.forgets, Instant::now());
        let start = || {
            self.world.worker_with(self.store.clone(), Arc::new(LocalLeases::default()), |config| {
                config.lease_ttl = Duration::from_millis(150);
                config.open_rooms_max = 1;
                config.drain_max = Duration::from_millis(20);
                if forgets {
                    let day_in_ms = 24 * 3_600 * 1_000;
                    let now = move || {
                        Millis(
                            day_in_ms
                                + began.elapsed().as_micros() as u64 * day_in_ms / DAY.as_micros() as u64,
                        )
                    };
                    config.clock = Arc::new(now);
                }
            })
        };
        let mut workers = [Some(start()), None];
        let storm = Instant::now() + STORM;
        while !done.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(rng.u64(5..80))).await;
            if Instant::now() > storm {
                // Whoever has got through nothing by now does in calm weather.
                self.calm.store(true, Ordering::SeqCst);
                if workers.iter().flatten().count() == 1 {
                    continue;
                }
            }
            let which = rng.usize(..2);
            match (workers[which].take(), rng.bool()) {
                (Some(old), true) => old.kill().await,
                (Some(old), false) => old.shut_down().await,
                (None, _) => workers[which] = Some(start()),
            }
        }
        for worker in workers.into_iter().flatten() {
            worker.kill().await;
        }
    }

    async fn run(self: Arc<Self>) {
        let seed = self.seed;
        let mut listening = Vec::new();
        for n in 0..ROOMS {
            let chaos = self.clone();
            let listener = Arc::new(move |Message { mut payload, .. }| {
                let batch: event::Batch = parcel::header(&mut payload).expect("a batch");
                let entries = parcel::entries(&batch.room, payload).expect("entries");
                chaos.rooms[n].1.lock().unwrap().show(seed, &entries);
            });
            let subject = Subject::Events(PARTITION, self.rooms[n].0.clone());
            listening.push(self.world.bus.listen(subject, listener).await.expect("listens"));
        }
        let done = AtomicBool::new(false);
        let senders = async {
            for (room, _) in &self.rooms {
                let made = self.act(room, "user-0", create("room")).await;
                assert!(matches!(made, Answer::Made(_)), "seed {seed}: {made:?}");
            }
            let mut rngs: Vec<_> = (0..SENDERS).map(|n| Rng::with_seed(seed * 31 + n as u64)).collect();
            join_all(rngs.iter_mut().enumerate().map(|(n, rng)| self.sender(n, rng))).await;
            done.store(true, Ordering::SeqCst);
        };
        let trimmer = async {
            if self.forgets {
                self.trimmer(&done).await;
            }
        };
        let eraser = async {
            if seed % 4 == 3 {
                self.eraser(&done).await;
            }
        };
        let mut rng = Rng::with_seed(!seed);
        let readers = join_all((0..ROOMS).map(|n| self.reader(n, &done)));
        let all = async { tokio::join!(senders, readers, trimmer, eraser, self.workers(&mut rng, &done)) };
        timeout(Duration::from_secs(30), all).await.unwrap_or_else(|_| {
            let acked: Vec<_> = self.rooms.iter().map(|(_, told)| told.lock().unwrap().acked.len()).collect();
            panic!("seed {seed} gets no further than {acked:?}")
        });
        self.check().await;
    }

    /// Holds all that was told against the log.
    async fn check(&self) {
        self.calm.store(true, Ordering::SeqCst);
        let last = self.world.worker_with(self.store.clone(), Arc::new(LocalLeases::default()), |_| {});
        let mut logs = Vec::new();
        for (room, told) in &self.rooms {
            let (synced, _) = self.world.synced(room, 0).await;
            let to = synced.read_to();
            let log = read_log(&self.world.store, room, to).await;
            let told = std::mem::take(&mut *told.lock().unwrap());
            self.check_log(&log, &told);
            // What a head from before promised of what is kept still.
            for (head, members) in told.heads.into_iter().filter(|(head, _)| head.head >= to.first) {
                assert!(head.first <= to.first, "seed {}: what went is back", self.seed);
                let part = read_log(&self.world.store, room, ReadTo { first: to.first, ..head }).await;
                assert_eq!(part[..], log[..part.len()], "seed {}: a head was taken back", self.seed);
                let is_whole = to.first == Seq(0);
                let found = members_after(&part).len() as u64;
                assert!(!is_whole || found == members, "seed {}: members at {head:?}", self.seed);
            }
            logs.push(log);
        }
        last.shut_down().await;
        for ((room, _), log) in self.rooms.iter().zip(logs) {
            let rows = self.world.store.members(room.clone(), None, 100).await.expect("members");
            let listed: Vec<_> = rows.iter().map(|row| (row.user.id.to_string(), row.joined.0)).collect();
            let row = self.world.store.room(room.clone()).await.expect("a room").expect("is there");
            let head = log.last().map_or(0, |last| last.seq.0);
            assert_eq!((row.mark.0, row.member_count), (head, listed.len() as u64));
            let first = row.kept.0.first;
            assert_eq!(first.0.max(1), log[0].seq.0, "seed {}", self.seed);
            let expected: Vec<_> = members_after(&log).into_iter().collect();
            if first == Seq(0) {
                assert_eq!(listed, expected, "seed {}: the lists are not the log", self.seed);
            } else {
                self.check_gone(room, first).await;
            }
        }
    }

    /// Nothing of what went is in the store, when it was looked for once more.
    async fn check_gone(&self, room: &RoomId, first: Seq) {
        let worker = self.world.worker_on(self.store.clone());
        let deadline = Instant::now() + DEADLINE;
        loop {
            let told = self.world.ask_once(room, What::Trim { by: user("admin"), fully: false }).await;
            if matches!(&told, Some(Told::Trimmed(trimmed)) if !trimmed.more) {
                break;
            }
            assert!(Instant::now() < deadline, "seed {}: {told:?}", self.seed);
            tokio::task::yield_now().await;
        }
        worker.shut_down().await;
        let row = self.world.store.room(room.clone()).await.expect("a room").expect("is there");
        assert!(row.trimmed >= first, "seed {}: {} of {first}", self.seed, row.trimmed);
    }

    fn check_log(&self, log: &[Entry], told: &Witness) {
        let seed = self.seed;
        let first = log[0].seq.0;
        assert!(told.acked.len() > 1 || log.len() < 4 || first > 1, "seed {seed}: nothing was said");
        for (seq, json) in told.shown.range(first..) {
            let entry = log.get((seq - first) as usize);
            assert_eq!(entry.map(|e| &e.json), Some(json), "seed {seed}: {seq} was shown and taken back");
        }
        for (key, seq) in told.acked.iter().filter(|(_, seq)| *seq >= first) {
            let places: Vec<_> =
                log.iter().filter(|e| e.key.as_ref().is_some_and(|k| k.as_str() == key)).collect();
            assert_eq!(places.len(), 1, "seed {seed}: {key} is there {} times", places.len());
            assert_eq!(places[0].seq, Seq(*seq), "seed {seed}: {key} was acked elsewhere");
        }
        for (name, seq, kind) in told.memberships.iter().filter(|(_, seq, _)| *seq >= first) {
            let entry = &log[(seq - first) as usize];
            assert_eq!((entry.user.as_str(), entry.kind), (name.as_str(), *kind), "seed {seed}");
        }
        for (n, entry) in log.iter().enumerate() {
            if entry.kind == Kind::Text && first == 1 {
                let is_member = members_after(&log[..n]).contains_key(entry.user.as_str());
                assert!(is_member, "seed {seed}: {} is by none of the members", entry.seq);
            }
        }
    }
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("CHAOS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("CHAOS_SEEDS").unwrap_or(200)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_told_is_in_the_log_once_and_in_order_for_ever() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    for some in seeds().chunks(20) {
        let run = |seed: &u64| tokio::spawn(Arc::new(Chaos::new(*seed, store.clone())).run());
        for (seed, ended) in some.iter().zip(join_all(some.iter().map(run)).await) {
            if let Err(error) = ended {
                panic!("CHAOS_SEED={seed}: {error}");
            }
        }
    }
}

//! A world in a line: a store in a folder of its own, a bus, leases, and workers that can be killed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Key, Millis, NodeId, Partition, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::bus::{Bus, Message, Payload, Subject, Subscription};
use hubbub_core::ports::leases::Leases;
use hubbub_core::ports::store::Store;
use hubbub_core::room::{Answer, RoomInfo, Verb};
use hubbub_room_worker::{Config, Ports, serve};
use hubbub_wire::tier::act::{Ask, Synced, Told, What};
use hubbub_wire::tier::{event, parcel};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::faults::{Bars, Broken, Fault, Faulty, Op};

pub const PARTITION: Partition = Partition(0);
/// After this a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn room(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

pub fn user(name: &str) -> User {
    User { id: UserId::parse(name).unwrap(), name: name.to_uppercase().into() }
}

pub fn create(name: &str) -> Verb {
    Verb::Create { name: name.into(), topic: "".into() }
}

pub fn say(text: &str, key: Option<&str>, after: Option<u64>) -> Verb {
    let key = key.map(|key| Key::parse(key).unwrap());
    Verb::Send { content: Content::text(text.into()).unwrap(), key, after: after.map(Seq) }
}

/// Opens the store in a folder.
pub fn open(dir: &std::path::Path) -> Arc<dyn Store> {
    let options = Options { commit_pace: Duration::ZERO, ..Options::default() };
    Arc::new(EmbeddedStore::open(dir, options).expect("opens"))
}

/// What workers live in.
pub struct World {
    pub dir: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    pub bus: Arc<dyn Bus>,
}

/// A worker of this process.
pub struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    /// Ends in order.
    pub async fn shut_down(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("shuts down").expect("no panic");
    }

    /// Ends as the process does.
    pub async fn kill(self) {
        self.task.abort();
        _ = self.task.await;
    }
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path());
        Self { dir, store, bus: Arc::new(LocalBus::default()) }
    }

    /// The store, with what the plan does to it.
    pub fn faulty(&self, plan: impl Fn(Op) -> Fault + Send + Sync + 'static) -> Arc<dyn Store> {
        let (inner, plan) = (self.store.clone(), Arc::new(plan));
        Arc::new(Faulty { inner, plan, partition: PARTITION, broken: None, barred: Bars::default() })
    }

    /// The store, in which one kind of operation fails for one room.
    pub fn broken(&self, broken: Broken) -> Arc<dyn Store> {
        let (inner, plan) = (self.store.clone(), Arc::new(|_| Fault::None));
        Arc::new(Faulty { inner, plan, partition: PARTITION, broken: Some(broken), barred: Bars::default() })
    }

    /// A worker with leases of its own: it believes that it holds the partition whoever else does.
    pub fn worker(&self) -> Worker {
        self.worker_on(self.store.clone())
    }

    pub fn worker_on(&self, store: Arc<dyn Store>) -> Worker {
        self.worker_with(store, Arc::new(LocalLeases::default()), |_| {})
    }

    pub fn worker_with(
        &self,
        store: Arc<dyn Store>,
        leases: Arc<dyn Leases>,
        set: impl FnOnce(&mut Config),
    ) -> Worker {
        let name = format!("node-{}", fastrand::u64(..));
        let mut config = Config::new(NodeId::parse(&name).unwrap(), Partitions::new(1).unwrap());
        config.lease_ttl = Duration::from_millis(100);
        set(&mut config);
        let ports = Ports { bus: self.bus.clone(), store, leases };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(ports, config, shutdown.clone()));
        Worker { shutdown, task }
    }

    /// Waits until the partition is served.
    pub async fn served(&self) {
        let room = room("is-it-served");
        until("the partition is served", async || {
            let told = self.ask_once(&room, sync(0)).await;
            matches!(told, Some(Told::NoSuchRoom))
        })
        .await;
    }

    /// Asks once; `None` where nothing is known.
    pub async fn ask_once(&self, room: &RoomId, what: What) -> Option<Told> {
        self.begin(room, what).await.and_then(|mut told| parcel::header(&mut told).ok())
    }

    /// Sends a question now; the future is its answer.
    pub fn begin(&self, room: &RoomId, what: What) -> impl Future<Output = Option<Payload>> + use<> {
        self.begin_for(room, what, DEADLINE)
    }

    /// As [`begin`](Self::begin), for who waits for so long.
    pub fn begin_for(
        &self,
        room: &RoomId,
        what: What,
        timeout: Duration,
    ) -> impl Future<Output = Option<Payload>> + use<> {
        let ask = Ask { room: room.clone(), what, timeout_ms: timeout.as_millis() as u32 };
        let answer = self.bus.request(&Subject::Act(PARTITION), parcel::pack(&ask).into(), timeout);
        async move { answer.await.ok() }
    }

    /// Asks for the verb until it is known what became of it.
    pub async fn act(&self, room: &RoomId, who: &str, verb: Verb) -> Answer {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let told = self.ask_once(room, act(who, verb.clone())).await;
            match told {
                Some(Told::Done(answer)) => return answer,
                told if Instant::now() > deadline => panic!("no answer to {verb:?}, last {told:?}"),
                _ => tokio::task::yield_now().await,
            }
        }
    }

    pub async fn made(&self, name: &str, who: &str) -> RoomInfo {
        match self.act(&room(name), who, create(name)).await {
            Answer::Made(info) => *info,
            other => panic!("not made: {other:?}"),
        }
    }

    /// The seq at which the verb's entry is kept.
    pub async fn kept(&self, room: &RoomId, who: &str, verb: Verb) -> u64 {
        match self.act(room, who, verb).await {
            Answer::Kept { seq, .. } => seq.0,
            other => panic!("not kept: {other:?}"),
        }
    }

    /// The room at its head, with the newest entries in memory.
    pub async fn synced(&self, room: &RoomId, newest: u32) -> (Synced, Vec<Entry>) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(mut told) = self.begin(room, sync(newest)).await
                && let Ok(Told::Synced(synced)) = parcel::header(&mut told)
            {
                return (*synced, parcel::entries(room, told).expect("entries"));
            }
            assert!(Instant::now() < deadline, "{room} is not synced");
            tokio::task::yield_now().await;
        }
    }

    /// What is published of a room from now on.
    pub async fn listen(&self, room: &RoomId) -> Heard {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (to, id) = (heard.clone(), room.clone());
        let listener = Arc::new(move |Message { mut payload, .. }| {
            let batch: event::Batch = parcel::header(&mut payload).expect("a batch");
            let entries = parcel::entries(&id, payload).expect("entries");
            to.lock().unwrap().push((batch, entries));
        });
        let listening = self.bus.listen(Subject::Events(PARTITION, room.clone()), listener);
        Heard { heard, _listening: listening.await.expect("listens") }
    }
}

/// A batch as it was published.
type Batch = (event::Batch, Vec<Entry>);

/// What was published of a room.
pub struct Heard {
    heard: Arc<Mutex<Vec<Batch>>>,
    _listening: Subscription,
}

impl Heard {
    pub fn entries(&self) -> Vec<Entry> {
        self.heard.lock().unwrap().iter().flat_map(|(_, entries)| entries.clone()).collect()
    }

    pub fn seqs(&self) -> Vec<u64> {
        self.entries().iter().map(|entry| entry.seq.0).collect()
    }

    pub fn batches(&self) -> Vec<event::Batch> {
        self.heard.lock().unwrap().iter().map(|(batch, _)| batch.clone()).collect()
    }
}

pub fn act(who: &str, verb: Verb) -> What {
    What::Do { user: user(who), verb }
}

pub fn sync(newest: u32) -> What {
    What::Sync { newest, users: vec![] }
}

/// Waits for a condition.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A clock that stands at one time.
pub fn clock_at(at: u64) -> hubbub_room_worker::config::Clock {
    Arc::new(move || Millis(at))
}

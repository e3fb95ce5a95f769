//! A world in a line: a store, a bus, the service, and somebody who answers for the holder.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::entry::{Entry, Kept, RoomFacts, Says};
use hubbub_core::ids::{Epoch, LogId, Millis, Partition, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::bus::{Bus, Message, Payload, Reply, Subject, Subscription};
use hubbub_core::ports::store::{Append, Segment, Store};
use hubbub_core::room::RoomInfo;
use hubbub_history_service::{Config, serve};
use hubbub_wire::tier::act::{Ask, ReadTo, Synced, Told, What};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Query, Range, Replay};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const PARTITION: Partition = Partition(0);
/// After this a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn room(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

pub fn user(name: &str) -> User {
    User { id: UserId::parse(name).unwrap(), name: name.to_uppercase().into() }
}

pub fn text(room: &RoomId, seq: u64, text: &str) -> Entry {
    let content = Content::text(text.into()).unwrap();
    Entry::new(room, Seq(seq), Millis(seq), &user("ann"), None, Says::Message(&content))
}

pub fn image(room: &RoomId, seq: u64, bytes: usize) -> Entry {
    let content = Content::image(format!("data:image/png;base64,{}", "A".repeat(bytes / 4 * 4))).unwrap();
    Entry::new(room, Seq(seq), Millis(seq), &user("ann"), None, Says::Message(&content))
}

pub fn join(room: &RoomId, seq: u64) -> Entry {
    Entry::new(room, Seq(seq), Millis(seq), &user("bob"), None, Says::Join(None))
}

/// With a room's name as long as it may be.
pub fn topic(room: &RoomId, seq: u64, topic: &str) -> Entry {
    let name = "\u{1f375}".repeat(80).into();
    let facts = RoomFacts { name, topic: topic.into(), owner: user("ann").id };
    Entry::new(room, Seq(seq), Millis(seq), &user("ann"), None, Says::Topic(&facts))
}

pub struct World {
    _dir: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    pub bus: Arc<dyn Bus>,
    _shutdown: DropGuard,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { commit_pace: Duration::ZERO, ..Options::default() };
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(dir.path(), options).unwrap());
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::default());
        let mut config = Config::new(Partitions::new(1).unwrap());
        set(&mut config);
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(bus.clone(), store.clone(), config, shutdown.clone()));
        let world = Self { _dir: dir, store, bus, _shutdown: shutdown.drop_guard() };
        let nobody = Query::RoomsOf { user: user("nobody").id };
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !matches!(world.ask(&nobody).await, Some((Found::RoomsOf { .. }, _))) {
            assert!(tokio::time::Instant::now() < deadline, "not served");
            tokio::task::yield_now().await;
        }
        world
    }

    /// Writes a segment and its rows.
    pub async fn write(&self, room: &RoomId, segment: Segment, entries: Vec<Entry>) {
        self.store.put_segment(room.clone(), segment).await.unwrap();
        if !entries.is_empty() {
            let append = Append { room: room.clone(), epoch: segment.epoch, entries };
            self.store.append(append).await.unwrap();
        }
    }

    /// A log in one segment of epoch 1.
    pub async fn log(&self, room: &RoomId, entries: Vec<Entry>) {
        self.write(room, Segment { epoch: Epoch(1), start: Seq(1), prev: None }, entries).await;
    }

    /// Answers for the holder of all rooms, from now on; counts how often it was asked.
    pub async fn holder(&self, to: ReadTo) -> (Arc<Mutex<usize>>, Subscription) {
        let (asked, count) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(())));
        let (log, counted) = (self.store.log_id(), asked.clone());
        let server = Arc::new(move |Message { mut payload, .. }, reply: Reply| {
            let _one_at_a_time = count.lock().unwrap();
            *counted.lock().unwrap() += 1;
            let ask: Ask = parcel::header(&mut payload).unwrap();
            assert!(matches!(ask.what, What::Sync { newest: 0, .. }));
            reply.send(parcel::pack(&match ask.room.as_str() {
                "nobody-made-it" => Told::NoSuchRoom,
                _ => synced(&ask.room, log, to),
            }));
        });
        (asked, self.bus.serve(Subject::Act(PARTITION), server).await.unwrap())
    }

    pub async fn ask(&self, query: &Query) -> Option<(Found, Payload)> {
        let asked = self.bus.request(&Subject::Query, parcel::pack(query).into(), DEADLINE);
        let mut found = asked.await.ok()?;
        Some((parcel::header(&mut found).unwrap(), found))
    }

    /// What a replay found, if it found a page: entries, and where it goes on.
    pub async fn page(&self, replay: Replay) -> Result<(Vec<Entry>, Option<Seq>), Found> {
        let room = replay.room.clone();
        match self.ask(&Query::Replay(replay)).await.unwrap() {
            (Found::Page { more, next, .. }, entries) => {
                assert_eq!(more, next.is_some());
                Ok((parcel::entries(&room, entries).unwrap(), next))
            }
            (other, _) => Err(other),
        }
    }

    /// All pages, one after the other, in the order of the log.
    pub async fn walk(&self, replay: Replay) -> (Vec<Entry>, usize) {
        let (mut replay, mut all, mut pages) = (replay, Vec::new(), 0);
        loop {
            let (entries, next) = self.page(replay.clone()).await.expect("a page");
            assert!(entries.len() <= replay.limit as usize);
            pages += 1;
            let next = next.map(|next| match replay.range {
                Range::Before(_) => Range::Before(next),
                Range::After(_) => Range::After(next),
            });
            match replay.range {
                Range::Before(_) => all.splice(..0, entries).for_each(drop),
                Range::After(_) => all.extend(entries),
            }
            match next {
                Some(next) => replay.range = next,
                None => return (all, pages),
            }
        }
    }
}

/// What a holder tells of a room.
pub fn synced(room: &RoomId, log: LogId, to: ReadTo) -> Told {
    let facts = RoomFacts { name: "r".into(), topic: "".into(), owner: user("ann").id };
    let kept = Kept { first: to.first, ..Kept::default() };
    let info = RoomInfo { id: room.clone(), facts, head: to.head, members: 1, kept };
    Told::Synced(Synced { info, log, epoch: to.epoch, members: vec![], erased: to.erased }.into())
}

pub fn replay(room: &RoomId, range: Range, limit: u32, to: Option<ReadTo>) -> Replay {
    Replay { room: room.clone(), range, limit, kinds: vec![], read_to: to }
}

pub fn read_to(epoch: u64, head: u64) -> ReadTo {
    ReadTo { epoch: Epoch(epoch), head: Seq(head), erased: Seq(0), first: Seq(0) }
}

//! People who talk and listen while things break, and what is to be said of it in the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use fastrand::Rng;
use hubbub_client::answer::Range;
use hubbub_client::{Client, Entry, Error, Event, Events, Options};
use hubbub_core::ids::{Key, RoomId, Seq};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::checker::{self, History, Outcome, Reader, Seen, Sent, Violation};
use crate::pages::Pages;
use crate::{Person, Streams, eventually, in_time};

/// What one who reads pages waits between two.
const PAGE_EVERY: Duration = Duration::from_millis(25);

/// How a crowd is made up.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Rooms, of which everybody is a member.
    pub rooms: usize,
    /// Those who send, each the next message after the answer to the one before.
    pub senders: usize,
    /// What they wait between the two.
    pub pause: Duration,
    /// Those who only read.
    pub readers: usize,
    /// Connections of each reader.
    pub connections: usize,
}

/// All that sending and reading share.
struct Run {
    rooms: Vec<RoomId>,
    pause: Duration,
    began: Instant,
    over: AtomicBool,
    acked: AtomicU64,
    /// The lowest position of any reader, a room.
    positions: Mutex<BTreeMap<(usize, RoomId), u64>>,
    partings: Mutex<Vec<Parting>>,
}

/// A reader's connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// Whose: the number of the connection.
    pub reader: usize,
    /// When that was seen.
    pub at: Instant,
    /// What the `bye` before it said, if there was one: its reason, and when to come back.
    pub bye: Option<(String, Duration)>,
    /// When the client meant to connect again.
    pub retry_in: Option<Duration>,
    /// When it was let in again.
    pub back: Option<Instant>,
}

impl Run {
    fn partings(&self) -> MutexGuard<'_, Vec<Parting>> {
        self.partings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self, reader: usize, room: &RoomId, position: u64) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert((reader, room.clone()), position);
    }
}

/// What a sender was told of what it sent.
type Told = Vec<(RoomId, Sent)>;

/// A crowd at work.
pub struct Crowd {
    run: Arc<Run>,
    judge: Client,
    senders: Vec<JoinHandle<anyhow::Result<Told>>>,
    readers: Vec<(String, JoinHandle<BTreeMap<RoomId, Reader>>)>,
    /// At each server one who reads pages.
    pagers: Vec<JoinHandle<BTreeMap<RoomId, Reader>>>,
    tell_heads: watch::Sender<Option<BTreeMap<RoomId, u64>>>,
}

/// What is to be said of it.
#[derive(Debug)]
pub struct Verdict {
    /// Every promise that was broken, with the room.
    pub violations: Vec<(RoomId, Violation)>,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Entries in the logs.
    pub entries: usize,
    /// Messages without an answer in the end.
    pub unknown: usize,
    /// Messages that were refused in the end.
    pub refused: usize,
    /// The wait for each acknowledgement, by its length.
    pub waits: Vec<Wait>,
}

/// From the first sending of a message to its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When it was first sent, since the crowd began.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
}

impl Verdict {
    /// Fails with what was broken.
    ///
    /// # Panics
    /// When something was.
    pub fn is_clean(&self) {
        let (count, first) = (self.violations.len(), self.violations.iter().take(20).collect::<Vec<_>>());
        assert!(count == 0, "{count} violations: {first:#?}");
    }

    /// The wait that this part of all was below: 1.0 for the longest.
    pub fn wait(&self, quantile: f64) -> Duration {
        let at = (self.waits.len() as f64 * quantile) as usize;
        self.waits.get(at.min(self.waits.len().saturating_sub(1))).map_or(Duration::ZERO, |wait| wait.took)
    }
}

impl Crowd {
    /// Registers them at these servers by turns, their names beginning with `name`, makes the rooms, and begins.
    ///
    /// # Errors
    /// When a server refuses somebody.
    pub async fn gather(
        name: &str,
        servers: &[SocketAddr],
        size: Size,
        rng: &mut Rng,
    ) -> anyhow::Result<Self> {
        let first = servers.first().context("no server")?;
        let judge = Person::register_at(*first, &format!("{name}judge")).await?;
        let (judge, mut events) = Client::connect(patient(&judge)).await?;
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let mut rooms = Vec::new();
        for n in 0..size.rooms {
            rooms.push(judge.create(&format!("room {n}"), "").await?.id);
        }
        let run = Arc::new(Run {
            rooms,
            pause: size.pause,
            began: Instant::now(),
            over: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            positions: Mutex::default(),
            partings: Mutex::default(),
        });
        let (tell_heads, heads) = watch::channel(None);
        let (mut readers, mut senders, mut pagers) = (Vec::new(), Vec::new(), Vec::new());
        for (n, server) in servers.iter().enumerate() {
            let name = format!("{name}pager{n}");
            let person = Person::register_at(*server, &name).await?;
            let (client, mut events) = Client::connect(patient(&person)).await?;
            tokio::spawn(async move { while events.next().await.is_some() {} });
            pagers.push(tokio::spawn(read_pages(client, name, run.clone(), rng.fork())));
        }
        let mut servers = servers.iter().cycle();
        let mut next = || servers.next().context("no server");
        for n in 0..size.readers {
            let name = format!("{name}reader{n}");
            let person = Person::register_at(*next()?, &name).await?;
            for connection in 0..size.connections {
                let (client, events) = match connection {
                    0 => member(&person, &run).await?,
                    // In all rooms already.
                    _ => Client::connect(patient(&person)).await?,
                };
                let follow = follow(readers.len(), client, events, run.clone(), heads.clone());
                readers.push((name.clone(), tokio::spawn(follow)));
            }
        }
        for n in 0..size.senders {
            let name = format!("{name}sender{n}");
            let person = Person::register_at(*next()?, &name).await?;
            let (client, mut events) = member(&person, &run).await?;
            // Nobody looks at what a sender is sent.
            tokio::spawn(async move { while events.next().await.is_some() {} });
            senders.push(tokio::spawn(send_all(client, name, run.clone(), rng.fork())));
        }
        Ok(Self { run, judge, senders, readers, pagers, tell_heads })
    }

    /// How long it is at work.
    pub fn elapsed(&self) -> Duration {
        self.run.began.elapsed()
    }

    /// How many connections its readers have.
    pub fn connections(&self) -> usize {
        self.readers.len()
    }

    /// Connections of readers that were lost until now, in the order in which that was seen.
    pub fn partings(&self) -> Vec<Parting> {
        self.run.partings().clone()
    }

    /// Messages acknowledged until now.
    pub fn acked(&self) -> u64 {
        self.run.acked.load(Ordering::Relaxed)
    }

    /// Waits for so many more acknowledgements.
    pub async fn acks(&self, more: u64) {
        let until = self.acked() + more;
        eventually("acks", async || (self.acked() >= until).then_some(())).await;
    }

    /// Waits until every reader has what the logs have now. How long that took.
    ///
    /// # Errors
    /// When a log's head can't be read.
    pub async fn whole(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut heads = BTreeMap::new();
        for room in &self.run.rooms {
            let opened = eventually("a head", async || self.judge.open(room, Some(1)).await.ok()).await;
            heads.insert(room.clone(), opened.room.head.context("no head")?.0);
        }
        let reached = || {
            let positions = self.run.positions.lock().unwrap_or_else(PoisonError::into_inner);
            positions.iter().all(|((_, room), position)| heads.get(room).is_none_or(|head| position >= head))
        };
        eventually("every reader is whole", async || reached().then_some(())).await;
        Ok(began.elapsed())
    }

    /// Ends the sending, waits until every reader has all, and judges.
    ///
    /// # Errors
    /// When somebody could not go on, or a log can't be read.
    pub async fn disperse(self) -> anyhow::Result<Verdict> {
        self.run.over.store(true, Ordering::Relaxed);
        let mut sent: BTreeMap<RoomId, Vec<Sent>> = BTreeMap::new();
        for sender in self.senders {
            for (room, message) in in_time("the last answer", sender).await?? {
                sent.entry(room).or_default().push(message);
            }
        }
        let mut histories = BTreeMap::new();
        for room in &self.run.rooms {
            let log = whole_log(&self.judge, room).await?.iter().map(Seen::from).collect();
            let sent = sent.remove(room).unwrap_or_default();
            histories.insert(room.clone(), History { sent, readers: Vec::new(), log });
        }
        let head = |history: &History| history.log.last().map_or(0, |entry| entry.seq);
        let ends = histories.iter().map(|(room, history)| (room.clone(), head(history))).collect();
        self.tell_heads.send(Some(ends))?;
        for (name, reader) in self.readers {
            for (room, stream) in in_time("a reader reads to the end", reader).await? {
                let history = histories.get_mut(&room).context("a room of which nobody knew")?;
                history.readers.push(Reader { name: name.clone(), ..stream });
            }
        }
        for pager in self.pagers {
            for (room, read) in in_time("the last page", pager).await? {
                histories.get_mut(&room).context("a room of which nobody knew")?.readers.push(read);
            }
        }
        let violations = histories
            .iter()
            .flat_map(|(room, history)| {
                checker::check(history).into_iter().map(move |violation| (room.clone(), violation))
            })
            .collect();
        let sent = || histories.values().flat_map(|history| &history.sent);
        let mut waits: Vec<_> = sent()
            .filter_map(|sent| match sent.outcome {
                Outcome::Acked { at, .. } => {
                    Some(Wait { began: sent.began, took: at.saturating_sub(sent.began) })
                }
                Outcome::Refused | Outcome::Unknown => None,
            })
            .collect();
        waits.sort_unstable_by_key(|wait| wait.took);
        Ok(Verdict {
            violations,
            acked: self.run.acked.load(Ordering::Relaxed),
            entries: histories.values().map(|history| history.log.len()).sum(),
            unknown: sent().filter(|sent| sent.outcome == Outcome::Unknown).count(),
            refused: sent().filter(|sent| sent.outcome == Outcome::Refused).count(),
            waits,
        })
    }
}

/// One who connects again, and sends again until there is an answer.
fn patient(person: &Person) -> Options {
    Options {
        reconnect: true,
        reconnect_wait_max: Duration::from_millis(200),
        deadline: Duration::from_secs(120),
        ..person.options()
    }
}

/// A connection of somebody who is in all rooms.
async fn member(person: &Person, run: &Run) -> anyhow::Result<(Client, Events)> {
    let (client, events) = Client::connect(patient(person)).await?;
    for room in &run.rooms {
        client.join(room).await?;
    }
    Ok((client, events))
}

/// Sends one after the other.
async fn send_all(client: Client, name: String, run: Arc<Run>, mut rng: Rng) -> anyhow::Result<Told> {
    let mut all = Vec::new();
    for n in 0.. {
        if run.over.load(Ordering::Relaxed) {
            break;
        }
        let room = rng.choice(&run.rooms).context("no room")?;
        let sent = send(&client, room, run.began, format!("{name}-{n}")).await?;
        run.acked.fetch_add(u64::from(matches!(sent.outcome, Outcome::Acked { .. })), Ordering::Relaxed);
        all.push((room.clone(), sent));
        if !run.pause.is_zero() {
            tokio::time::sleep(run.pause).await;
        }
    }
    Ok(all)
}

/// Sends a message whose text is its key, and keeps what became of it. While the answer is that it can't be done just now, it is
/// sent again with its key.
async fn send(client: &Client, room: &RoomId, epoch: Instant, key: String) -> anyhow::Result<Sent> {
    let began = epoch.elapsed();
    let parsed = Key::parse(&key)?;
    let mut outcome = Outcome::Unknown;
    for _ in 0..100 {
        match client.send_text(room, &key, Some(&parsed)).await {
            Ok(sent) => {
                let seq = sent.seq().context("an ack without a seq")?.0;
                outcome = Outcome::Acked { seq, at: epoch.elapsed() };
                break;
            }
            Err(error) if error.is_outcome_unknown() => outcome = Outcome::Unknown,
            Err(Error::Refused(refusal))
                if refusal.retry_after().is_some()
                    || refusal.known_code().is_some_and(|code| code.retry()) =>
            {
                tokio::time::sleep(refusal.retry_after().unwrap_or(Duration::from_millis(50))).await;
            }
            Err(Error::Refused(_)) => {
                outcome = Outcome::Refused;
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Sent { text: key.clone(), key, began, outcome })
}

/// Reads pages of one room and another, each on from the last one, until the sending ends. What can't be read is read later.
async fn read_pages(client: Client, name: String, run: Arc<Run>, mut rng: Rng) -> BTreeMap<RoomId, Reader> {
    let mut pages: BTreeMap<RoomId, Pages> = BTreeMap::new();
    while !run.over.load(Ordering::Relaxed) {
        let Some(room) = rng.choice(&run.rooms) else { break };
        let read = pages.entry(room.clone()).or_insert_with(|| Pages::of(&name));
        // It may be that there is no answer just now.
        let _ = read.read_on(&client, room, || run.began.elapsed()).await;
        tokio::time::sleep(PAGE_EVERY).await;
    }
    client.close().await;
    pages.into_iter().map(|(room, pages)| (room, pages.end())).collect()
}

/// Where every room's log ends, once that is known.
type Heads = watch::Receiver<Option<BTreeMap<RoomId, u64>>>;

/// Takes what comes, from the own joins or from where the rooms were on, until every room's head was seen.
async fn follow(
    reader: usize,
    client: Client,
    mut events: Events,
    run: Arc<Run>,
    mut heads: Heads,
) -> BTreeMap<RoomId, Reader> {
    let (mut streams, mut bye) = (Streams::default(), None);
    loop {
        if heads.borrow().as_ref().is_some_and(|heads| streams.has_seen(heads)) {
            break;
        }
        let event = tokio::select! {
            changed = heads.changed() => if changed.is_err() { break } else { continue },
            event = events.next() => event,
        };
        let Some(event) = event else { break };
        match &event {
            Event::Connected(_) => {
                let mut partings = run.partings();
                let lost = partings.iter_mut().rev().find(|parting| parting.reader == reader);
                lost.into_iter().for_each(|lost| lost.back = Some(Instant::now()));
            }
            Event::Bye(said) => {
                let after = Duration::from_millis(said.reconnect_after_ms.unwrap_or(0));
                bye = Some((said.reason.clone(), after));
            }
            Event::Disconnected(lost) => {
                let (bye, retry_in) = (bye.take(), lost.retry_in);
                run.partings().push(Parting { reader, at: Instant::now(), bye, retry_in, back: None });
            }
            _ => {}
        }
        let heard = streams.hear(&event);
        let began = matches!(event, Event::Connected(_)).then(|| streams.rooms()).into_iter().flatten();
        for room in heard.iter().chain(began) {
            run.reached(reader, room, streams.position(room).unwrap_or(0));
        }
    }
    client.close().await;
    streams.end(&run.rooms)
}

/// A room's whole log, read page by page from its begin.
async fn whole_log(client: &Client, room: &RoomId) -> anyhow::Result<Vec<Entry>> {
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let after = log.last().map_or(Seq(0), |entry| entry.seq);
        let page = eventually("a page of the log", async || {
            client.history(room, Range::After(after), Some(1_000)).await.ok()
        })
        .await;
        let (empty, more) = (page.entries.is_empty(), page.more);
        log.extend(page.entries);
        if empty || !more {
            return Ok(log);
        }
    }
}

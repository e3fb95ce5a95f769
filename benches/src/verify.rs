//! Whether a running deployment keeps its promises while its operator breaks things: people send and read for a while over
//! connections that come back, then what they were told is held against the log.

mod people;
mod verdict;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use hubbub_client::answer::Range;
use hubbub_client::{Client, Error, Events, Options};
use hubbub_core::ids::{RoomId, Seq};
use hubbub_testkit::checker::{History, Reader, Seen};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::loopback::{Place, place_in};
use crate::targets::accounts::Door;
use crate::targets::live::run_name;
use crate::view::View;
use people::{Run, Sender, follow, read_pages, send};
pub use verdict::{Broken, Outage, Unread, Verdict};

/// What is kept in memory: a message once for its log and once for each reader.
const SEEN_MAX: u64 = 2_000_000;
/// How long all may take to leave.
const LEAVE_MAX: Duration = Duration::from_secs(10);
/// How long one try to let somebody in may take, and what is between two.
const TRY_MAX: Duration = Duration::from_secs(10);
const TRY_EVERY: Duration = Duration::from_millis(200);
/// Entries a page when a log is read.
const PAGE: u32 = 1_000;

/// What is done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `ws://HOST:PORT` of each gateway, or `wss://` for TLS; people take turns among them.
    pub urls: Vec<String>,
    /// Whether they may be anywhere.
    pub owned: bool,
    /// Access tokens of those who take part, who take turns; none: accounts are registered.
    pub tokens: Vec<String>,
    /// Rooms that are made, of which everybody is a member.
    pub rooms: usize,
    /// Those who send.
    pub senders: usize,
    /// Those who read.
    pub readers: usize,
    /// Messages a second, of all together.
    pub rate: u32,
    /// How long it is sent.
    pub time: Duration,
    /// How long an answer, and in the end a reader, may take: longer than what the operator does.
    pub patience: Duration,
    /// Where the evidence goes.
    pub out: Option<PathBuf>,
}

impl Plan {
    /// Refuses what has no bound or makes no sense.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.urls.is_empty(), "no address");
        ensure!((1..=1_000).contains(&self.rooms), "rooms: 1 to 1,000");
        ensure!((1..=1_000).contains(&self.senders), "senders: 1 to 1,000");
        ensure!((1..=1_000).contains(&self.readers), "readers: 1 to 1,000");
        ensure!((1..=10_000).contains(&self.rate), "rate: 1 to 10,000 messages a second");
        ensure!((1..=3_600).contains(&self.time.as_secs()), "seconds: 1 to 3,600");
        ensure!((1..=3_600).contains(&self.patience.as_secs()), "patience: 1 to 3,600 seconds");
        let messages = u64::from(self.rate) * self.time.as_secs();
        let seen = messages * (self.readers + self.urls.len() + 1) as u64;
        ensure!(
            seen <= SEEN_MAX,
            "{messages} messages at {} readers are more than is kept here",
            self.readers
        );
        Ok(())
    }
}

/// Sends, reads, and judges. An error if it can't begin; what goes wrong later is in the verdict.
pub async fn run(plan: &Plan, view: &View) -> anyhow::Result<Verdict> {
    plan.check()?;
    let mut gates = Vec::new();
    for url in &plan.urls {
        let place = place_in(url, plan.owned)?;
        gates.push(Gate { url: ws_url(&place), door: Door::at(&place) });
    }
    let name = format!("verify-{}", run_name());
    let people = Registry { plan, gates: &gates, name: &name, reached: Cell::new(false) };

    let mut judges = Vec::new();
    for n in 0..gates.len() {
        let (judge, mut events) = people.come(n, "judge").await?;
        tokio::task::spawn_local(async move { while events.next().await.is_some() {} });
        judges.push(judge);
    }
    let judge = judges.first().context("no address")?;
    let mut rooms = Vec::new();
    for n in 0..plan.rooms {
        rooms.push(judge.create(&format!("{name} {n}"), "made by hubbub verify").await?.id);
    }
    let run = Rc::new(Run::new(rooms));
    let (tell_heads, heads) = watch::channel(None);
    let (mut readers, mut senders, mut clients) = (JoinSet::new(), JoinSet::new(), Vec::new());
    for n in 0..plan.readers {
        let name = format!("reader{n}");
        let (client, events) = people.come(n, &name).await?;
        for room in &run.rooms {
            client.join(room).await?;
        }
        clients.push(client);
        readers.spawn_local(follow(name, events, Rc::clone(&run), heads.clone()));
    }
    for n in 0..plan.senders {
        let name = format!("sender{n}");
        let (client, events) = people.come(n, &name).await?;
        for room in &run.rooms {
            client.join(room).await?;
        }
        clients.push(client.clone());
        let every = Duration::from_secs_f64(plan.senders as f64 / f64::from(plan.rate));
        let Plan { time: until, patience, .. } = *plan;
        let sender = Sender { name, number: n, client, every, until, patience };
        senders.spawn_local(send(sender, events, Rc::clone(&run)));
    }
    let mut pagers = JoinSet::new();
    for (n, judge) in judges.iter().enumerate() {
        pagers.spawn_local(read_pages(format!("pager{n}"), judge.clone(), Rc::clone(&run), plan.time));
    }
    run.begin();
    watch_over(&run, plan.time, view).await;

    let mut histories: BTreeMap<RoomId, History> =
        run.rooms.iter().map(|room| (room.clone(), History::default())).collect();
    let mut verdict = Verdict::default();
    while let Some(told) = senders.join_next().await {
        let told = told?;
        verdict.repeats_that_differ.extend(told.repeats_that_differ);
        for (room, sent) in told.sent {
            histories.entry(room).or_default().sent.push(sent);
        }
    }
    let mut ends = BTreeMap::new();
    for (room, history) in &mut histories {
        let mut logs = Vec::new();
        for (judge, gate) in judges.iter().zip(&gates) {
            let log = timeout(plan.patience, whole_log(judge, room)).await.ok();
            logs.push((gate.url.clone(), log));
        }
        history.log = verdict.take_logs(room, logs);
        ends.insert(room.clone(), history.log.last().map_or(0, |entry| entry.seq));
    }
    // Those who are not at the end by then are told to stop, and the checker says what they lack.
    let _ = tell_heads.send(Some(ends));
    let stop = run.stop_after(plan.patience);
    while let Some(read) = pagers.join_next().await {
        for (room, pages) in read? {
            histories.entry(room).or_default().readers.push(pages);
        }
    }
    while let Some(read) = readers.join_next().await {
        let (name, streams) = read?;
        for (room, stream) in streams {
            let history = histories.entry(room).or_default();
            history.readers.push(Reader { name: name.clone(), ..stream });
        }
    }
    stop.abort();
    // Only now, for what somebody else reads must be in the logs that were read. Nobody is to be seen there as a member for ever;
    // a deployment that is down is told nothing.
    let leaving = async {
        for client in clients.iter().chain(&judges) {
            for room in &run.rooms {
                let _ = client.leave(room).await;
            }
        }
    };
    let _ = timeout(LEAVE_MAX, leaving).await;
    verdict.judge(&mut histories, &run);
    if let Some(out) = &plan.out {
        let text = serde_json::to_string_pretty(&verdict)?;
        std::fs::write(out, text).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(verdict)
}

/// One address of the deployment.
struct Gate {
    url: String,
    door: Door,
}

struct Registry<'a> {
    plan: &'a Plan,
    gates: &'a [Gate],
    name: &'a str,
    /// Somebody was let in: what is away from now on is what the operator breaks, and comes back.
    reached: Cell<bool>,
}

impl Registry<'_> {
    /// Lets the n-th of them come. Once anybody did, that is tried again until `patience` is over.
    async fn come(&self, n: usize, who: &str) -> anyhow::Result<(Client, Events)> {
        let until = Instant::now() + self.plan.patience;
        loop {
            let try_max = if self.reached.get() { TRY_MAX } else { self.plan.patience };
            let tried = timeout(try_max, async { Ok(Client::connect(self.options(n, who).await?).await?) });
            let error: anyhow::Error = match tried.await {
                Ok(Ok(came)) => {
                    self.reached.set(true);
                    return Ok(came);
                }
                Ok(Err(error)) => error,
                Err(_) => anyhow!("no answer within {} s", try_max.as_secs()),
            };
            let is_refused = matches!(error.downcast_ref(), Some(Error::Refused(refusal))
                if !refusal.known_code().is_some_and(|code| code.retry()));
            if is_refused || !self.reached.get() || Instant::now() >= until {
                return Err(error.context(format!("letting {who} in")));
            }
            sleep(TRY_EVERY).await;
        }
    }

    /// How the n-th of them connects, again and again until `patience` is over.
    async fn options(&self, n: usize, who: &str) -> anyhow::Result<Options> {
        let gate = &self.gates[n % self.gates.len()];
        let token = match self.plan.tokens.len() {
            0 => gate.door.register(&format!("{}-{who}-{n}", self.name)).await?,
            count => self.plan.tokens[n % count].clone(),
        };
        Ok(Options {
            token,
            client_name: concat!("hubbub-verify/", env!("CARGO_PKG_VERSION")).into(),
            reconnect: true,
            reconnect_wait_max: Duration::from_secs(1),
            deadline: self.plan.patience,
            ..Options::new(&gate.url)
        })
    }
}

async fn watch_over(run: &Run, time: Duration, view: &View) {
    while run.elapsed() < time {
        sleep(Duration::from_secs(1)).await;
        view.line(|| run.progress(time));
    }
}

/// A room's whole log, read page by page from its begin, however often that must be tried.
async fn whole_log(client: &Client, room: &RoomId) -> Vec<Seen> {
    let (mut log, mut after) = (Vec::new(), Seq(0));
    loop {
        match client.history(room, Range::After(after), Some(PAGE)).await {
            Ok(page) => {
                log.extend(page.entries.iter().map(Seen::from));
                after = page.entries.last().map_or(after, |entry| entry.seq);
                if page.entries.is_empty() || !page.more {
                    return log;
                }
            }
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The address of the native door.
fn ws_url(place: &Place) -> String {
    format!("{}://{}/v1/ws", if place.tls { "wss" } else { "ws" }, place.authority)
}

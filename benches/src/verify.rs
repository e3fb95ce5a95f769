//! Whether a running deployment keeps its promises while its operator breaks things: people send and read for a while over
//! connections that come back, then what they were told is held against the log.

mod logs;
mod people;
mod registry;
mod verdict;
mod words;

use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use hubbub_client::Client;
use hubbub_core::ids::RoomId;
use hubbub_testkit::checker::{History, Reader};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::loopback::{Place, place_in};
use crate::signals::Signals;
use crate::targets::accounts::Door;
use crate::targets::live::run_name;
use crate::view::View;
use logs::whole_log;
use people::{Followed, Heads, Run, Sender, Told, follow, read_pages, send};
use registry::{Gate, Registry};
pub use verdict::{Broken, Outage, Unread, Verdict};

/// What is kept in memory: a message once for its log and once for everybody who is sent it. An hour of what is usual fits.
const SEEN_MAX: u64 = 3_000_000;
/// How long all may take to leave.
const LEAVE_MAX: Duration = Duration::from_secs(10);

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
        // Each judge is sent it, and reads it page by page as well.
        let people = self.readers + self.senders + 2 * self.urls.len();
        ensure!(
            messages * (people + 1) as u64 <= SEEN_MAX,
            "{messages} messages at {people} who are sent them are more than is kept here: a lower --rate, or fewer people"
        );
        Ok(())
    }
}

/// Sends, reads, and judges. An error if it can't begin; what goes wrong later is in the verdict. Asked to end by a signal, it
/// sends no more and judges; asked again, it ends at once.
pub async fn run(plan: &Plan, view: &View) -> anyhow::Result<Verdict> {
    let (mut signals, early) = (Signals::listen()?, Notify::new());
    let mut verifying = pin!(verify(plan, view, &early));
    let mut asked = false;
    loop {
        tokio::select! {
            verdict = &mut verifying => return verdict,
            signal = signals.next() => {
                ensure!(!std::mem::replace(&mut asked, true), signal);
                view.finish("no more is sent, and what was is judged; once more to end at once");
                early.notify_one();
            }
        }
    }
}

async fn verify(plan: &Plan, view: &View, early: &Notify) -> anyhow::Result<Verdict> {
    plan.check()?;
    let mut gates = Vec::new();
    for url in &plan.urls {
        let place = place_in(url, plan.owned)?;
        gates.push(Gate { url: ws_url(&place), door: Door::at(&place) });
    }
    let name = format!("verify-{}", run_name());
    let people = Registry::new(plan, &gates, &name);
    let (tell_heads, heads) = watch::channel(None);
    let mut crew = Crew::gather(plan, &people, &heads).await?;
    let run = Rc::clone(&crew.run);
    run.begin();
    watch_over(&run, view, early).await;

    let mut histories: BTreeMap<RoomId, History> =
        run.rooms.iter().map(|room| (room.clone(), History::default())).collect();
    let mut verdict = Verdict::default();
    while let Some(told) = crew.senders.join_next().await {
        for (room, sent) in verdict.hear(told?) {
            histories.entry(room).or_default().sent.push(sent);
        }
    }
    let mut ends = BTreeMap::new();
    for (room, history) in &mut histories {
        let mut logs = Vec::new();
        for (n, judge) in crew.judges.iter_mut().enumerate() {
            logs.push((gates[n].url.clone(), whole_log(&people, (n, judge), room).await));
        }
        history.log = verdict.take_logs(room, logs);
        ends.insert(room.clone(), history.log.last().map_or(0, |entry| entry.seq));
    }
    // Those who are not at the end by then are told to stop, and the checker says what they lack.
    let _ = tell_heads.send(Some(ends));
    let stop = run.stop_after(plan.patience);
    while let Some(read) = crew.pagers.join_next().await {
        for (room, pages) in read? {
            histories.entry(room).or_default().readers.push(pages);
        }
    }
    while let Some(read) = crew.followers.join_next().await {
        let (name, streams) = read?;
        for (room, stream) in streams {
            let history = histories.entry(room).or_default();
            history.readers.push(Reader { name: name.clone(), ..stream });
        }
    }
    stop.abort();
    verdict.judge(&mut histories, &run);
    crew.leave().await;
    Ok(verdict)
}

/// Everybody who takes part.
struct Crew {
    run: Rc<Run>,
    /// One at each gateway, who reads pages of the logs, and in the end all of them.
    judges: Vec<Client>,
    others: Vec<Client>,
    senders: JoinSet<Told>,
    pagers: JoinSet<BTreeMap<RoomId, Reader>>,
    /// What each connection is sent, whoever's it is: a fault may be at one alone.
    followers: JoinSet<Followed>,
}

impl Crew {
    /// Lets them come, makes the rooms, and has everybody join each.
    async fn gather(plan: &Plan, people: &Registry<'_>, heads: &Heads) -> anyhow::Result<Self> {
        let mut come = Vec::new();
        for n in 0..plan.urls.len() {
            come.push(people.come(n, "judge").await?);
        }
        let judge = come.first().map(|(judge, _)| judge).context("no address")?;
        let mut rooms = Vec::new();
        for n in 0..plan.rooms {
            rooms.push(judge.create(&format!("{} {n}", people.name), "made by hubbub verify").await?.id);
        }
        let mut crew = Self {
            run: Rc::new(Run::new(rooms, plan.time)),
            judges: Vec::new(),
            others: Vec::new(),
            senders: JoinSet::new(),
            pagers: JoinSet::new(),
            followers: JoinSet::new(),
        };
        for (n, (judge, events)) in come.into_iter().enumerate() {
            // The first one made them, and so is in them.
            if n > 0 {
                crew.join_all(&judge).await?;
            }
            crew.follow(format!("judge{n}"), events, heads);
            crew.pagers.spawn_local(read_pages(format!("pager{n}"), judge.clone(), Rc::clone(&crew.run)));
            crew.judges.push(judge);
        }
        for n in 0..plan.readers {
            let (client, events) = people.come(n, "reader").await?;
            crew.join_all(&client).await?;
            crew.follow(format!("reader{n}"), events, heads);
            crew.others.push(client);
        }
        for n in 0..plan.senders {
            let (client, events) = people.come(n, "sender").await?;
            crew.join_all(&client).await?;
            let name = format!("sender{n}");
            crew.follow(name.clone(), events, heads);
            crew.others.push(client.clone());
            let every = Duration::from_secs_f64(plan.senders as f64 / f64::from(plan.rate));
            let sender = Sender { name, number: n, client, every, patience: plan.patience };
            crew.senders.spawn_local(send(sender, Rc::clone(&crew.run)));
        }
        Ok(crew)
    }

    async fn join_all(&self, client: &Client) -> anyhow::Result<()> {
        for room in &self.run.rooms {
            client.join(room).await?;
        }
        Ok(())
    }

    fn follow(&mut self, name: String, events: hubbub_client::Events, heads: &Heads) {
        self.followers.spawn_local(follow(name, events, Rc::clone(&self.run), heads.clone()));
    }

    /// Only in the end, for what somebody else reads must be in the logs that were read. Nobody is to be seen there as a member
    /// for ever; a deployment that is down is told nothing.
    async fn leave(&self) {
        let leaving = async {
            for client in self.others.iter().chain(&self.judges) {
                for room in &self.run.rooms {
                    let _ = client.leave(room).await;
                }
            }
        };
        let _ = timeout(LEAVE_MAX, leaving).await;
    }
}

/// Shows how it goes until the time is over, or until somebody wants to see the verdict now.
async fn watch_over(run: &Run, view: &View, early: &Notify) {
    while !run.is_over() {
        tokio::select! {
            () = sleep(Duration::from_secs(1)) => view.line(|| run.progress()),
            () = early.notified() => run.end_now(),
        }
    }
}

/// The address of the native door.
fn ws_url(place: &Place) -> String {
    format!("{}://{}/v1/ws", if place.tls { "wss" } else { "ws" }, place.authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_what_is_usual_is_kept_and_more_than_memory_bears_is_refused() {
        let plan = |rate| Plan {
            urls: vec!["ws://127.0.0.1:3000".to_owned()],
            owned: false,
            tokens: Vec::new(),
            rooms: 3,
            senders: 5,
            readers: 5,
            rate,
            time: Duration::from_secs(3_600),
            patience: Duration::from_secs(60),
        };
        assert!(plan(50).check().is_ok());
        let refused = plan(100).check().expect_err("too much");
        assert!(refused.to_string().contains("a lower --rate"), "{refused}");
    }
}

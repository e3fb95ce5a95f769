//! A process as operators see it: it says every second how it is, and does what they want of it. And the other side: all processes,
//! as one that listens knows them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hubbub_core::ids::{Millis, NodeId};
use hubbub_core::ports::bus::{Bus, BusError, Message, Reply, Subject, Subscription};
use hubbub_wire::tier::agent::{AskAgent, Condition, REPORT_EVERY_MS, Report, Role, ToldAgent, Which};
use hubbub_wire::tier::parcel;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::build_info;
use crate::health::Health;

/// How long a process that is silent is remembered, so that it can be seen that one died.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Silence after which a process counts as silent.
const SILENT_AFTER: Duration = Duration::from_millis(3 * REPORT_EVERY_MS + 500);
/// Processes that are remembered; beyond it new ones are not.
const KNOWN_MAX: usize = 10_000;
/// Questions that wait; beyond it the asker times out.
const ASKED_MAX: usize = 64;

/// What a process is asked beside how it is. Both are asked for on the process' own threads.
pub struct Insight {
    /// How many connections of clients it holds.
    pub count: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Which.
    pub connections: Box<dyn Fn(&Which) -> ToldAgent + Send + Sync>,
}

/// A process as it shows itself.
pub struct Agent {
    /// Which.
    pub node: NodeId,
    /// What it is.
    pub role: Role,
    /// Where it listens.
    pub address: String,
    /// How it is.
    pub health: Health,
    /// What begins its drain.
    pub shutdown: CancellationToken,
    /// Of one that holds connections of clients.
    pub insight: Option<Insight>,
}

impl Agent {
    /// Reports and answers until `end`, which comes after all else that the process does; then says that it left.
    ///
    /// # Errors
    /// When the bus can't be listened to.
    pub async fn work(self, bus: Arc<dyn Bus>, end: CancellationToken) -> Result<(), BusError> {
        let (inbox, mut asked) = mpsc::channel::<(Message, Reply)>(ASKED_MAX);
        let serve = Arc::new(move |message, reply| _ = inbox.try_send((message, reply)));
        let _served = bus.serve(Subject::Agent(self.node.clone()), serve).await?;
        let (since, host) = (Millis::from(SystemTime::now()), host());
        let report = |condition| Report {
            node: self.node.clone(),
            role: self.role,
            host: host.clone(),
            address: self.address.clone(),
            version: build_info::version_and_commit(),
            since,
            condition,
            trouble: self.trouble(),
            connections: self.insight.as_ref().map(|insight| (insight.count)()),
        };
        let say = |condition| {
            if let Err(error) = bus.publish(&Subject::Reports, parcel::pack(&report(condition)).into()) {
                tracing::debug!(%error, "a report was not sent");
            }
        };
        let mut turn = interval(Duration::from_millis(REPORT_EVERY_MS));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = end.cancelled() => break,
                _ = turn.tick() => say(self.condition()),
                Some((message, reply)) = asked.recv() => {
                    self.answer(message, reply);
                    say(self.condition());
                }
            }
        }
        say(Condition::Left);
        Ok(())
    }

    fn condition(&self) -> Condition {
        match self.shutdown.is_cancelled() {
            true => Condition::Draining,
            false if self.health.readiness().is_ready() => Condition::Ready,
            false => Condition::NotReady,
        }
    }

    fn trouble(&self) -> Vec<String> {
        let readiness = self.health.readiness();
        let all = readiness.unmet.into_iter().chain(readiness.trouble);
        all.map(|(name, reason)| format!("{name}: {reason}")).collect()
    }

    fn answer(&self, mut message: Message, reply: Reply) {
        let told = match parcel::header(&mut message.payload) {
            Ok(AskAgent::Drain) => {
                tracing::info!("an operator wants this process to drain");
                self.shutdown.cancel();
                ToldAgent::Draining
            }
            Ok(AskAgent::Connections(which)) => match &self.insight {
                Some(insight) => (insight.connections)(&which),
                None => ToldAgent::NoGateway,
            },
            Err(error) => {
                tracing::warn!(%error, "what an operator wants can't be read");
                return;
            }
        };
        reply.send(parcel::pack(&told));
    }
}

/// The name of the machine, which in a pod is the pod's; empty where the system does not say it in a file.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// All processes of a deployment, as their reports say.
#[derive(Default)]
pub struct Reported {
    heard: Mutex<HashMap<NodeId, (Report, Instant)>>,
}

/// A process, and how long ago it was heard of.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it said last.
    pub report: Report,
    /// How long ago.
    pub ago: Duration,
}

impl Seen {
    /// Whether it should have been heard of since, if it still is.
    pub fn is_silent(&self) -> bool {
        self.ago > SILENT_AFTER
    }
}

impl Reported {
    /// Listens from now on. The subscription keeps it up to date.
    ///
    /// # Errors
    /// As of [`Bus::listen`].
    pub async fn listen(bus: &dyn Bus) -> Result<(Arc<Self>, Subscription), BusError> {
        let reported = Arc::new(Self::default());
        let listener = reported.clone();
        let hear = move |mut message: Message| match parcel::header::<Report>(&mut message.payload) {
            Ok(report) => listener.hear(report, Instant::now()),
            Err(error) => tracing::debug!(%error, "a report that can't be read"),
        };
        let subscription = bus.listen(Subject::Reports, Arc::new(hear)).await?;
        Ok((reported, subscription))
    }

    fn hear(&self, report: Report, now: Instant) {
        let mut heard = self.lock();
        if report.condition == Condition::Left {
            heard.remove(&report.node);
            return;
        }
        if heard.len() >= KNOWN_MAX && !heard.contains_key(&report.node) {
            heard.retain(|_, (_, at)| now.duration_since(*at) < SILENT_AFTER);
        }
        if heard.len() < KNOWN_MAX || heard.contains_key(&report.node) {
            heard.insert(report.node.clone(), (report, now));
        }
    }

    /// All that were heard of within ten minutes and did not leave: by what they are, the oldest first.
    pub fn all(&self) -> Vec<Seen> {
        let now = Instant::now();
        let mut heard = self.lock();
        heard.retain(|_, (_, at)| now.duration_since(*at) < REMEMBERED);
        let seen =
            |(report, at): &(Report, Instant)| Seen { report: report.clone(), ago: now.duration_since(*at) };
        let mut all: Vec<_> = heard.values().map(seen).collect();
        all.sort_by(|a, b| {
            let key = |seen: &Seen| (seen.report.role, seen.report.since, seen.report.node.clone());
            key(a).cmp(&key(b))
        });
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, (Report, Instant)>> {
        // Each change is one call: a panic elsewhere leaves nothing half done.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(node: &str, condition: Condition) -> Report {
        Report {
            node: NodeId::parse(node).unwrap(),
            role: Role::Gateway,
            host: "here".into(),
            address: "127.0.0.1:1".into(),
            version: "1".into(),
            since: Millis(0),
            condition,
            trouble: Vec::new(),
            connections: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_died_is_seen_as_silent_and_one_that_left_is_not_seen() {
        let reported = Reported::default();
        reported.hear(report("dies", Condition::Ready), Instant::now());
        reported.hear(report("leaves", Condition::Ready), Instant::now());
        tokio::time::advance(SILENT_AFTER + Duration::from_millis(1)).await;
        reported.hear(report("leaves", Condition::Left), Instant::now());
        reported.hear(report("lives", Condition::Ready), Instant::now());
        let seen = reported.all().into_iter().map(|seen| (seen.report.node.to_string(), seen.is_silent()));
        assert_eq!(seen.collect::<Vec<_>>(), [("dies".into(), true), ("lives".into(), false)]);
        tokio::time::advance(REMEMBERED).await;
        assert!(reported.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_has_an_end() {
        let reported = Reported::default();
        for n in 0..KNOWN_MAX + 5 {
            reported.hear(report(&n.to_string(), Condition::Ready), Instant::now());
        }
        assert_eq!(reported.all().len(), KNOWN_MAX);
        tokio::time::advance(SILENT_AFTER).await;
        reported.hear(report("new", Condition::Ready), Instant::now());
        assert_eq!(reported.all().len(), 1, "the silent ones make room");
    }
}

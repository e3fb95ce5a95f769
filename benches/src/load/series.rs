//! A measurement second by second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, timeout};

use super::outcome::Quantiles;
use super::tally::{Counts, Tally};
use crate::procfs::{Usage, own_thread_cpu};
use crate::targets::live::Live;
use crate::view::View;

const EVERY: Duration = Duration::from_secs(1);
/// How long the server may take to say what it uses, for the second to be one.
const USAGE_MAX: Duration = Duration::from_millis(900);

/// What a second was like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it ended, in seconds from the start of the run, warm-up included.
    pub at_s: f64,
    /// Messages sent, a second.
    pub sent_a_second: f64,
    /// Deliveries, a second.
    pub deliveries_a_second: f64,
    /// Latency of the deliveries that came.
    pub delivery: Option<Quantiles>,
    /// Latency of the answers that came.
    pub ack: Option<Quantiles>,
    /// The server's CPU, in cores.
    pub server_cores: Option<f64>,
    /// Its resident memory.
    pub rss_mib: Option<f64>,
    /// The generator's CPU, in cores.
    pub generator_cores: f64,
    /// How late the latest message went out.
    pub late_ms: f64,
    /// Sends refused and connections lost, from the beginning.
    pub errors: u64,
}

/// Takes samples, and shows each, until it is dropped by its caller.
pub async fn sample(
    live: Rc<Live>,
    tally: Rc<RefCell<Tally>>,
    samples: Rc<RefCell<Vec<Sample>>>,
    view: View,
    takes: Duration,
) -> anyhow::Result<()> {
    let start = tally.borrow().start();
    let mut last = Point::now(&live, &tally, start).await?;
    let mut ticks = tokio::time::interval_at((last.at + EVERY).into(), EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Point::now(&live, &tally, start).await?;
        let sample = last.until(&now, start, &mut tally.borrow_mut())?;
        view.sample(&sample, takes);
        samples.borrow_mut().push(sample);
        last = now;
    }
}

struct Point {
    at: Instant,
    counts: Counts,
    usage: Option<Usage>,
    own: Duration,
}

impl Point {
    async fn now(live: &Live, tally: &RefCell<Tally>, start: Instant) -> anyhow::Result<Self> {
        // A server whose metrics don't come for a moment is no reason to stop a measurement.
        let usage = timeout(USAGE_MAX, live.usage()).await.ok().and_then(Result::ok).flatten();
        let counts = tally.borrow().counts;
        Ok(Self { at: Instant::now().max(start), counts, usage, own: own_thread_cpu() })
    }

    fn until(&self, now: &Self, start: Instant, tally: &mut Tally) -> anyhow::Result<Sample> {
        let seconds = (now.at - self.at).as_secs_f64();
        let a_second = |from: u64, to: u64| (to - from) as f64 / seconds;
        let cpu = self.usage.zip(now.usage).map(|(from, to)| to.cpu_seconds - from.cpu_seconds);
        let (delivery, ack, late) = tally.take_interval();
        Ok(Sample {
            at_s: (now.at - start).as_secs_f64(),
            sent_a_second: a_second(self.counts.sent, now.counts.sent),
            deliveries_a_second: a_second(self.counts.deliveries, now.counts.deliveries),
            delivery,
            ack,
            server_cores: cpu.map(|cpu| cpu / seconds),
            rss_mib: now.usage.map(|usage| usage.rss_kib as f64 / 1_024.0),
            generator_cores: (now.own - self.own).as_secs_f64() / seconds,
            late_ms: late,
            errors: now.counts.refused + now.counts.connections_lost,
        })
    }
}

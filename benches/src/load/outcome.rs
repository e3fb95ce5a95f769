//! What a measurement gives: numbers with their units in their names.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::beside::Visitors;
use super::series::Sample;
use crate::checker::{Fault, Findings};

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Half were quicker.
    pub p50_ms: f64,
    /// Nine of ten were quicker.
    pub p90_ms: f64,
    /// 99 of 100 were quicker.
    pub p99_ms: f64,
    /// 999 of 1,000 were quicker.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Quantiles {
    /// Of a histogram of microseconds; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
        })
    }
}

/// The quantiles of a curve: what part of all, and below how many milliseconds it was.
pub type Curve = Vec<(f64, f64)>;

/// A histogram's curve, to the last thousandth of a per cent that it has something in; for the plot "by quantile".
pub fn curve(histogram: &Histogram<u64>) -> Curve {
    const QUANTILES: [f64; 15] =
        [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999, 0.999999];
    let meant = |quantile: &f64| (1.0 - quantile) * histogram.len() as f64 >= 1.0;
    let at = |quantile| (quantile, histogram.value_at_quantile(quantile) as f64 / 1_000.0);
    QUANTILES.into_iter().filter(meant).map(at).collect()
}

/// A histogram of microseconds up to two minutes, to three figures.
pub fn microseconds() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000, 3)?)
}

/// The generator's own part in a measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Generator {
    /// Share of one core that its thread used.
    pub core_share: f64,
    /// How late it sent what was due.
    pub lateness: Option<Quantiles>,
    /// Whether it was itself the limit: then the other numbers say little about the server.
    pub was_the_limit: bool,
}

/// Fan-out: cost, latency, correctness.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fanout {
    /// Messages sent in the measured seconds.
    pub messages: u64,
    /// Deliveries that came in the measured seconds.
    pub deliveries: u64,
    /// Of those, a second.
    pub deliveries_a_second: f64,
    /// Mean payload of a delivery's frame.
    pub bytes_a_delivery: f64,
    /// Server CPU a delivery: all of its process, or of its processes if it is several.
    pub cpu_us_a_delivery: Option<f64>,
    /// Server CPU a message.
    pub cpu_us_a_message: Option<f64>,
    /// The database's CPU a delivery, where the target has one of its own: it is not in the others.
    pub database_cpu_us_a_delivery: Option<f64>,
    /// Server CPU, in cores.
    pub server_cores: Option<f64>,
    /// What else the machine did meanwhile, in cores: much of it makes latencies mean little.
    pub other_cores: Option<f64>,
    /// The server's resident memory at the end.
    pub rss_mib: Option<f64>,
    /// From the time due until a member has it. What did not come is in it with as long as it was waited for.
    pub delivery: Option<Quantiles>,
    /// From the time due until the sender has its answer.
    pub ack: Option<Quantiles>,
    /// Sends that the server refused.
    pub refused: u64,
    /// Connections that ended before the run did.
    pub connections_lost: u64,
    /// Over the whole run, warm-up included.
    pub findings: Findings,
    /// The first of them by name.
    pub faults: Vec<Fault>,
    /// How long what had not come in the end was waited for.
    pub patience_s: f64,
    /// The first complaint of the server, if there was one.
    pub trouble: Option<String>,
    /// Its own part.
    pub generator: Generator,
    /// Step by step, if the load was one of steps.
    pub steps: Vec<Held>,
    /// What went on beside it.
    pub visitors: Visitors,
    /// Deliveries by quantile.
    pub curve: Curve,
    /// Second by second, warm-up included.
    pub series: Vec<Sample>,
}

impl Fanout {
    /// The last step that was held, of a load that grows.
    pub fn held(&self) -> Option<&Held> {
        self.steps.iter().take_while(|step| step.not_held.is_none()).last()
    }

    /// The rate of that one, and 0 where the target did not hold the first. Nothing where there was no step, or none that
    /// says something of the target: what the generator can't send is not what a target fails at.
    pub fn held_rate(&self) -> Option<f64> {
        let first = self.steps.first()?;
        match self.held() {
            Some(held) => Some(held.messages_a_second),
            None => (!first.generator_was_the_limit).then_some(0.0),
        }
    }
}

/// One step of a load that grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// Messages a second that were due.
    pub messages_a_second: f64,
    /// Deliveries a second that came.
    pub deliveries_a_second: f64,
    /// Of the messages due in the step.
    pub delivery: Option<Quantiles>,
    /// Server CPU a delivery.
    pub cpu_us_a_delivery: Option<f64>,
    /// Why it does not count as held; `None` if it does.
    pub not_held: Option<String>,
    /// The generator was itself the limit: that it does not count as held says nothing of the target.
    #[serde(default)]
    pub generator_was_the_limit: bool,
}

/// Members who were cut at once and came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reconnects {
    /// How many.
    pub connections: u64,
    /// Messages that each room had while they were away, together.
    pub missed: u64,
    /// From a member's first packet until its hello is answered, with what the server asked it to wait.
    pub greeted: Option<Quantiles>,
    /// From when all began to come back until a member had every message that went out before its hello was answered.
    pub whole: Option<Quantiles>,
    /// Server CPU a connection, from when all began to come back until the last was whole.
    pub cpu_us_each: Option<f64>,
    /// Hellos that were refused for the moment, and said again later.
    pub refused: u64,
    /// How many could not come back.
    pub failed: u64,
    /// Over the whole run.
    pub findings: Findings,
    /// The first of them by name.
    pub faults: Vec<Fault>,
    /// How long what had not come in the end was waited for.
    pub patience_s: f64,
    /// The first failure.
    pub trouble: Option<String>,
    /// Its own part.
    pub generator: Generator,
    /// Second by second.
    pub series: Vec<Sample>,
}

/// Idle connections.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Idle {
    /// How many.
    pub connections: u64,
    /// Resident memory without them.
    pub rss_before_kib: u64,
    /// With half of them.
    pub rss_half_kib: u64,
    /// With all of them.
    pub rss_after_kib: u64,
    /// All growth over all connections: what happens once is in it.
    pub kib_a_connection: f64,
    /// Growth of the second half over half the connections.
    pub kib_a_connection_second_half: f64,
}

/// Connect, hello and join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connects {
    /// How many.
    pub connections: u64,
    /// In flight at a time.
    pub in_flight: usize,
    /// A second.
    pub connects_a_second: f64,
    /// Server CPU each.
    pub cpu_us_each: Option<f64>,
    /// From the first packet to the last answer.
    pub latency: Option<Quantiles>,
    /// How many failed.
    pub failed: u64,
    /// The first failure.
    pub trouble: Option<String>,
    /// Its own part.
    pub generator: Generator,
}

/// Of any kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// See [`Fanout`].
    Fanout(Box<Fanout>),
    /// See [`Idle`].
    Idle(Idle),
    /// See [`Connects`].
    Connects(Box<Connects>),
    /// See [`Reconnects`].
    Reconnects(Box<Reconnects>),
}

impl Outcome {
    /// Second by second, where something was sent.
    pub fn series(&self) -> &[Sample] {
        match self {
            Self::Fanout(fanout) => &fanout.series,
            Self::Reconnects(reconnects) => &reconnects.series,
            Self::Idle(_) | Self::Connects(_) => &[],
        }
    }

    /// What was wrong with what the target did, if anything was; slowness is not.
    pub fn wrong(&self) -> Option<String> {
        let found = |findings: &Findings, patience_s: f64| {
            let waited = findings.not_come + findings.unanswered > 0;
            let waited = if waited { format!(" (waited {patience_s} s)") } else { String::new() };
            findings.any().then(|| format!("{findings}{waited}"))
        };
        match self {
            Self::Fanout(fanout) => found(&fanout.findings, fanout.patience_s),
            Self::Reconnects(reconnects) => {
                let Reconnects { connections, failed, findings, patience_s, .. } = &**reconnects;
                let failed = (*failed > 0).then(|| format!("{failed} of {connections} did not come back"));
                let wrong: Vec<String> = failed.into_iter().chain(found(findings, *patience_s)).collect();
                (!wrong.is_empty()).then(|| wrong.join(", "))
            }
            Self::Connects(connects) => {
                let Connects { connections, failed, .. } = &**connects;
                (*failed > 0).then(|| format!("{failed} of {connections} could not connect"))
            }
            Self::Idle(_) => None,
        }
    }

    /// What was to go on beside it and was left out.
    pub fn left_out(&self) -> &[String] {
        match self {
            Self::Fanout(fanout) => &fanout.visitors.left_out,
            Self::Reconnects(_) | Self::Idle(_) | Self::Connects(_) => &[],
        }
    }

    /// The first of what was delivered wrongly, by name.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Fanout(fanout) => &fanout.faults,
            Self::Reconnects(reconnects) => &reconnects.faults,
            Self::Idle(_) | Self::Connects(_) => &[],
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

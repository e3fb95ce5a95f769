//! What a measurement gives: numbers with their units in their names.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::checker::Findings;

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
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

/// A histogram of microseconds up to two minutes, to three figures.
pub fn microseconds() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000, 3)?)
}

/// The generator's own part in a measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Generator {
    /// Share of one core that its thread used.
    pub core_share: f64,
    /// How late it sent what was due.
    pub lateness: Option<Quantiles>,
    /// Whether it was itself the limit: then the other numbers say little about the server.
    pub was_the_limit: bool,
}

/// Fan-out: cost, latency, correctness.
#[derive(Debug, Clone, Serialize)]
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
    /// From the time due until a member has it.
    pub delivery: Option<Quantiles>,
    /// From the time due until the sender has its answer.
    pub ack: Option<Quantiles>,
    /// Sends that the server refused.
    pub refused: u64,
    /// Sends without an answer, where the target answers.
    pub unanswered: u64,
    /// Connections that ended before the run did.
    pub connections_lost: u64,
    /// Over the whole run, warm-up included.
    pub findings: Findings,
    /// The first complaint of the server, if there was one.
    pub trouble: Option<String>,
    /// Its own part.
    pub generator: Generator,
}

/// Idle connections.
#[derive(Debug, Clone, Copy, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// See [`Fanout`].
    Fanout(Box<Fanout>),
    /// See [`Idle`].
    Idle(Idle),
    /// See [`Connects`].
    Connects(Box<Connects>),
}

impl Outcome {
    /// What was delivered wrongly, if anything.
    pub fn findings(&self) -> Option<Findings> {
        match self {
            Self::Fanout(fanout) => Some(fanout.findings).filter(Findings::any),
            Self::Idle(_) | Self::Connects(_) => None,
        }
    }
}

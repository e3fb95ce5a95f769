//! What the worker counts: once a batch, not once an ask.

use metrics::Unit;

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is scraped.
    pub name: &'static str,
    /// Of what.
    pub unit: Unit,
    /// What it says.
    pub description: &'static str,
}

const fn metric(name: &'static str, unit: Unit, description: &'static str) -> Metric {
    Metric { name, unit, description }
}

/// Counter.
pub const ASKS: Metric = metric(
    "hubbub_worker_asks_total",
    Unit::Count,
    "asks answered, by outcome: ok, synced, erased, trimmed, the code of the refusal, unavailable, or moved: to be asked of the partition's next holder",
);
/// Counter.
pub const ENTRIES: Metric =
    metric("hubbub_worker_entries_committed_total", Unit::Count, "entries committed to logs");
/// Histogram.
pub const COMMIT_SECONDS: Metric = metric(
    "hubbub_worker_commit_seconds",
    Unit::Seconds,
    "from the start of a batch's append to the fence read that let its answers go",
);
/// Histogram.
pub const BATCH_ENTRIES: Metric =
    metric("hubbub_worker_batch_entries", Unit::Count, "entries of one room committed together");
/// Histogram.
pub const TURN_SECONDS: Metric = metric(
    "hubbub_worker_turn_seconds",
    Unit::Seconds,
    "what a partition's loop did at one go, from its wake until it waits again; the rate of the sum is the share of the thread that they take",
);
/// Gauge.
pub const ROOMS_OPEN: Metric = metric("hubbub_worker_rooms_open", Unit::Count, "rooms in memory");
/// Gauge.
pub const ROOMS_BYTES: Metric =
    metric("hubbub_worker_rooms_bytes", Unit::Bytes, "about how much memory the rooms in memory take");
/// Gauge.
pub const ASKS_HELD: Metric =
    metric("hubbub_worker_asks_held", Unit::Count, "asks taken and not answered yet, the inbox included");
/// Counter.
pub const FENCED: Metric = metric(
    "hubbub_worker_fenced_total",
    Unit::Count,
    "partitions given up because a newer holder had claimed them",
);
/// Counter.
pub const HANDED_OVER: Metric =
    metric("hubbub_worker_handed_over_total", Unit::Count, "partitions handed to another worker in order");
/// Gauge.
pub const PARTITIONS_HELD: Metric =
    metric("hubbub_worker_partitions_held", Unit::Count, "partitions held and served");
/// Gauge.
pub const PARTITIONS: Metric =
    metric("hubbub_worker_partitions", Unit::Count, "partitions that there are, whoever holds them");
/// Counter.
pub const RECOVERIES: Metric = metric(
    "hubbub_worker_recoveries_total",
    Unit::Count,
    "first touches of rooms, by outcome: quiet, in_doubt, fenced, damaged, unavailable",
);
/// Counter.
pub const ERASED: Metric = metric("hubbub_worker_erased_total", Unit::Count, "messages erased for operators");
/// Counter.
pub const TRIMMED: Metric = metric(
    "hubbub_worker_trimmed_total",
    Unit::Count,
    "entries that went because their rooms keep no older ones",
);
/// Counter.
pub const STORE_RETRIES: Metric = metric(
    "hubbub_worker_store_retries_total",
    Unit::Count,
    "operations of the store that failed and are tried again",
);
/// Counter.
pub const PUBLISH_FAILURES: Metric =
    metric("hubbub_worker_publish_failures_total", Unit::Count, "events that the bus did not take");

/// Tells the recorder about the counters, histograms and gauges above.
pub fn describe() {
    for m in
        [ASKS, ENTRIES, ERASED, TRIMMED, FENCED, HANDED_OVER, RECOVERIES, STORE_RETRIES, PUBLISH_FAILURES]
    {
        metrics::describe_counter!(m.name, m.unit, m.description);
    }
    for m in [COMMIT_SECONDS, BATCH_ENTRIES, TURN_SECONDS] {
        metrics::describe_histogram!(m.name, m.unit, m.description);
    }
    for m in [ROOMS_OPEN, ROOMS_BYTES, ASKS_HELD, PARTITIONS_HELD, PARTITIONS] {
        metrics::describe_gauge!(m.name, m.unit, m.description);
    }
    // There from the start: one that is missing is a tier that is missing, and the first of something is a change.
    metrics::gauge!(PARTITIONS_HELD.name).increment(0);
    for m in [FENCED, HANDED_OVER, STORE_RETRIES, PUBLISH_FAILURES] {
        metrics::counter!(m.name).increment(0);
    }
}

/// Handles of what is counted for each batch: a look-up each time would cost as much as the batch.
pub(crate) struct BatchMeters {
    pub(crate) entries: metrics::Counter,
    pub(crate) batch_entries: metrics::Histogram,
    pub(crate) commit_seconds: metrics::Histogram,
    pub(crate) turn_seconds: metrics::Histogram,
    pub(crate) asks_held: metrics::Gauge,
}

impl BatchMeters {
    pub(crate) fn new() -> Self {
        Self {
            entries: metrics::counter!(ENTRIES.name),
            batch_entries: metrics::histogram!(BATCH_ENTRIES.name),
            commit_seconds: metrics::histogram!(COMMIT_SECONDS.name),
            turn_seconds: metrics::histogram!(TURN_SECONDS.name),
            asks_held: metrics::gauge!(ASKS_HELD.name),
        }
    }
}

/// What became of the asks since the last [`flush`](Outcomes::flush).
#[derive(Default)]
pub(crate) struct Outcomes {
    counts: Vec<(&'static str, u64, metrics::Counter)>,
}

impl Outcomes {
    pub(crate) fn count(&mut self, outcome: &'static str) {
        // A handful of different ones: a scan is quicker than a hash.
        match self.counts.iter_mut().find(|(known, ..)| *known == outcome) {
            Some((_, count, _)) => *count += 1,
            None => self.counts.push((outcome, 1, metrics::counter!(ASKS.name, "outcome" => outcome))),
        }
    }

    pub(crate) fn flush(&mut self) {
        for (_, count, counter) in self.counts.iter_mut().filter(|(_, count, _)| *count > 0) {
            counter.increment(std::mem::take(count));
        }
    }
}

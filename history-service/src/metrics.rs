//! What the service counts.

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
pub const READS: Metric = metric(
    "hubbub_history_reads_total",
    Unit::Count,
    "reads by outcome: what was found (replay, members, rooms_of, directory) or why not (damaged: someone must look)",
);
/// Counter.
pub const BLOCKS: Metric = metric(
    "hubbub_history_blocks_total",
    Unit::Count,
    "blocks of logs that replays were made of, by source: cache, shared (a read in flight), store",
);
/// Gauge.
pub const CACHE_BYTES: Metric =
    metric("hubbub_history_cache_bytes", Unit::Bytes, "bytes of log that are kept in memory");
/// Gauge.
pub const IN_FLIGHT: Metric = metric(
    "hubbub_history_reads_in_flight",
    Unit::Count,
    "reads taken and not answered yet, those in line included",
);

/// Tells the recorder about the metrics above.
pub fn describe() {
    for m in [READS, BLOCKS] {
        metrics::describe_counter!(m.name, m.unit, m.description);
    }
    for m in [CACHE_BYTES, IN_FLIGHT] {
        metrics::describe_gauge!(m.name, m.unit, m.description);
    }
    // There from the start: if they are missing, the tier is.
    for m in [CACHE_BYTES, IN_FLIGHT] {
        metrics::gauge!(m.name).increment(0);
    }
}

/// A read that is counted as in flight until this is dropped.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn new() -> Self {
        metrics::gauge!(IN_FLIGHT.name).increment(1);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(IN_FLIGHT.name).decrement(1);
    }
}

/// Counts a read.
pub(crate) fn count(outcome: &'static str) {
    metrics::counter!(READS.name, "outcome" => outcome).increment(1);
}

/// Counts a block.
pub(crate) fn count_block(source: &'static str) {
    metrics::counter!(BLOCKS.name, "source" => source).increment(1);
}

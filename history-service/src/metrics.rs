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

/// Tells the recorder about the metrics above.
pub fn describe() {
    for m in [READS, BLOCKS] {
        metrics::describe_counter!(m.name, m.unit, m.description);
    }
    metrics::describe_gauge!(CACHE_BYTES.name, CACHE_BYTES.unit, CACHE_BYTES.description);
}

/// Counts a read.
pub(crate) fn count(outcome: &'static str) {
    metrics::counter!(READS.name, "outcome" => outcome).increment(1);
}

/// Counts a block.
pub(crate) fn count_block(source: &'static str) {
    metrics::counter!(BLOCKS.name, "source" => source).increment(1);
}

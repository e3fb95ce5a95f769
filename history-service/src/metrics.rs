//! What the service counts.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

pub(crate) const READS: &str = "hubbub_history_reads_total";
pub(crate) const BLOCKS: &str = "hubbub_history_blocks_total";
pub(crate) const CACHE_BYTES: &str = "hubbub_history_cache_bytes";
pub(crate) const IN_FLIGHT: &str = "hubbub_history_reads_in_flight";

/// Describes them to the recorder.
pub(crate) fn describe() {
    describe_counter!(
        READS,
        Unit::Count,
        "reads by outcome: what was found (replay, members, rooms_of, directory) or why not (damaged: someone must look)"
    );
    describe_counter!(
        BLOCKS,
        Unit::Count,
        "blocks of logs that replays were made of, by source: cache, shared (a read in flight), store"
    );
    describe_gauge!(CACHE_BYTES, Unit::Bytes, "bytes of log that are kept in memory");
    describe_gauge!(IN_FLIGHT, Unit::Count, "reads taken and not answered yet, those in line included");
    // There from the start: if they are missing, the tier is.
    for m in [CACHE_BYTES, IN_FLIGHT] {
        gauge!(m).increment(0);
    }
}

/// A read that is counted as in flight until this is dropped.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn new() -> Self {
        gauge!(IN_FLIGHT).increment(1);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1);
    }
}

/// Counts a read.
pub(crate) fn count(outcome: &'static str) {
    counter!(READS, "outcome" => outcome).increment(1);
}

/// Counts a block.
pub(crate) fn count_block(source: &'static str) {
    counter!(BLOCKS, "source" => source).increment(1);
}

//! What the worker counts: once a batch, not once an ask.

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

pub(crate) const ASKS: &str = "hubbub_worker_asks_total";
pub(crate) const ENTRIES: &str = "hubbub_worker_entries_committed_total";
pub(crate) const COMMIT_SECONDS: &str = "hubbub_worker_commit_seconds";
pub(crate) const BATCH_ENTRIES: &str = "hubbub_worker_batch_entries";
pub(crate) const TURN_SECONDS: &str = "hubbub_worker_turn_seconds";
pub(crate) const ROOMS_OPEN: &str = "hubbub_worker_rooms_open";
pub(crate) const ROOMS_BYTES: &str = "hubbub_worker_rooms_bytes";
pub(crate) const ASKS_HELD: &str = "hubbub_worker_asks_held";
pub(crate) const FENCED: &str = "hubbub_worker_fenced_total";
pub(crate) const HANDED_OVER: &str = "hubbub_worker_handed_over_total";
pub(crate) const PARTITIONS_HELD: &str = "hubbub_worker_partitions_held";
pub(crate) const PARTITIONS: &str = "hubbub_worker_partitions";
pub(crate) const RECOVERIES: &str = "hubbub_worker_recoveries_total";
pub(crate) const ERASED: &str = "hubbub_worker_erased_total";
pub(crate) const TRIMMED: &str = "hubbub_worker_trimmed_total";
pub(crate) const STORE_RETRIES: &str = "hubbub_worker_store_retries_total";
pub(crate) const PUBLISH_FAILURES: &str = "hubbub_worker_publish_failures_total";

/// Describes them to the recorder.
pub(crate) fn describe() {
    describe_counter!(
        ASKS,
        Unit::Count,
        "asks answered, by outcome: ok, synced, erased, trimmed, the code of the refusal, unavailable, or moved: to be asked of the partition's next holder"
    );
    describe_counter!(ENTRIES, Unit::Count, "entries committed to logs");
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "from the start of a batch's append to the fence read that let its answers go"
    );
    describe_histogram!(BATCH_ENTRIES, Unit::Count, "entries of one room committed together");
    describe_histogram!(
        TURN_SECONDS,
        Unit::Seconds,
        "what a partition's loop did at one go, from its wake until it waits again; the rate of the sum is the share of the thread that they take"
    );
    describe_gauge!(ROOMS_OPEN, Unit::Count, "rooms in memory");
    describe_gauge!(ROOMS_BYTES, Unit::Bytes, "about how much memory the rooms in memory take");
    describe_gauge!(ASKS_HELD, Unit::Count, "asks taken and not answered yet, the inbox included");
    describe_counter!(FENCED, Unit::Count, "partitions given up because a newer holder had claimed them");
    describe_counter!(HANDED_OVER, Unit::Count, "partitions handed to another worker in order");
    describe_gauge!(PARTITIONS_HELD, Unit::Count, "partitions held and served");
    describe_gauge!(PARTITIONS, Unit::Count, "partitions that there are, whoever holds them");
    describe_counter!(
        RECOVERIES,
        Unit::Count,
        "first touches of rooms, by outcome: quiet, in_doubt, fenced, damaged, unavailable"
    );
    describe_counter!(ERASED, Unit::Count, "messages erased for operators");
    describe_counter!(TRIMMED, Unit::Count, "entries that went because their rooms keep no older ones");
    describe_counter!(STORE_RETRIES, Unit::Count, "operations of the store that failed and are tried again");
    describe_counter!(PUBLISH_FAILURES, Unit::Count, "events that the bus did not take");
    // There from the start: one that is missing is a tier that is missing, and the first of something is a change.
    gauge!(PARTITIONS_HELD).increment(0);
    for m in [FENCED, HANDED_OVER, STORE_RETRIES, PUBLISH_FAILURES] {
        counter!(m).increment(0);
    }
}

/// Handles of what is counted for each batch: a look-up each time would cost as much as the batch.
pub(crate) struct BatchMeters {
    pub(crate) entries: Counter,
    pub(crate) batch_entries: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) turn_seconds: Histogram,
    pub(crate) asks_held: Gauge,
}

impl BatchMeters {
    pub(crate) fn new() -> Self {
        Self {
            entries: counter!(ENTRIES),
            batch_entries: histogram!(BATCH_ENTRIES),
            commit_seconds: histogram!(COMMIT_SECONDS),
            turn_seconds: histogram!(TURN_SECONDS),
            asks_held: gauge!(ASKS_HELD),
        }
    }
}

/// What became of the asks since the last [`flush`](Outcomes::flush).
#[derive(Default)]
pub(crate) struct Outcomes {
    counts: Vec<(&'static str, u64, Counter)>,
}

impl Outcomes {
    pub(crate) fn count(&mut self, outcome: &'static str) {
        // A handful of different ones: a scan is quicker than a hash.
        match self.counts.iter_mut().find(|(known, ..)| *known == outcome) {
            Some((_, count, _)) => *count += 1,
            None => self.counts.push((outcome, 1, counter!(ASKS, "outcome" => outcome))),
        }
    }

    pub(crate) fn flush(&mut self) {
        for (_, count, counter) in self.counts.iter_mut().filter(|(_, count, _)| *count > 0) {
            counter.increment(std::mem::take(count));
        }
    }
}

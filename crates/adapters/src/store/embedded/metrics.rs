//! What the embedded store counts: once a commit, not once a write.

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

use hubbub_core::ports::store::StoreError;

/// How long a commit took, its sync included.
pub const COMMIT_SECONDS: &str = "hubbub_store_commit_seconds";
/// Writes that one commit made durable.
pub const COMMIT_WRITES: &str = "hubbub_store_commit_writes";
/// Entries that were made durable.
pub const ENTRIES_TOTAL: &str = "hubbub_store_entries_total";
/// Bytes of the writes that wait for their commit or are in it.
pub const QUEUE_BYTES: &str = "hubbub_store_queue_bytes";
/// Writes that were refused because the queue was full.
pub const QUEUE_FULL_TOTAL: &str = "hubbub_store_queue_full_total";
/// Reads that were refused because too many waited.
pub const READS_REFUSED_TOTAL: &str = "hubbub_store_reads_refused_total";
/// Commits that failed.
pub const COMMIT_ERRORS_TOTAL: &str = "hubbub_store_commit_errors_total";
/// Times that entries could not be taken from the journal into the tables.
pub const FOLD_ERRORS_TOTAL: &str = "hubbub_store_fold_errors_total";
/// Memory of entries that are durable in the journal and not yet in the tables.
pub const UNFOLDED_BYTES: &str = "hubbub_store_unfolded_bytes";
/// Pages of the file that may still hold what was erased.
pub const SCRUB_PAGES: &str = "hubbub_store_scrub_pages";
/// Times that something damaged was found.
pub const DAMAGED_TOTAL: &str = "hubbub_store_damaged_total";

/// Counts an error that is damage, and names what was found.
pub(super) fn note_damage(damaged: &Counter, error: &StoreError) {
    if let StoreError::Damaged { what } = error {
        damaged.increment(1);
        tracing::error!(what, "damaged data in the store");
    }
}

/// The counters, looked up once.
#[derive(Clone)]
pub(super) struct Meters {
    pub(super) commit_seconds: Histogram,
    pub(super) commit_writes: Histogram,
    pub(super) entries: Counter,
    pub(super) queue_bytes: Gauge,
    pub(super) queue_full: Counter,
    pub(super) reads_refused: Counter,
    pub(super) commit_errors: Counter,
    pub(super) fold_errors: Counter,
    pub(super) unfolded_bytes: Gauge,
    pub(super) scrub_pages: Gauge,
    pub(super) damaged: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "how long a commit took, its sync included");
        describe_histogram!(COMMIT_WRITES, Unit::Count, "writes that one commit made durable");
        describe_counter!(ENTRIES_TOTAL, Unit::Count, "entries that were made durable");
        describe_gauge!(QUEUE_BYTES, Unit::Bytes, "writes that wait for their commit or are in it");
        describe_counter!(QUEUE_FULL_TOTAL, Unit::Count, "writes refused because the queue was full");
        describe_counter!(READS_REFUSED_TOTAL, Unit::Count, "reads refused because too many waited");
        describe_counter!(COMMIT_ERRORS_TOTAL, Unit::Count, "commits that failed");
        describe_counter!(DAMAGED_TOTAL, Unit::Count, "times that something damaged was found");
        describe_counter!(FOLD_ERRORS_TOTAL, Unit::Count, "times that entries could not leave the journal");
        describe_gauge!(SCRUB_PAGES, Unit::Count, "pages of the file that may still hold what was erased");
        describe_gauge!(
            UNFOLDED_BYTES,
            Unit::Bytes,
            "entries that are in the journal and not yet in the tables"
        );
        Self {
            commit_seconds: histogram!(COMMIT_SECONDS),
            commit_writes: histogram!(COMMIT_WRITES),
            entries: counter!(ENTRIES_TOTAL),
            queue_bytes: gauge!(QUEUE_BYTES),
            queue_full: counter!(QUEUE_FULL_TOTAL),
            reads_refused: counter!(READS_REFUSED_TOTAL),
            commit_errors: counter!(COMMIT_ERRORS_TOTAL),
            fold_errors: counter!(FOLD_ERRORS_TOTAL),
            unfolded_bytes: gauge!(UNFOLDED_BYTES),
            scrub_pages: gauge!(SCRUB_PAGES),
            damaged: counter!(DAMAGED_TOTAL),
        }
    }
}

//! The store inside the process: logs, projections and accounts in one SQLite file.
//!
//! - One process: a lock on the data folder, held until the process ends; and each commit looks whether another one began.
//! - One writer thread: it takes all that waits, does it in one transaction, syncs once, and answers all. No commit
//!   starts within [`Options::commit_pace`] of the start of the last one; a write that comes alone commits at once.
//! - Writes are carried out in the order in which the calls were made. The work begins with the call, not with the
//!   first poll of the future.
//! - A commit writes its entries as one record of a journal. They are also kept in memory until they are folded: made rows,
//!   each with a run of entries of one room, in slices beside later commits. A store that is opened folds what it finds first.
//! - The write-ahead log is brought into the file beside the commits, by a thread of its own.
//! - Reads run on a few threads with connections of their own, and see all that was committed before.
//! - A commit that fails answers `Unavailable` to all that was in it. What was in it is never half there. Whether
//!   it is there after the next start is unknown when the *sync* failed; in this process it is not seen.
//! - A store that another process has begun on, or whose files have gone, writes nothing any more ([`EmbeddedStore::is_lost`]).
//! - A sync of the *file* that fails, at a checkpoint, refuses all writes until the store is opened again.
//!
//! What is on disk is described in `docs/store-format.md`.

mod accounts;
mod bans;
mod checkpoint;
mod facts;
mod failure;
mod fold;
mod folder;
mod journal;
mod lists;
mod log;
mod lull;
pub mod metrics;
mod open;
mod ours;
mod page;
mod place;
mod port;
mod project;
mod queue;
mod readers;
mod recent;
mod retention;
mod revocations;
mod row_sum;
mod rows;
mod schema;
mod scrub;
mod shared;
#[cfg(test)]
mod tests;
mod write;
mod write_ahead;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hubbub_core::ids::LogId;
use hubbub_core::ports::store::StoreError;

use checkpoint::Checkpoints;
use folder::Folder;
pub use lull::Lull;
use metrics::Meters;
pub use open::OpenError;
use ours::Ours;
use queue::Queue;
use readers::Readers;
use shared::Shared;
use writer::Writer;

/// Whether there is a store in this folder.
pub fn is_there(dir: &Path) -> bool {
    // One of no bytes is what a copy that failed leaves.
    folder::data_file(dir).metadata().is_ok_and(|file| file.len() > 0)
}

/// A secret of a store that another process has open. Only such a one is read beside its process: one that nobody has open may
/// have to be mended first, and that is [`EmbeddedStore::open`]'s.
///
/// # Errors
/// As of a read.
pub fn secret_of_running(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    accounts::secret(&open::connect_reader(&folder::data_file(dir))?, name)
}

/// How a store works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The least time from the start of one commit to the start of the next.
    pub commit_pace: Duration,
    /// Bytes of writes that may wait or be in a commit; above it, writes are refused as `Unavailable`.
    pub queue_bytes_max: usize,
    /// How long entries gather in the journal, and in memory, before they become rows of their own.
    pub fold_after: Duration,
    /// Pages of 8 KiB in the write-ahead log from which on it is brought into the file; the log is mostly no longer than twice that.
    pub log_pages: u32,
    /// How many threads read.
    pub readers: usize,
    /// Says when the store will next do something.
    pub lull: Arc<Lull>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_pace: Duration::from_millis(3),
            queue_bytes_max: 64 * 1_024 * 1_024,
            fold_after: Duration::from_secs(10),
            log_pages: 2_000,
            readers: 2,
            lull: Arc::default(),
        }
    }
}

/// A `Store` and an `AccountStore` in a data folder of its own. See the [module](self).
///
/// Dropping it waits for what was asked for before, and closes the folder.
pub struct EmbeddedStore {
    log_id: LogId,
    shared: Arc<Shared>,
    readers: Readers,
    writer: Option<JoinHandle<()>>,
    meters: Meters,
    ours: Ours,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, which is made if it is not there.
    ///
    /// Blocks for as long as the disk does; call it before anything is served.
    ///
    /// # Errors
    /// [`OpenError`], each of one line that says what to do something about.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let folder = Arc::new(Folder::take(dir)?);
        let file = folder.data_file.clone();
        let mut opened = open::open(dir, &file)?;
        let failed = |error: StoreError| OpenError::Failed { file: file.clone(), inside: error.to_string() };
        let meters = Meters::new();
        let readers = Readers::start(&file, options.readers, meters.clone()).map_err(failed)?;
        let shared = Arc::new(Shared::new(Queue::new(options.queue_bytes_max), opened.fences));
        let ours = Ours::new(folder, opened.start, shared.clone())
            .map_err(|error| OpenError::Failed { file: file.clone(), inside: error.to_string() })?;
        let checkpoints = Checkpoints::start(&file, &mut opened.db, options.log_pages, shared.clone());
        let writer = Writer {
            checkpoints: checkpoints.map_err(failed)?,
            db: opened.db,
            shared: shared.clone(),
            ours: ours.clone(),
            pace: options.commit_pace,
            lull: options.lull,
            places: place::Places::default(),
            fold: fold::Fold::new(options.fold_after),
            journal: journal::Journal::new(opened.last_record),
            has_erased: opened.scrub_due.is_some(),
            scrub: scrub::Scrub::new(
                opened.scrub_due.unwrap_or(false),
                opened.last_record,
                file.clone(),
                Instant::now(),
            ),
            meters: meters.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("store-write".into())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Failed { file, inside: error.to_string() })?;
        Ok(Self { log_id: opened.log_id, shared, readers, writer: Some(writer), meters, ours })
    }

    /// Why the data is not this process's any more, if it is not: another process began on it, or its files have gone from the folder.
    /// Nothing is written then, and the process should end: what it would still show may be an earlier state. It is looked for on
    /// disk, by a thread that reads. Cancel safe.
    pub async fn is_lost(&self) -> Option<StoreError> {
        let ours = self.ours.clone();
        // Of a look that fails nothing is known.
        _ = self.readers.run(move |db| ours.check(db)).await;
        self.shared.is_ours().err()
    }
}

/// Gives the log of a store that nobody has open a new id: what readers saw of it before is another log's from now on.
///
/// # Errors
/// As of [`EmbeddedStore::open`].
pub fn renew_log(dir: &Path) -> Result<LogId, OpenError> {
    let folder = Folder::take(dir)?;
    open::renew_log(dir, &folder.data_file)
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.readers.close();
        self.shared.queue.close();
        // Last of the connections: SQLite then brings its write-ahead log into the file.
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writing thread of the store panicked");
        }
    }
}

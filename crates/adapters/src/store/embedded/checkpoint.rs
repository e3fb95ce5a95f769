//! Checkpoints: what was committed goes from SQLite's write-ahead log into the file, beside the commits.
//!
//! SQLite would do it within a commit: at 4,000 messages/s once a second, and each time all who waited for that commit waited for
//! a thousand pages more, some 15 ms. So a thread with a connection of its own does it. Only when all of the log is in the file does
//! the next commit begin the log anew, and commits go on meanwhile: the little that came in between the writer brings in itself.
//!
//! A sync of the file that fails ends all of that, and the writing. The system says once that something did not come to the disk,
//! and then takes it for written; so the next sync may succeed, and the log would begin anew without what only it has: SQLite does
//! not write again what a checkpoint that had a commit beside it wrote without a sync. A start brings in all of the log once more.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ffi};

use super::failure::{failed, unavailable};
use super::open::{BUSY_TIMEOUT, connect_reader};
use super::shared::Shared;

/// Of the pages at which it begins, the writer brings in an eighth itself: their sync is what it costs, and that is a commit's.
const REST: u32 = 8;
/// From so many times those pages on the writer does it all by itself, whoever waits: the disk takes no more than it does.
const LOG_MAX: u32 = 8;

/// When the log is brought into the file, and by whom.
pub(super) struct Checkpoints {
    /// Pages in the log after the last commit, as SQLite says.
    logged: Arc<AtomicU32>,
    /// From so many on it is time.
    usual: u32,
    /// The same, or more after one that failed.
    begin_at: u32,
    /// Whether the thread is at it.
    under_way: bool,
    /// `None` only while this is dropped.
    ask: Option<SyncSender<()>>,
    done: Receiver<Stored<u32>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Checkpoints {
    /// Takes them out of the commits of `db`: from `usual` pages in the log on.
    pub(super) fn start(file: &Path, db: &mut Connection, usual: u32, shared: Arc<Shared>) -> Stored<Self> {
        let logged = Arc::new(AtomicU32::new(0));
        let counted = logged.clone();
        let count = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            counted.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        db.wal_hook(Some(count)).map_err(failed)?;
        // Until it is known that no sync failed.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        let beside = connect_reader(file)?;
        beside.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let (ask, asked) = sync_channel::<()>(1);
        let (tell, done) = sync_channel(1);
        let seen = shared.clone();
        let work = move || {
            while asked.recv().is_ok() {
                if tell.send(bring_in(&beside, &seen)).is_err() {
                    return;
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("store-check".into()).spawn(work).map_err(unavailable)?;
        let thread = Some(thread);
        Ok(Self { logged, usual, begin_at: usual, under_way: false, ask: Some(ask), done, thread, shared })
    }

    /// A commit was made, and whoever waited for it was answered: goes on with what is due.
    pub(super) fn committed(&mut self, db: &Connection) {
        let logged = self.logged();
        if self.under_way {
            let done = match logged < self.usual.saturating_mul(LOG_MAX) {
                true => self.done.try_recv(),
                false => self.done.recv().map_err(|_| TryRecvError::Disconnected),
            };
            let in_the_file = match done {
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => 0,
                Ok(pages) => self.taken(pages, logged),
            };
            self.under_way = false;
            match logged.checked_sub(in_the_file) {
                // All of it, or the log began anew meanwhile.
                None | Some(0) => return,
                Some(rest) if rest <= self.usual / REST => {
                    self.taken(bring_in(db, &self.shared), logged);
                    return;
                }
                Some(_) => {}
            }
        }
        if logged >= self.usual.saturating_mul(LOG_MAX) {
            self.taken(bring_in(db, &self.shared), logged);
        } else if logged >= self.begin_at {
            self.under_way = self.ask.as_ref().is_some_and(|ask| ask.try_send(()).is_ok());
        } else if logged < self.usual {
            // The log began anew.
            self.begin_at = self.usual;
        }
    }

    /// Pages in the log after the last commit.
    pub(super) fn logged(&self) -> u32 {
        self.logged.load(Ordering::Relaxed)
    }

    /// Brings all of the log into the file and cuts it to nothing; false while a reader needs it, or the thread is at it.
    pub(super) fn cut_log(&self, db: &Connection) -> Stored<bool> {
        self.shared.may_write()?;
        // Nobody's commit waits for a reader.
        db.busy_timeout(Duration::ZERO).map_err(failed)?;
        let cut = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        let is_cut = cut.map_err(|error| noted(error, &self.shared))? == 0;
        if is_cut {
            self.logged.store(0, Ordering::Relaxed);
        }
        Ok(is_cut)
    }

    /// How many pages are in the file. When that failed, it is left alone until as much again was written.
    fn taken(&mut self, pages: Stored<u32>, logged: u32) -> u32 {
        pages.unwrap_or_else(|error| {
            tracing::warn!(%error, pages = logged, "the write-ahead log can't be brought into the file yet");
            self.begin_at = logged.saturating_add(self.usual);
            0
        })
    }

    /// There are no more: SQLite brings the rest into the file when it closes `db`, unless a sync failed or the data is another's.
    pub(super) fn end(&mut self, db: &Connection) {
        self.join();
        if self.shared.may_write().is_ok() {
            // What is not brought in is for the next start.
            _ = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }

    fn join(&mut self) {
        self.ask = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the store's checkpoints panicked");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.join();
    }
}

/// Brings in what no reader needs to be in the log, and says how many of its pages are in the file. Waits for nobody.
fn bring_in(db: &Connection, shared: &Shared) -> Stored<u32> {
    shared.may_write()?;
    let pages = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(2));
    // Below zero: somebody else is at it.
    Ok(u32::try_from(pages.map_err(|error| noted(error, shared))?).unwrap_or(0))
}

/// Why a checkpoint failed; a sync that did is the last. Whatever else fails, such as a write when the disk is full, SQLite does again.
fn noted(error: Error, shared: &Shared) -> StoreError {
    match error {
        Error::SqliteFailure(failure, _) if failure.extended_code == ffi::SQLITE_IOERR_FSYNC => {
            shared.sync_failed(&error)
        }
        error => failed(error),
    }
}

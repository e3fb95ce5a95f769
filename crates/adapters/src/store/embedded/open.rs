//! Opening a store: its file, its schema, what it says of itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hubbub_core::ids::{Epoch, LogId, Partition};
use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::facts;
use super::failure::failed;
use super::fold::fold_all;
use super::folder::Folder;
use super::schema::{APPLICATION_ID, CREATE, STEPS, VERSION};
use super::write_ahead::broken_place;

/// Why a store can't be opened: one line for whoever starts the process.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use by another hubbub", dir.display())]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// There is something of that name which is not a folder.
    #[error("the data folder {} is not a folder", dir.display())]
    NotAFolder {
        /// The data folder.
        dir: PathBuf,
    },
    /// It can't be made or written to.
    #[error("the data folder {} can not be written to: {inside}", dir.display())]
    NotWritable {
        /// The data folder.
        dir: PathBuf,
        /// What the system said.
        inside: String,
    },
    /// A later version of hubbub wrote it.
    #[error("{} has version {found} of the store's format; this hubbub knows up to {known}", file.display())]
    Newer {
        /// The data file.
        file: PathBuf,
        /// The version in it.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// It is a database, and not one of ours.
    #[error("{} is not a store of hubbub", file.display())]
    NotAStore {
        /// The data file.
        file: PathBuf,
    },
    /// Stored bytes are not what was written. Restore a backup, or look.
    #[error("{} is damaged: {what}", file.display())]
    Damaged {
        /// The data file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// Anything else: the disk is full, a read failed.
    #[error("{} can not be opened: {inside}", file.display())]
    Failed {
        /// The data file.
        file: PathBuf,
        /// What the system said.
        inside: String,
    },
}

/// What the writer and the store start from.
pub(super) struct Opened {
    pub(super) db: Connection,
    pub(super) log_id: LogId,
    pub(super) fences: HashMap<Partition, Epoch>,
    /// The epoch of this start: above all that were ever claimed.
    pub(super) start: Epoch,
    /// The last record that the journal had.
    pub(super) last_record: i64,
    /// Whether what was erased is still to be taken out of the file; `None` if nothing ever was erased.
    pub(super) scrub_due: Option<bool>,
}

/// Opens the data file for writing, makes it a store if it is new, and counts the start.
pub(super) fn open(dir: &Path, file: &Path) -> Result<Opened, OpenError> {
    let (file_of, inside_of) = (
        || file.to_owned(),
        |error: StoreError| match error {
            StoreError::Damaged { what } => OpenError::Damaged { file: file.to_owned(), what },
            StoreError::Unavailable { inside } => OpenError::Failed { file: file.to_owned(), inside },
        },
    );
    match broken_place(file) {
        Ok(None) => {}
        Ok(Some(what)) => return Err(OpenError::Damaged { file: file_of(), what }),
        Err(error) => return Err(OpenError::Failed { file: file_of(), inside: error.to_string() }),
    }
    let db = connect_writer(file).map_err(inside_of)?;
    let (id, version, tables) = identity(&db).map_err(inside_of)?;
    match (id, version, tables) {
        (0, 0, 0) => {
            create(&db).map_err(inside_of)?;
            let synced = Folder::sync(dir);
            synced.map_err(|error| OpenError::Failed { file: file_of(), inside: error.to_string() })?;
        }
        (APPLICATION_ID, VERSION, _) => {}
        (APPLICATION_ID, found @ 1..VERSION, _) => {
            migrate(&db, &STEPS[found as usize - 1..]).map_err(inside_of)?;
        }
        (APPLICATION_ID, found, _) if found > VERSION => {
            return Err(OpenError::Newer { file: file_of(), found, known: VERSION });
        }
        (APPLICATION_ID, found, _) => {
            return Err(OpenError::Damaged { file: file_of(), what: format!("version {found} never was") });
        }
        _ => return Err(OpenError::NotAStore { file: file_of() }),
    }
    begin(db).map_err(inside_of)
}

/// Opens the data file as [`open`] does, and gives its log a new id.
pub(super) fn renew_log(dir: &Path, file: &Path) -> Result<LogId, OpenError> {
    let opened = open(dir, file)?;
    let log_id = new_log_id();
    facts::put_log_id(&opened.db, log_id)
        .map(|()| log_id)
        .map_err(|error| OpenError::Failed { file: file.to_owned(), inside: error.to_string() })
}

/// A transaction that is to write, from its begin: one that reads first and finds that another process committed meanwhile, as it may once
/// somebody removed the lock, would be refused at once.
fn alone(db: &Connection) -> Stored<Transaction<'_>> {
    Transaction::new_unchecked(db, TransactionBehavior::Immediate).map_err(failed)
}

fn new_log_id() -> LogId {
    LogId(uuid::Uuid::new_v4().as_u128())
}

fn begin(db: Connection) -> Stored<Opened> {
    let begun = alone(&db)?;
    let (log_id, fences) = (facts::log_id(&db)?, facts::fences(&db)?);
    let start = facts::count_start(&db, &fences)?;
    let last_record = fold_all(&db)?;
    begun.commit().map_err(failed)?;
    let scrub_due = facts::scrub(&db)?;
    Ok(Opened { db, log_id, fences, start, last_record, scrub_due })
}

fn connect_writer(file: &Path) -> Stored<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags).map_err(failed)?;
    set_up(&db, WRITER_CACHE_KIB)?;
    // Only a file that is made now takes it.
    db.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
    let wal: String =
        db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if wal != "wal" {
        return Err(StoreError::Unavailable { inside: format!("no write-ahead log, but {wal}") });
    }
    // FULL: each commit is synced before it returns.
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT).map_err(failed)?;
    Ok(db)
}

/// A connection that only reads.
pub(super) fn connect_reader(file: &Path) -> Stored<Connection> {
    // Not opened read-only: a reader may have to be the first to look at a write-ahead log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags).map_err(failed)?;
    set_up(&db, READER_CACHE_KIB)?;
    db.pragma_update(None, "query_only", true).map_err(failed)?;
    // Not even if it is the last to go.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    Ok(db)
}

/// How long SQLite waits for another of our connections.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const WRITER_CACHE_KIB: i64 = 8 * 1_024;
const READER_CACHE_KIB: i64 = 4 * 1_024;
/// A commit of some twenty messages changes one page then, where with 4 KiB it is two (of which SQLite writes each in two calls).
const PAGE_BYTES: i64 = 8 * 1_024;
const WAL_BYTES_KEPT: i64 = 64 * 1_024 * 1_024;
/// For how long a thread that has nothing to do keeps pages.
pub(super) const PAGES_KEPT: Duration = Duration::from_secs(1);

/// Gives back the pages that SQLite keeps; the system has them still. If it does not, they are kept as before.
pub(super) fn give_pages_back(db: &Connection) {
    if let Err(error) = db.execute_batch("PRAGMA shrink_memory") {
        tracing::debug!(%error, "pages could not be given back");
    }
}

fn set_up(db: &Connection, cache_kib: i64) -> Stored<()> {
    db.set_prepared_statement_cache_capacity(64);
    db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let set = || {
        // Else a statement with a bound LIMIT is planned anew each time it is run: twice the work of a short read.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // SQLite's own come in commits, and pass over a sync that failed without a word.
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        // Memory-mapped reads would end the process when the disk fails.
        db.pragma_update(None, "mmap_size", 0)?;
        db.pragma_update(None, "cache_size", -cache_kib)?;
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.pragma_update(None, "cell_size_check", true)?;
        db.pragma_update(None, "trusted_schema", false)
    };
    set().map_err(failed)
}

fn identity(db: &Connection) -> Stored<(i32, i32, i64)> {
    let read = || {
        let id = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((id, version, tables))
    };
    read().map_err(failed)
}

fn create(db: &Connection) -> Stored<()> {
    let log_id = new_log_id();
    // All in one transaction: a store that was half made is none.
    let made = alone(db)?;
    made.execute_batch(CREATE).map_err(failed)?;
    STEPS.iter().try_for_each(|step| made.execute_batch(step)).map_err(failed)?;
    made.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    made.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    facts::put_first_facts(&made, log_id)?;
    made.commit().map_err(failed)
}

/// Makes a store of an earlier version one of ours, or leaves it as it was.
fn migrate(db: &Connection, steps: &[&str]) -> Stored<()> {
    let migrated = alone(db)?;
    steps.iter().try_for_each(|step| migrated.execute_batch(step).map_err(failed))?;
    migrated.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    migrated.commit().map_err(failed)
}

//! After an erasure: taking what was erased out of the file, where SQLite leaves it behind.
//!
//! A row that is shortened, moved to another page or deleted leaves its bytes in parts of pages that nothing uses, in free pages, in
//! the write-ahead log. Once the journal with the former entries is folded and its slots are emptied, all pages are gone through, some in
//! one commit, and their unused parts are zeroed; then the write-ahead log is brought into the file and cut to nothing. The store says in a
//! fact that this is due, so that a start goes on with it.
//!
//! Commits go on meanwhile, and SQLite moves what is in one page to another, unused parts and all, when it splits or joins pages. So
//! a page that a commit writes after its turn has its turn again, and a slice is the first thing in its transaction: whatever is
//! still there lies, when a transaction begins, in a page that is to come.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hubbub_core::ports::store::Stored;
use rusqlite::{Connection, OptionalExtension};

use super::checkpoint::Checkpoints;
use super::facts;
use super::failure::{damaged, failed, unavailable};
use super::journal::Journal;
use super::page::{
    PAGES_MAX, clear_behind, clear_free_list, clear_tree_page, free_list, rests_of_rows, u32_at,
};
use super::write_ahead::Follower;

/// Pages of one slice, and the least time between two: some 25 MiB of the file a second.
const PAGES: u32 = 64;
const PACE: Duration = Duration::from_millis(20);
/// How long to leave it alone after a failure, or while a reader keeps the write-ahead log.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Where SQLite has its locks: the page there is no page.
const LOCKS_AT: u64 = 0x4000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The journal has what was erased, up to this record.
    Folding(i64),
    /// It is folded, and its slots still say it. Up to this one they are emptied.
    Emptying(i64),
    /// This page is next. Of those before it, `again` are to come once more.
    Pages(u32),
    /// The write-ahead log has it.
    Log,
    /// All is done but to say so.
    Over,
}

/// What is still to be taken out of the file.
pub(super) struct Scrub {
    stage: Stage,
    /// What the stage is once the open transaction is committed.
    then: Stage,
    due: Instant,
    /// How many pages are left, about.
    left: u32,
    data_file: PathBuf,
    /// What commits write while pages are gone through.
    follower: Option<Follower>,
    again: BTreeSet<u32>,
    /// What of `again` the open transaction has gone through.
    gone_through: BTreeSet<u32>,
}

impl Scrub {
    /// Of a store that was just opened, whose journal ends with this record.
    pub(super) fn new(due: bool, last_record: i64, data_file: PathBuf, now: Instant) -> Self {
        let stage = if due { Stage::Folding(last_record) } else { Stage::Idle };
        Self {
            stage,
            then: stage,
            due: now,
            left: 0,
            data_file,
            follower: None,
            again: BTreeSet::new(),
            gone_through: BTreeSet::new(),
        }
    }

    /// Something was erased; the journal has records up to this one. Begins anew: it may have been where a page was passed already.
    pub(super) fn is_needed(&mut self, last_record: i64, now: Instant) {
        (self.stage, self.then, self.due) = (Stage::Folding(last_record), Stage::Folding(last_record), now);
    }

    /// When to go on; `None` when nothing is to be done.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (self.stage != Stage::Idle).then_some(self.due)
    }

    /// Whether the journal is waited for.
    pub(super) fn waits_for_fold(&self) -> bool {
        matches!(self.stage, Stage::Folding(_))
    }

    /// Pages that are still to be gone through, about; at least 1 until all is done.
    pub(super) fn left(&self) -> u32 {
        match self.stage {
            Stage::Idle => 0,
            _ => self.left.max(1),
        }
    }

    /// Whether there is something to do now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.stage != Stage::Idle && now >= self.due
    }

    /// Does a slice, which is due, before anything else in the open transaction.
    pub(super) fn slice(&mut self, db: &Connection, journal: &Journal) -> Stored<()> {
        self.then = match self.stage {
            Stage::Folding(record) if facts::folded(db)? < record => self.stage,
            Stage::Folding(_) => Stage::Emptying(0),
            Stage::Emptying(done) => journal.forget(db, done)?.map_or(Stage::Pages(1), Stage::Emptying),
            Stage::Pages(next) => self.pages(db, next)?,
            Stage::Over => {
                facts::put_scrub(db, false)?;
                Stage::Idle
            }
            stage @ (Stage::Idle | Stage::Log) => stage,
        };
        Ok(())
    }

    /// The transaction was committed.
    pub(super) fn committed(&mut self, db: &Connection, checkpoints: &Checkpoints, now: Instant) {
        let is_due = self.is_due(now);
        if is_due {
            self.due = now + PACE;
        }
        self.stage = self.then;
        self.gone_through.clear();
        match self.stage {
            Stage::Pages(next) => {
                if let Err(error) = self.follow(next, checkpoints.logged()) {
                    tracing::warn!(%error, "what commits write can't be followed: the file is gone through from its begin");
                    (self.stage, self.then) = (Stage::Pages(1), Stage::Pages(1));
                    self.follower = None;
                    self.due = now + RETRY_AFTER;
                }
            }
            Stage::Log if is_due => match checkpoints.cut_log(db) {
                Ok(true) => (self.stage, self.then) = (Stage::Over, Stage::Over),
                Ok(false) => self.due = now + RETRY_AFTER,
                Err(error) => {
                    tracing::warn!(%error, "what was erased can't be taken out of the write-ahead log yet");
                    self.due = now + RETRY_AFTER;
                }
            },
            Stage::Idle | Stage::Folding(_) | Stage::Emptying(_) | Stage::Log | Stage::Over => {}
        }
    }

    /// The slice or the transaction failed: it is done again later.
    pub(super) fn failed(&mut self, now: Instant) {
        self.then = self.stage;
        self.again.append(&mut self.gone_through);
        self.due = now + RETRY_AFTER;
    }

    /// Notes which pages before `next` were written.
    fn follow(&mut self, next: u32, logged: u32) -> std::io::Result<()> {
        match &mut self.follower {
            Some(follower) if next > 1 => {
                let written = follower.written_up_to(logged)?;
                self.again.extend(written.into_iter().filter(|page| *page < next));
            }
            _ => {
                self.again.clear();
                self.follower = Some(Follower::new(&self.data_file, logged)?);
            }
        }
        Ok(())
    }

    fn pages(&mut self, db: &Connection, next: u32) -> Stored<Stage> {
        let count: u32 = db.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(failed)?;
        if count >= PAGES_MAX {
            return Err(unavailable("the file is too large to be cleared of what was erased"));
        }
        let end = next.saturating_add(PAGES).min(count + 1);
        self.left = count + 1 - next.min(count + 1);
        self.gone_through = std::mem::take(&mut self.again);
        let free =
            FreePages::among(db, |page| (next..end).contains(page) || self.gone_through.contains(page))?;
        for number in self.gone_through.iter().copied().chain(next..end) {
            clear(db, number, &free)?;
        }
        Ok(if end > count { Stage::Log } else { Stage::Pages(end) })
    }
}

/// The pages that make up the list of free pages, and of those that it names the ones that are asked for: there may be millions.
struct FreePages {
    lists: HashSet<u32>,
    free: HashSet<u32>,
}

impl FreePages {
    fn among(db: &Connection, asked: impl Fn(&u32) -> bool) -> Stored<Self> {
        let (mut lists, mut free) = (HashSet::new(), HashSet::new());
        let first = read(db, 1)?.ok_or_else(|| damaged("the file has no first page"))?;
        let mut next = u32_at(&first, 32).unwrap_or(0);
        while next != 0 && lists.insert(next) {
            let page = read(db, next)?.ok_or_else(|| damaged("the list of free pages names none"))?;
            let (following, leaves) = free_list(&page).ok_or_else(|| damaged("the list of free pages"))?;
            free.extend(leaves.into_iter().filter(&asked));
            next = following;
        }
        Ok(Self { lists, free })
    }
}

/// Zeroes what is unused in a page, and in the rests of the rows that begin there.
fn clear(db: &Connection, number: u32, pages: &FreePages) -> Stored<()> {
    let Some(mut page) = read(db, number)? else { return Ok(()) };
    let changed = if pages.free.contains(&number) {
        let changed = page.iter().any(|byte| *byte != 0);
        page.fill(0);
        changed
    } else if pages.lists.contains(&number) {
        clear_free_list(&mut page)
    } else {
        clear_rests(db, &page, number)?;
        // What is left are the rests of rows, which are used but for the end of the last.
        clear_tree_page(&mut page, number).unwrap_or(false)
    };
    if changed {
        write(db, number, &page)?;
    }
    Ok(())
}
/// Zeroes what is behind the last byte of each long row that begins in this page.
fn clear_rests(db: &Connection, page: &[u8], number: u32) -> Stored<()> {
    for (first, mut bytes) in rests_of_rows(page, number) {
        let mut at = first;
        while let Some(mut page) = read(db, at)? {
            let held = page.len() - 4;
            if bytes <= held {
                // Else it is not what it was taken for: the last page of a row's rest names none.
                if u32_at(&page, 0) == Some(0) && clear_behind(&mut page, bytes) {
                    write(db, at, &page)?;
                }
                break;
            }
            bytes -= held;
            at = u32_at(&page, 0).unwrap_or(0);
        }
    }
    Ok(())
}

fn read(db: &Connection, number: u32) -> Stored<Option<Vec<u8>>> {
    db.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?")
        .and_then(|mut select| select.query_row([number], |row| row.get::<_, Vec<u8>>(0)).optional())
        .map(|page| page.filter(|page| u64::from(number - 1) * page.len() as u64 != LOCKS_AT))
        .map_err(failed)
}

fn write(db: &Connection, number: u32, page: &[u8]) -> Stored<()> {
    db.prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")
        .and_then(|mut update| update.execute((number, page)))
        .map_err(failed)?;
    Ok(())
}

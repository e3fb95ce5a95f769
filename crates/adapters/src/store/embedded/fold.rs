//! Folding: entries leave the journal and become rows, each with a run of entries of one room.
//!
//! A fold is carried out in slices, each inside the transaction of a commit that is due anyway: it costs no sync of its
//! own, and no commit waits for more than one slice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_core::ports::store::Stored;
use rusqlite::Connection;

use super::facts;
use super::journal;
use super::place::{Place, Places};
use super::recent::{Encoded, Generation, Recent};
use super::rows;

/// How long to leave a fold alone that failed.
const RETRY_AFTER: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1_000 });
/// How much may gather before it is folded.
const FOLD_BYTES: usize = 4 * 1_024 * 1_024;
/// How much may be unfolded; it only comes to that when folding fails.
const UNFOLDED_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Entries that a commit folds at least.
const SLICE: usize = 128;
/// Entries that are folded at once when nothing else is to be written.
const SLICE_IDLE: usize = 512;

/// What is being folded, and when to go on.
pub(super) struct Fold {
    /// How long entries gather before they are folded.
    after: Duration,
    /// `None` while there is nothing to fold, or it is not time.
    due: Option<Instant>,
    /// One that failed is left alone until then, whoever waits for it.
    not_before: Option<Instant>,
    plan: Option<Plan>,
    /// Whether to wait for nothing.
    hurried: bool,
}

struct Plan {
    generation: Arc<Generation>,
    rows: Vec<(Place, Vec<Encoded>)>,
    /// How many are in the tables for good.
    done: usize,
    /// How many will be once the open transaction is committed.
    reached: usize,
}

impl Fold {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, due: None, not_before: None, plan: None, hurried: false }
    }

    /// Something came to be folded.
    pub(super) fn is_needed(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.after);
    }

    /// When to fold if nothing else is written before; `None` when there is nothing to fold.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.due
    }

    /// Folds what there is with the next commit, or without one.
    pub(super) fn soon(&mut self, now: Instant) {
        let soonest = self.not_before.map_or(now, |not_before| not_before.max(now));
        self.due = self.due.map(|due| due.min(soonest));
    }

    /// Folds all that there is as soon as it can be.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.not_before = None;
        self.due = self.due.map(|due| due.min(now));
        self.hurried = true;
    }

    /// Whether new entries must be refused because too many wait to be folded.
    pub(super) fn is_full(&self, recent: &Recent) -> bool {
        recent.bytes().1 > UNFOLDED_BYTES_MAX
    }

    /// Whether there is something to fold now.
    pub(super) fn is_due(&self, recent: &Recent, now: Instant) -> bool {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        let waited = self.due.is_some_and(|due| now >= due);
        self.plan.is_some() || waited || recent.bytes().0 >= FOLD_BYTES
    }

    /// Folds a slice inside the open transaction. `written` is how many entries are written beside it.
    pub(super) fn slice(
        &mut self,
        db: &Connection,
        places: &mut Places,
        recent: &Recent,
        written: usize,
    ) -> Stored<()> {
        let plan = match &mut self.plan {
            Some(plan) => plan,
            None => self.plan.insert(Plan::of(recent.fold(), db, places)?),
        };
        let entries = match written {
            _ if self.hurried => usize::MAX,
            0 => SLICE_IDLE,
            // Twice as fast as they come, so that it ends.
            written => SLICE.max(2 * written),
        };
        plan.put(db, places, entries)
    }

    /// The transaction was committed; says which record is the last that is folded, if some now are.
    pub(super) fn committed(&mut self, recent: &Recent, now: Instant) -> Option<i64> {
        let plan = self.plan.as_mut()?;
        self.not_before = None;
        plan.done = plan.reached;
        if plan.done < plan.rows.len() {
            self.due = Some(now);
            return None;
        }
        let last = plan.generation.last_record;
        self.plan = None;
        recent.folded();
        let wait = if self.hurried { Duration::ZERO } else { self.after };
        self.due = (recent.bytes().0 > 0).then_some(now + wait);
        Some(last)
    }

    /// The slice or the transaction failed. What was done is done again later: the same rows, the same bytes.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.plan.take().is_some() || self.due.is_some() {
            self.not_before = Some(now + RETRY_AFTER);
            self.due = self.not_before;
        }
    }
}

impl Plan {
    fn of(generation: Arc<Generation>, db: &Connection, places: &mut Places) -> Stored<Self> {
        let mut rows = Vec::new();
        for (room, epoch, entries) in generation.logs() {
            let place = places.get_or_make(db, room, epoch)?;
            rows.extend(rows::runs(&entries).map(|run| (place, run.to_vec())));
        }
        // By their ids; those of a place are in order.
        rows.sort_by_key(|(place, _)| *place);
        Ok(Self { generation, rows, done: 0, reached: 0 })
    }

    /// Writes rows until they have `count` entries, or all.
    fn put(&mut self, db: &Connection, places: &mut Places, count: usize) -> Stored<()> {
        let mut written = 0;
        self.reached = self.done;
        for (place, entries) in &self.rows[self.done..] {
            if written >= count {
                break;
            }
            places.put(db, *place, entries)?;
            written += entries.len();
            self.reached += 1;
        }
        if self.reached == self.rows.len() {
            facts::put_folded(db, self.generation.last_record)?;
        }
        Ok(())
    }
}

/// Folds the whole journal that an earlier process left, and clears it; returns the number of its last record.
pub(super) fn fold_all(db: &Connection) -> Stored<i64> {
    let folded = facts::folded(db)?;
    let mut left = Generation::default();
    left.last_record = journal::replay(db, folded, |new| left.add(new))?;
    let last = left.last_record;
    if last > folded {
        let mut places = Places::default();
        Plan::of(Arc::new(left), db, &mut places)?.put(db, &mut places, usize::MAX)?;
    }
    journal::clear(db)?;
    Ok(last)
}

//! The one thread that writes: takes all that waits, one transaction, one sync, then all the answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_core::ids::{Epoch, Partition};
use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::Connection;

use super::accounts;
use super::bans;
use super::checkpoint::Checkpoints;
use super::facts;
use super::failure::{failed, unavailable};
use super::fold::Fold;
use super::journal::{self, Journal};
use super::log;
use super::lull::Lull;
use super::metrics::{Meters, note_damage};
use super::open::{PAGES_KEPT, give_pages_back};
use super::ours::Ours;
use super::place::{Places, check_seq};
use super::project;
use super::queue::Taken;
use super::retention;
use super::revocations;
use super::scrub::Scrub;
use super::shared::Shared;
use super::write::{Held, NewEntries, Write};

/// Appends from this size on become rows at once: writing them twice costs more than a page each.
const JOURNALED_BYTES_MAX: usize = 32 * 1_024;

/// What the thread owns.
pub(super) struct Writer {
    /// Before the connection, which is to be the last one: SQLite then brings its write-ahead log into the file.
    pub(super) checkpoints: Checkpoints,
    pub(super) db: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) ours: Ours,
    pub(super) pace: Duration,
    pub(super) lull: Arc<Lull>,
    pub(super) places: Places,
    pub(super) fold: Fold,
    pub(super) journal: Journal,
    /// Whether something was ever erased: an append that is repeated could bring it back.
    pub(super) has_erased: bool,
    pub(super) scrub: Scrub,
    pub(super) meters: Meters,
}

/// Lets nobody wait for a thread that is gone, even if it panicked.
struct Abandon(Arc<Shared>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

/// What one transaction is to do and to answer.
struct Batch {
    started: Instant,
    held: Vec<Held>,
    /// Entries for the journal.
    appends: Vec<NewEntries>,
    /// What is left of erased ones.
    erased: Vec<NewEntries>,
    /// How many entries in all.
    entries: usize,
    /// Whether it showed that the store can be written to.
    probed: bool,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let _abandon = Abandon(self.shared.clone());
        let mut not_before = Instant::now();
        let mut keeps_pages = true;
        loop {
            let chores = self.fold.wake_at().into_iter().chain(self.scrub.wake_at());
            let chore_at = chores.min().map(|at| at.max(not_before));
            let idle_at = keeps_pages.then(|| not_before + PAGES_KEPT);
            let taken = self.shared.queue.take(not_before, chore_at.or(idle_at));
            let is_idle = chore_at.is_none() && matches!(taken, Taken::Nothing);
            let started = Instant::now();
            if !is_idle {
                not_before = started + self.pace;
            }
            match taken {
                Taken::All(writes) => self.commit(writes, started),
                Taken::Nothing if is_idle => give_pages_back(&self.db),
                Taken::Nothing => self.commit(Vec::new(), started),
                Taken::Closed => return self.finish(started),
            }
            keeps_pages = !is_idle;
        }
    }

    /// Leaves nothing in the journal, if the disk lets it.
    fn finish(&mut self, now: Instant) {
        self.fold.hurry(now);
        while self.fold.wake_at().is_some_and(|at| at <= now) {
            self.commit(Vec::new(), now);
        }
        if self.journal.is_folded() && self.shared.may_write().is_ok() {
            let cleared = self.clear_journal();
            cleared.unwrap_or_else(|error| tracing::warn!(%error, "the folded journal can't be cleared"));
        }
        // Nor is the write-ahead log brought into a file that is another's.
        _ = self.ours.check(&self.db);
        self.checkpoints.end(&self.db);
    }

    /// Removes all of the journal, unless it is another process's by now: then it may have what only that one knows.
    fn clear_journal(&self) -> Stored<()> {
        self.execute("BEGIN IMMEDIATE")?;
        let cleared = self.ours.check(&self.db).and_then(|()| journal::clear(&self.db));
        self.execute(if cleared.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        cleared
    }

    fn commit(&mut self, writes: Vec<Write>, started: Instant) {
        self.shared.commit_begins(started);
        let (count, bytes) = (writes.len(), writes.iter().map(Write::bytes).sum());
        let mut batch = Batch {
            started,
            held: Vec::with_capacity(count),
            appends: Vec::with_capacity(count),
            erased: Vec::new(),
            entries: 0,
            probed: false,
        };
        let committed = self.transact(writes, &mut batch);
        self.note(&committed, &batch, count);
        if committed.is_ok() {
            self.is_durable(&mut batch);
        }
        // Before the answers: who has one finds room for what is next.
        self.meters.queue_bytes.set(self.shared.queue.release(bytes) as f64);
        for answer in batch.held {
            answer.answer(&committed);
        }
        // Now, or a loop could rest with the answers before it.
        self.lull.begin(count, batch.entries, started + self.pace);
        if committed.is_ok() {
            self.checkpoints.committed(&self.db);
        }
        // Not before: that syncs as well.
        self.shared.commit_ends();
    }

    /// Shows readers what was committed, before anybody is told.
    fn is_durable(&mut self, batch: &mut Batch) {
        if self.journal.committed() {
            self.shared.recent.add(self.journal.last(), batch.appends.drain(..));
            self.fold.is_needed(batch.started);
        }
        if !batch.erased.is_empty() {
            self.scrub.is_needed(self.journal.last(), batch.started);
        }
        for erased in batch.erased.drain(..) {
            self.shared.recent.erase(&erased);
        }
        if let Some(folded) = self.fold.committed(&self.shared.recent, batch.started) {
            self.journal.folded(folded);
            // Not after a slice of it: the next may be the one that fails.
            self.shared.set_unfoldable(None);
        }
        for answer in &batch.held {
            if let Held::Claimed(partition, _, Ok(epoch)) = answer {
                self.shared.fence_is(*partition, *epoch);
            }
        }
        self.scrub.committed(&self.db, &self.checkpoints, batch.started);
        if self.scrub.waits_for_fold() {
            self.fold.soon(batch.started);
        }
        self.meters.scrub_pages.set(f64::from(self.scrub.left()));
        self.meters.unfolded_bytes.set(self.shared.recent.bytes().1 as f64);
    }

    fn note(&self, committed: &Stored<()>, batch: &Batch, count: usize) {
        match committed {
            Ok(()) => {
                self.meters.commit_seconds.record(batch.started.elapsed());
                self.meters.commit_writes.record(count as f64);
                self.meters.entries.increment(batch.entries as u64);
                // One that happened to fit a full disk shows nothing.
                if batch.probed && self.shared.set_failing(None) {
                    tracing::info!("the store can be written to again");
                }
            }
            Err(error) => {
                self.meters.commit_errors.increment(1);
                if !self.shared.set_failing(Some(error.clone())) {
                    tracing::error!(%error, writes = count, "a commit of the store failed");
                }
            }
        }
    }

    /// Does all in one transaction, and says whether it is durable.
    fn transact(&mut self, writes: Vec<Write>, batch: &mut Batch) -> Stored<()> {
        let mut writes = writes.into_iter();
        let begun = self.shared.may_write().and_then(|()| self.execute("BEGIN IMMEDIATE"));
        let done = begun.and_then(|()| {
            self.ours.check(&self.db)?;
            // Before the others, which move what it has not come to yet.
            self.scrub_a_slice(batch)?;
            for write in writes.by_ref() {
                let held = self.apply(write, batch);
                let failure = held.failure();
                failure.iter().for_each(|error| note_damage(&self.meters.damaged, error));
                batch.held.push(held);
                // SQLite itself ends a transaction that can't go on, for instance when the disk is full.
                if self.db.is_autocommit() {
                    return Err(failure.unwrap_or_else(|| unavailable("the transaction ended")));
                }
            }
            if !batch.appends.is_empty() {
                let put = self.journal.put(&self.db, &batch.appends);
                put.inspect_err(|error| note_damage(&self.meters.damaged, error))?;
            }
            self.fold_a_slice(batch)?;
            self.execute("COMMIT")?;
            // Once more: what went into a file that was taken away meanwhile is not there. What can't be seen is no reason: it is
            // committed, and to take it for a failure would give its record's number to the next.
            _ = self.ours.has_its_files();
            self.shared.is_ours()
        });
        let Err(error) = done else { return Ok(()) };
        if !self.db.is_autocommit() {
            _ = self.execute("ROLLBACK");
        }
        self.places.forget();
        self.journal.failed();
        self.fold.failed(batch.started);
        self.scrub.failed(batch.started);
        // To those who did not cause it, whatever it was is no more than a commit that failed.
        let error = match error {
            StoreError::Damaged { .. } => unavailable(error),
            StoreError::Unavailable { .. } => error,
        };
        writes.for_each(|write| write.refuse(error.clone()));
        Err(error)
    }

    /// Folding that fails takes the commit along, and is tried again later. From then on, until it succeeds, it leaves commits as
    /// they are: not before, for SQLite keeps a copy of each page that is changed by what may be undone alone.
    fn fold_a_slice(&mut self, batch: &Batch) -> Stored<()> {
        if !self.fold.is_due(&self.shared.recent, batch.started) {
            return Ok(());
        }
        let slice = |w: &mut Self| w.fold.slice(&w.db, &mut w.places, &w.shared.recent, batch.entries);
        let failed_before = self.shared.unfoldable().is_some();
        let folded = if failed_before { self.alone(slice) } else { slice(self) };
        let Err(error) = folded else { return Ok(()) };
        self.fold.failed(batch.started);
        self.meters.fold_errors.increment(1);
        if matches!(error, StoreError::Damaged { .. }) {
            // Without a line: it is tried every second.
            self.meters.damaged.increment(1);
        }
        if !self.shared.set_unfoldable(Some(error.clone())) {
            tracing::error!(%error, "entries can not be taken from the journal into the tables");
        }
        match failed_before && !self.db.is_autocommit() {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// A slice that fails by itself leaves the commit as it is, and is tried again later.
    fn scrub_a_slice(&mut self, batch: &Batch) -> Stored<()> {
        if !self.scrub.is_due(batch.started) {
            return Ok(());
        }
        let scrubbed = self.alone(|w| w.scrub.slice(&w.db, &w.journal));
        let Err(error) = scrubbed else { return Ok(()) };
        self.scrub.failed(batch.started);
        tracing::warn!(%error, "what was erased can't be taken out of the file yet");
        match self.db.is_autocommit() {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// Does one write. One that fails by itself is undone and leaves the others as they are.
    fn apply(&mut self, write: Write, batch: &mut Batch) -> Held {
        match write {
            Write::Append(new, reply) => Held::Appended(reply, self.append(new, batch)),
            Write::Segment(room, segment, reply) => {
                Held::Done(reply, self.alone(|w| log::put_segment(&w.db, &room, segment)))
            }
            Write::Erase(erased, reply) => {
                let done = self.alone(|w| w.erase(&erased));
                if done.is_ok() {
                    batch.erased.push(erased);
                }
                Held::Done(reply, done)
            }
            Write::Trim(trim, reply) => {
                let is_recent = self.shared.recent.has_any(&trim);
                if is_recent {
                    self.fold.soon(batch.started);
                }
                let trimmed = match is_recent {
                    // Trimmed now, they would be rows again when they are folded.
                    true => Err(unavailable("what is to be trimmed came just now")),
                    false => self.alone(|w| retention::trim(&w.db, &trim)),
                };
                Held::Trimmed(reply, trimmed)
            }
            Write::Project(projection, reply) => {
                Held::Done(reply, self.alone(|w| project::project(&w.db, &projection)))
            }
            Write::Claim(partition, reply) => {
                Held::Claimed(partition, reply, self.alone(|w| w.claim(partition)))
            }
            Write::Account(account, reply) => {
                Held::Account(reply, self.alone(|w| accounts::insert(&w.db, &account)))
            }
            Write::Secret(name, candidate, reply) => {
                Held::Secret(reply, self.alone(|w| accounts::secret_or(&w.db, name, candidate)))
            }
            Write::Ban(ban, reply) => Held::Done(reply, self.alone(|w| bans::put(&w.db, &ban))),
            Write::LiftBan(user, reply) => Held::Done(reply, self.alone(|w| bans::lift(&w.db, &user))),
            Write::Revocation(revocation, reply) => {
                Held::Done(reply, self.alone(|w| revocations::put(&w.db, revocation)))
            }
            Write::Probe(reply) => {
                let probed = self.alone(|w| facts::probe(&w.db));
                batch.probed |= probed.is_ok();
                Held::Done(reply, probed)
            }
        }
    }

    /// Does something that is undone when it fails.
    fn alone<T, E: From<StoreError>>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.execute("SAVEPOINT alone")?;
        let result = act(self);
        if self.db.is_autocommit() {
            return result;
        }
        if result.is_err() {
            self.places.forget();
            self.execute("ROLLBACK TO alone")?;
        }
        self.execute("RELEASE alone")?;
        result
    }

    fn erase(&mut self, erased: &NewEntries) -> Stored<()> {
        // Before anything is done: what of it stays undone is no harm.
        self.has_erased = true;
        facts::put_scrub(&self.db, true)?;
        let place = self.places.get_or_make(&self.db, &erased.room, erased.epoch)?;
        self.places.put(&self.db, place, &erased.entries)
    }

    /// Puts what is left of erased entries in the place of those that come again.
    fn keep_erased(&mut self, new: &mut NewEntries) -> Stored<()> {
        let place = self.places.get_or_make(&self.db, &new.room, new.epoch)?;
        for (seq, bytes) in &mut new.entries {
            if let Some(erased) = self.places.erased(&self.db, place, *seq)? {
                *bytes = erased;
            }
        }
        Ok(())
    }

    fn append(&mut self, mut new: NewEntries, batch: &mut Batch) -> Stored<()> {
        new.entries.iter().try_for_each(|(seq, _)| check_seq(*seq))?;
        if self.has_erased && !self.places.follow(&new) {
            self.alone(|w| w.keep_erased(&mut new))?;
        }
        let count = new.entries.len();
        let bytes: usize = new.entries.iter().map(|(_, bytes)| bytes.len()).sum();
        if bytes >= JOURNALED_BYTES_MAX {
            self.alone(|w| w.put_rows(&new))?;
        } else if self.fold.is_full(&self.shared.recent) || self.journal.is_full() {
            return Err(self
                .shared
                .unfoldable()
                .unwrap_or_else(|| unavailable("too much is in the journal")));
        } else {
            batch.appends.push(new);
        }
        batch.entries += count;
        Ok(())
    }

    fn put_rows(&mut self, new: &NewEntries) -> Stored<()> {
        let place = self.places.get_or_make(&self.db, &new.room, new.epoch)?;
        self.places.put(&self.db, place, &new.entries)
    }

    fn claim(&mut self, partition: Partition) -> Stored<Epoch> {
        let claimed = facts::fence(&self.db, partition)?;
        let epoch = self.ours.start().max(Epoch(claimed.0 + 1));
        facts::put_fence(&self.db, partition, epoch)?;
        Ok(epoch)
    }

    fn execute(&self, statement: &str) -> Stored<()> {
        self.db.prepare_cached(statement).and_then(|mut s| s.execute([])).map_err(failed)?;
        Ok(())
    }
}

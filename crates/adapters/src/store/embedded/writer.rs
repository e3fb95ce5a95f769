//! The one thread that writes: takes all that waits, one transaction, one sync, then all the answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_core::ids::{Epoch, Partition};
use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::Connection;

use super::accounts;
use super::facts;
use super::failure::failed;
use super::log::{self, Places};
use super::metrics::Meters;
use super::project;
use super::queue::Taken;
use super::shared::Shared;
use super::write::{Held, NewEntries, Write};

/// What the thread owns.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) start: Epoch,
    pub(super) pace: Duration,
    pub(super) places: Places,
    pub(super) meters: Meters,
}

/// Lets nobody wait for a thread that is gone, even if it panicked.
struct Abandon(Arc<Shared>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let _abandon = Abandon(self.shared.clone());
        let mut not_before = Instant::now();
        loop {
            match self.shared.queue.take(not_before, None) {
                Taken::All(writes) => {
                    let started = Instant::now();
                    not_before = started + self.pace;
                    self.commit(writes, started);
                }
                Taken::Nothing => {}
                Taken::Closed => return,
            }
        }
    }

    fn commit(&mut self, writes: Vec<Write>, started: Instant) {
        let (count, bytes) = (writes.len(), writes.iter().map(Write::bytes).sum());
        let entries: usize = writes.iter().map(entries_in).sum();
        let (held, committed) = self.transact(writes);
        self.note(&committed, started, count, entries);
        for answer in &held {
            if let (Held::Claimed(partition, _, Ok(epoch)), Ok(())) = (answer, &committed) {
                self.shared.fence_is(*partition, *epoch);
            }
        }
        for answer in held {
            answer.answer(&committed);
        }
        self.meters.queue_bytes.set(self.shared.queue.release(bytes) as f64);
    }

    fn note(&self, committed: &Stored<()>, started: Instant, count: usize, entries: usize) {
        match committed {
            Ok(()) => {
                self.meters.commit_seconds.record(started.elapsed());
                self.meters.commit_writes.record(count as f64);
                self.meters.entries.increment(entries as u64);
                if self.shared.set_failing(None) {
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

    /// Does all in one transaction; says what to answer to each, and whether the commit is durable.
    fn transact(&mut self, writes: Vec<Write>) -> (Vec<Held>, Stored<()>) {
        let mut held = Vec::with_capacity(writes.len());
        let mut failure = self.execute("BEGIN IMMEDIATE").err();
        for write in writes {
            if let Some(failure) = &failure {
                write.refuse(failure.clone());
                continue;
            }
            held.push(self.apply(write));
            // SQLite itself ends a transaction that can't go on, for instance when the disk is full.
            if self.db.is_autocommit() {
                failure = Some(held.last().and_then(Held::failure).unwrap_or_else(ended));
            }
        }
        let committed = match failure {
            None => self.execute("COMMIT"),
            Some(failure) => Err(failure),
        };
        if committed.is_err() {
            if !self.db.is_autocommit() {
                _ = self.execute("ROLLBACK");
            }
            self.places.forget();
        }
        (held, committed)
    }

    /// Does one write. One that fails by itself is undone and leaves the others as they are.
    fn apply(&mut self, write: Write) -> Held {
        match write {
            Write::Append(new, reply) => Held::Done(reply, self.alone(|w| w.append(&new))),
            Write::Segment(room, segment, reply) => {
                Held::Done(reply, self.alone(|w| log::put_segment(&w.db, &room, segment)))
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
            Write::Probe(reply) => Held::Done(reply, self.alone(|w| facts::probe(&w.db))),
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

    fn append(&mut self, new: &NewEntries) -> Stored<()> {
        let place = self.places.get_or_make(&self.db, &new.room, new.epoch)?;
        new.entries.iter().try_for_each(|(seq, bytes)| log::put_entry(&self.db, place, *seq, bytes))
    }

    fn claim(&mut self, partition: Partition) -> Stored<Epoch> {
        let claimed = facts::fence(&self.db, partition)?;
        let epoch = self.start.max(Epoch(claimed.0 + 1));
        facts::put_fence(&self.db, partition, epoch)?;
        Ok(epoch)
    }

    fn execute(&self, statement: &str) -> Stored<()> {
        self.db.prepare_cached(statement).and_then(|mut s| s.execute([])).map_err(failed)?;
        Ok(())
    }
}

fn entries_in(write: &Write) -> usize {
    match write {
        Write::Append(new, _) => new.entries.len(),
        _ => 0,
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable { inside: "the transaction ended".into() }
}

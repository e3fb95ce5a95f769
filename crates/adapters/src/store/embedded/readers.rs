//! The threads that read: a few, each with a connection of its own, so that no read ever blocks the runtime.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use hubbub_core::ports::PortFuture;
use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::{failed, unavailable};
use super::metrics::Meters;
use super::open::connect_reader;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Reads that may wait for a thread.
const WAITING_MAX: usize = 4_096;

/// The pool of reading threads.
pub(super) struct Readers {
    /// `None` once the pool is closed.
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    meters: Meters,
}

impl Readers {
    pub(super) fn start(file: &Path, count: usize, meters: Meters) -> Stored<Self> {
        let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut threads = Vec::new();
        for n in 0..count.max(1) {
            let (db, waiting) = (connect_reader(file)?, waiting.clone());
            let thread = std::thread::Builder::new()
                .name(format!("store-read-{n}"))
                .spawn(move || work(&db, &waiting))
                .map_err(unavailable)?;
            threads.push(thread);
        }
        Ok(Self { jobs: Some(jobs), threads, meters })
    }

    /// Runs `read` on one of the threads. It begins after this call.
    pub(super) fn run<T, F>(&self, read: F) -> PortFuture<'_, Stored<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Stored<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let damaged = self.meters.damaged.clone();
        let job: Job = Box::new(move |db| {
            // Whoever asked may have gone meanwhile.
            if reply.is_closed() {
                return;
            }
            let result = read(db);
            if let Err(StoreError::Damaged { what }) = &result {
                damaged.increment(1);
                tracing::error!(what, "damaged data in the store");
            }
            _ = reply.send(result);
        });
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        let refused = match sent {
            Some(Ok(())) => None,
            Some(Err(TrySendError::Full(_))) => {
                self.meters.reads_refused.increment(1);
                Some("too many reads wait")
            }
            Some(Err(TrySendError::Disconnected(_))) | None => Some("the store is closed"),
        };
        Box::pin(async move {
            if let Some(refused) = refused {
                return Err(unavailable(refused));
            }
            answer.await.unwrap_or_else(|_| Err(unavailable("the reading thread ended")))
        })
    }

    /// As [`run`](Self::run), and all that is read is of one moment, by however many statements.
    pub(super) fn run_at_one_moment<T, F>(&self, read: F) -> PortFuture<'_, Stored<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Stored<T> + Send + 'static,
    {
        self.run(move |db| {
            let _moment = db.unchecked_transaction().map_err(failed)?;
            read(db)
        })
    }

    /// Ends the threads after the reads that wait.
    pub(super) fn close(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store panicked");
            }
        }
    }
}

fn work(db: &Connection, waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(db),
            Err(_) => return,
        }
    }
}

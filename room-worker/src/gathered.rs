//! What comes from anywhere and is taken by one loop, all that waits at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Things for a loop, in the order in which they came. Not bounded: who puts them here counts them.
pub(crate) struct Gathered<T> {
    waiting: Mutex<Vec<T>>,
    closed: AtomicBool,
    notify: Notify,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), closed: AtomicBool::new(false), notify: Notify::new() }
    }
}

impl<T> Gathered<T> {
    /// Puts a thing at the end, or gives it back: closed.
    pub(crate) fn push(&self, thing: T) -> Result<(), T> {
        let mut waiting = self.lock();
        if self.is_closed() {
            return Err(thing);
        }
        waiting.push(thing);
        // The loop takes all that waits: only the first has to wake it.
        if waiting.len() == 1 {
            drop(waiting);
            self.notify.notify_one();
        }
        Ok(())
    }

    /// Takes all that waits. `into` is empty, and lends its memory.
    pub(crate) fn take_all(&self, into: &mut Vec<T>) {
        std::mem::swap(&mut *self.lock(), into);
    }

    /// Waits until something is there.
    ///
    /// # Cancel safety
    /// Dropped, nothing is missed: the next call returns.
    pub(crate) async fn arrival(&self) {
        self.notify.notified().await;
    }

    /// Takes no more from now on. What waits is still to be taken.
    pub(crate) fn close(&self) {
        // Under the lock: whoever holds it sees either state to its end.
        let _waiting = self.lock();
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // Each change is one call: a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

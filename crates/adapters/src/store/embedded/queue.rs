//! The queue before the writer thread: bounded in bytes, taken whole, at most once a pace.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Places that are made for things before they come.
const NEXT_MAX: usize = 1_024;

/// What the writer thread finds when it comes for work.
pub(super) enum Taken<T> {
    /// All that waited, in the order in which it came.
    All(Vec<T>),
    /// Nothing came until the instant that the writer gave.
    Nothing,
    /// Nothing waits and nothing will come.
    Closed,
}

/// Things with a size, on their way to one taker.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    bytes_max: usize,
}

struct State<T> {
    waiting: Vec<T>,
    /// Of what waits and of what was taken and not yet released.
    bytes: usize,
    /// Whether the taker sleeps until something comes.
    idle: bool,
    closed: bool,
}

/// Why something was not taken into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let state = State { waiting: Vec::new(), bytes: 0, idle: false, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `thing` at the end, or gives it back. One that alone is larger than the bound is taken when nothing else is there.
    pub(super) fn put(&self, thing: T, bytes: usize) -> Result<(), (Refused, T)> {
        let mut state = self.lock();
        if state.closed {
            return Err((Refused::Closed, thing));
        }
        if state.bytes > 0 && state.bytes + bytes > self.bytes_max {
            return Err((Refused::Full, thing));
        }
        state.bytes += bytes;
        state.waiting.push(thing);
        if std::mem::take(&mut state.idle) {
            drop(state);
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes all that waits, but not before `not_before`; with nothing there, waits until `until`, or for ever.
    pub(super) fn take(&self, not_before: Instant, until: Option<Instant>) -> Taken<T> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let wake_at = if now < not_before && !state.closed {
                // Whatever comes is for then, and wakes nobody.
                Some(not_before)
            } else if !state.waiting.is_empty() {
                // The next ones are about as many.
                let next = Vec::with_capacity(state.waiting.len().min(NEXT_MAX));
                return Taken::All(std::mem::replace(&mut state.waiting, next));
            } else if state.closed {
                return Taken::Closed;
            } else if until.is_some_and(|until| now >= until) {
                return Taken::Nothing;
            } else {
                state.idle = true;
                until
            };
            state = match wake_at {
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.idle = false;
        }
    }

    /// Gives room back for things that were taken and are done; returns the bytes that are still there.
    pub(super) fn release(&self, bytes: usize) -> usize {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.bytes
    }

    /// Whether everything is refused.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses what comes from now on, and sends the taker home once all that waits is taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Refuses what comes from now on, and drops what waits: for a taker that ends early.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn all<T>(taken: Taken<T>) -> Vec<T> {
        match taken {
            Taken::All(all) => all,
            Taken::Nothing | Taken::Closed => panic!("nothing was there"),
        }
    }

    #[test]
    fn all_that_waits_is_taken_in_order() {
        let queue = Queue::new(100);
        for n in 0..5 {
            assert_eq!(queue.put(n, 1), Ok(()));
        }
        assert_eq!(all(queue.take(Instant::now(), None)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_bound_counts_what_is_being_written_too() {
        let queue = Queue::new(100);
        assert_eq!(queue.put("large alone", 500), Ok(()));
        assert_eq!(queue.put("more", 1), Err((Refused::Full, "more")));
        all(queue.take(Instant::now(), None));
        assert_eq!(queue.put("more", 1), Err((Refused::Full, "more")));
        assert_eq!(queue.release(500), 0);
        assert_eq!(queue.put("more", 1), Ok(()));
    }

    #[test]
    fn a_pace_is_kept_and_one_that_comes_late_is_not_held() {
        let queue = Queue::new(100);
        let start = Instant::now();
        queue.put(1, 1).unwrap();
        all(queue.take(start + Duration::from_millis(20), None));
        assert!(start.elapsed() >= Duration::from_millis(20));
        queue.put(2, 1).unwrap();
        all(queue.take(start, None));
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::new(100);
        queue.put(1, 1).unwrap();
        queue.close();
        assert_eq!(queue.put(2, 1), Err((Refused::Closed, 2)));
        assert_eq!(all(queue.take(Instant::now() + Duration::from_secs(60), None)), [1]);
        assert!(matches!(queue.take(Instant::now(), None), Taken::Closed));
    }

    #[test]
    fn with_nothing_there_the_taker_wakes_when_it_said() {
        let queue = Queue::<()>::new(100);
        let now = Instant::now();
        assert!(matches!(queue.take(now, Some(now + Duration::from_millis(5))), Taken::Nothing));
    }
}

//! For how long a store that is written to steadily will do nothing: its last commit is answered, the next is not due.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Writes of a commit from which on its store counts as written to steadily.
const STEADY_WRITES: usize = 2;
/// How long before the next commit a lull ends, so that what came meanwhile is in it: for each entry of the last commit, and beside.
const LEAD_EACH: Duration = Duration::from_micros(25);
const LEAD: Duration = Duration::from_micros(100);
/// However slow the pace is, for much else waits for no commit.
const LONGEST: Duration = Duration::from_millis(5);

/// The time between a commit's answers and what is to be in the next one. Whoever asks the store for writes in a loop may rest for as
/// long: what it would read meanwhile waits for that commit in any case, and is read at once.
#[derive(Debug, Default)]
pub struct Lull(Mutex<Option<Instant>>);

impl Lull {
    /// A commit of so many writes and entries is made and answered, and the next will not begin before `next`.
    pub(super) fn begin(&self, writes: usize, entries: usize, next: Instant) {
        let lead = LEAD + LEAD_EACH * u32::try_from(entries.max(writes)).unwrap_or(u32::MAX);
        let end = next.checked_sub(lead).filter(|_| writes >= STEADY_WRITES);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    /// What is left of it, once.
    pub fn take(&self) -> Option<Duration> {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        end.checked_duration_since(Instant::now()).map(|left| left.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_early_enough_for_the_next_commit_and_is_there_once_and_only_under_load() {
        let lull = Lull::default();
        assert_eq!(lull.take(), None);
        let next = || Instant::now() + Duration::from_secs(60);
        lull.begin(STEADY_WRITES - 1, 40, next());
        assert_eq!(lull.take(), None);
        lull.begin(STEADY_WRITES, 0, next());
        assert_eq!((lull.take(), lull.take()), (Some(LONGEST), None));
        lull.begin(STEADY_WRITES, 40, Instant::now() + 40 * LEAD_EACH);
        assert_eq!(lull.take(), None, "they need the time");
        lull.begin(40, 0, Instant::now());
        assert_eq!(lull.take(), None, "it is over");
        lull.begin(40, 0, next());
        lull.begin(1, 0, next());
        assert_eq!(lull.take(), None, "the last commit says");
    }
}

//! Stops asking a service that fails, and tries now and then. Pure: time is an argument, and counts from an origin of the
//! caller's.
//!
//! After so many failures in a row nothing is let through for a pause. Then one call is, and decides: an answer closes the
//! breaker, a failure opens it for another pause. Any answer, a refusal too, shows that the service works.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All may call. So many failures in a row.
    Closed(u32),
    /// Nobody may, until then.
    Open(Duration),
    /// One does.
    Trying,
}

/// What an outcome changed, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
}

/// Lets calls through, or not.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
}

impl Breaker {
    /// Closed. `failures_max` of 0 counts as 1.
    pub fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max: failures_max.max(1), pause, state: State::Closed(0) }
    }

    /// Whether a call may be made now. If so, its outcome must be told.
    pub fn admits(&mut self, now: Duration) -> bool {
        match self.state {
            State::Closed(_) => true,
            State::Open(until) if until <= now => {
                self.state = State::Trying;
                true
            }
            State::Open(_) | State::Trying => false,
        }
    }

    /// A call was answered.
    pub fn answered(&mut self) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, State::Closed(0));
        (!matches!(before, State::Closed(_))).then_some(Change::Closed)
    }

    /// A call was not answered. One that began before the breaker opened changes nothing any more.
    pub fn failed(&mut self, now: Duration) -> Option<Change> {
        match self.state {
            State::Closed(failures) if failures + 1 < self.failures_max => {
                self.state = State::Closed(failures + 1);
                None
            }
            State::Closed(_) | State::Trying => {
                let was_closed = matches!(self.state, State::Closed(_));
                self.state = State::Open(now.saturating_add(self.pause));
                was_closed.then_some(Change::Opened)
            }
            State::Open(_) => None,
        }
    }

    /// A call was not made after all: the next one may try.
    pub fn gave_up(&mut self, now: Duration) {
        if self.state == State::Trying {
            self.state = State::Open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_does_not() {
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..5 {
            assert_eq!(
                (breaker.failed(at(0)), breaker.failed(at(0)), breaker.answered()),
                (None, None, None)
            );
        }
        assert_eq!((breaker.failed(at(0)), breaker.failed(at(0))), (None, None));
        assert!(breaker.admits(at(0)));
        assert_eq!(breaker.failed(at(0)), Some(Change::Opened));
        assert!(!breaker.admits(at(0)) && !breaker.admits(at(4)));
    }

    #[test]
    fn after_the_pause_one_call_decides() {
        let mut breaker = Breaker::new(1, PAUSE);
        assert_eq!(breaker.failed(at(0)), Some(Change::Opened));
        assert!(breaker.admits(at(5)) && !breaker.admits(at(5)) && !breaker.admits(at(100)));
        assert_eq!(breaker.failed(at(10)), None, "it was open already");
        assert!(!breaker.admits(at(14)) && breaker.admits(at(15)));
        assert_eq!(breaker.answered(), Some(Change::Closed));
        assert!(breaker.admits(at(15)) && breaker.admits(at(15)));
    }

    #[test]
    fn late_failures_do_not_lengthen_the_pause() {
        let mut breaker = Breaker::new(1, PAUSE);
        for now in [0, 3, 4] {
            breaker.failed(at(now));
        }
        assert!(breaker.admits(at(5)));
    }

    #[test]
    fn a_call_that_was_not_made_decides_nothing() {
        let mut breaker = Breaker::new(1, PAUSE);
        breaker.gave_up(at(0));
        assert!(breaker.admits(at(0)));
        breaker.failed(at(0));
        breaker.gave_up(at(1));
        assert!(!breaker.admits(at(4)) && breaker.admits(at(5)));
        breaker.gave_up(at(6));
        assert!(breaker.admits(at(6)) && !breaker.admits(at(6)));
    }

    #[test]
    fn a_late_answer_closes_it() {
        let mut breaker = Breaker::new(1, PAUSE);
        breaker.failed(at(0));
        assert_eq!(breaker.answered(), Some(Change::Closed));
        assert!(breaker.admits(at(0)));
    }
}

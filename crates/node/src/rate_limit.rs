//! How often one user may ask: the generic cell rate algorithm, one instant a key.
//!
//! Source: ITU-T I.371, "virtual scheduling". What is kept is the theoretical arrival time; a request conforms if that is
//! no more than the burst's length ahead of now.

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hubbub_core::map::FastMap;

/// Keys above which those are dropped that have no debt any more.
const SWEEP_AT: usize = 10_000;

/// A rate for each key. Memory: one entry for each key that asked within its burst's length.
pub struct RateLimit<K> {
    interval: Duration,
    tolerance: Duration,
    arrivals: Mutex<Arrivals<K>>,
}

struct Arrivals<K> {
    next: FastMap<K, Instant>,
    sweep_at: usize,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// `per_second` in the long run, `burst` at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            tolerance: interval * burst.saturating_sub(1),
            arrivals: Mutex::new(Arrivals { next: FastMap::default(), sweep_at: SWEEP_AT }),
        }
    }

    /// How long to wait, if a request that came now would come too early. Takes none in.
    pub fn early(&self, key: &K, now: Instant) -> Option<Duration> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let early = arrivals.next.get(key)?.checked_duration_since(now + self.tolerance)?;
        (!early.is_zero()).then_some(early)
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// How long to wait, if it comes too early.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.next.len() >= arrivals.sweep_at {
            arrivals.next.retain(|_, next| *next > now);
            arrivals.sweep_at = (arrivals.next.len() * 2).max(SWEEP_AT);
        }
        match arrivals.next.get_mut(key) {
            None => {
                arrivals.next.insert(key.clone(), now + self.interval);
                Ok(())
            }
            Some(next) => match next.checked_duration_since(now + self.tolerance) {
                Some(early) if !early.is_zero() => Err(early),
                _ => {
                    *next = (*next).max(now) + self.interval;
                    Ok(())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let limit = RateLimit::new(10, 5);
        let start = Instant::now();
        let passed = (0..20).filter(|_| limit.check(&"a", start).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!(limit.check(&"a", start), Err(Duration::from_millis(100)));
        assert_eq!(
            (limit.early(&"a", start), limit.early(&"b", start)),
            (Some(Duration::from_millis(100)), None)
        );
        assert!(limit.check(&"b", start).is_ok(), "another key is not concerned");
        let later = start + Duration::from_millis(100);
        assert!(limit.check(&"a", later).is_ok());
        assert!(limit.check(&"a", later).is_err());
    }

    #[test]
    fn keys_without_debt_are_forgotten() {
        let limit = RateLimit::new(1_000, 1);
        let start = Instant::now();
        for n in 0..SWEEP_AT * 3 {
            let now = start + Duration::from_millis(n as u64);
            assert!(limit.check(&n, now).is_ok());
        }
        assert!(limit.arrivals.lock().unwrap().next.len() <= SWEEP_AT + 1);
    }
}

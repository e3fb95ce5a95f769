//! How long to wait before the next attempt to connect.
//!
//! Full jitter: a random part of a ceiling that doubles with each failure, so that many clients of one lost
//! node don't come back together. *Source*: Brooker, "Exponential Backoff and Jitter", AWS, 2015.

use std::time::Duration;

/// Ceiling of the first wait.
const FIRST: Duration = Duration::from_millis(200);
/// Ceiling of the longest wait.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);
/// A connection that lived so long was healthy: the next failure is a first one.
const HEALTHY: Duration = Duration::from_secs(5);

/// Attempts that failed in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    /// Ceiling of the waits of this client.
    longest: Duration,
}

impl Backoff {
    /// No attempt failed yet; no wait of ours is longer than this.
    pub(crate) fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// The wait after a connection was lost, or after an attempt that got none (`lived` zero).
    ///
    /// `random` is from 0 to 1; `at_least` is what the server asked for, on top of which the jitter comes.
    pub(crate) fn on_lost(&mut self, lived: Duration, at_least: Option<Duration>, random: f64) -> Duration {
        if lived >= HEALTHY {
            self.failures = 0;
        }
        let wait = ceiling(self.failures).min(self.longest).mul_f64(random.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        at_least.unwrap_or_default() + wait
    }
}

/// The longest wait after this many failures before it.
pub(crate) fn ceiling(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST)
}

/// From 0 to 1, another one at each call.
pub(crate) fn random() -> f64 {
    // 32 of a UUID's random bits; f64 holds them exactly.
    let bits = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_begin_anew_after_a_healthy_connection() {
        let mut backoff = Backoff::new(LONGEST);
        let mut lost = |lived| backoff.on_lost(lived, None, 1.0).as_millis();
        let waits: Vec<_> = (0..8).map(|_| lost(Duration::ZERO)).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(lost(Duration::from_secs(1)), 10_000);
        assert_eq!(lost(HEALTHY), 200);
        for _ in 0..100 {
            assert!(lost(Duration::ZERO) <= 10_000);
        }
    }

    #[test]
    fn a_client_may_be_less_patient() {
        let mut backoff = Backoff::new(Duration::from_millis(300));
        let waits: Vec<_> = (0..3).map(|_| backoff.on_lost(Duration::ZERO, None, 1.0).as_millis()).collect();
        assert_eq!(waits, [200, 300, 300]);
    }

    #[test]
    fn the_servers_wish_is_kept_and_spread() {
        let asked = Some(Duration::from_secs(3));
        assert_eq!(Backoff::new(LONGEST).on_lost(HEALTHY, asked, 0.0), Duration::from_secs(3));
        assert_eq!(Backoff::new(LONGEST).on_lost(HEALTHY, asked, 1.0), Duration::from_millis(3_200));
        assert_eq!(Backoff::new(LONGEST).on_lost(HEALTHY, None, 0.5), Duration::from_millis(100));
    }

    #[test]
    fn random_is_between_0_and_1_and_not_constant() {
        let some: Vec<f64> = (0..20).map(|_| random()).collect();
        assert!(some.iter().all(|r| (0.0..=1.0).contains(r)), "{some:?}");
        assert!(some.iter().any(|r| *r != some[0]), "{some:?}");
    }
}

//! How often somebody may try: the generic cell rate algorithm, with a refund and a bounded memory. Pure: time is an argument.
//!
//! Of each key one instant is kept, at which its debt is paid off. An attempt adds one interval to the debt, which must not
//! grow beyond a burst of them. A key without debt is the same as a key never seen.
//!
//! When there are too many keys, the one with the least debt is forgotten. So a flood of new keys forgets other keys of the
//! flood, and not the one that is under attack: to push out a key that used up its burst, all others must owe more. For
//! passwords that takes `KEYS_MAX` failures an interval, 333 a second at one in 30 s, kept up; each costs a hash of
//! some 20 ms, so that the bound on hashing gives way first on machines of up to six cores.
//!
//! Source: ITU-T I.371, 1996, annex A, "virtual scheduling algorithm". Refund and forgetting are ours.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Most keys of one budget that are remembered.
pub const KEYS_MAX: usize = 10_000;

/// A burst at once, and then one an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once; 0 counts as 1.
    pub burst: u32,
    /// How long one takes to come back.
    pub interval: Duration,
}

/// What each key has left of the same rate. Times count from an origin of the caller's and never run backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets {
    rate: Rate,
    keys_max: usize,
    paid_off_at: HashMap<u64, Duration>,
    by_debt: BTreeSet<(Duration, u64)>,
}

impl Budgets {
    /// Nobody owes anything; at most `keys_max` will be remembered.
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max, paid_off_at: HashMap::new(), by_debt: BTreeSet::new() }
    }

    /// Takes one attempt in.
    ///
    /// # Errors
    /// How long to wait until one is allowed; nothing was spent.
    pub fn spend(&mut self, key: u64, now: Duration) -> Result<(), Duration> {
        let owes_until = self.paid_off_at.get(&key).map_or(now, |at| now.max(*at));
        let paid_off_at = owes_until.saturating_add(self.rate.interval);
        let most = now.saturating_add(self.rate.interval.saturating_mul(self.rate.burst.max(1)));
        match paid_off_at.checked_sub(most) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.set(key, Some(paid_off_at));
                Ok(())
            }
        }
    }

    /// Gives one attempt back: it turned out not to count.
    pub fn refund(&mut self, key: u64, now: Duration) {
        if let Some(at) = self.paid_off_at.get(&key) {
            let paid_off_at = at.saturating_sub(self.rate.interval);
            self.set(key, (paid_off_at > now).then_some(paid_off_at));
        }
    }

    fn set(&mut self, key: u64, paid_off_at: Option<Duration>) {
        let before = match paid_off_at {
            Some(at) => self.paid_off_at.insert(key, at),
            None => self.paid_off_at.remove(&key),
        };
        if let Some(before) = before {
            self.by_debt.remove(&(before, key));
        }
        if let Some(at) = paid_off_at {
            self.by_debt.insert((at, key));
        }
        while self.paid_off_at.len() > self.keys_max {
            let Some((_, least)) = self.by_debt.pop_first() else { break };
            self.paid_off_at.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1u32..20, 1u64..1_000).prop_map(|(burst, interval)| Rate { burst, interval: ms(interval) })
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_a_burst_and_what_came_back(
            rate in rates(), steps in prop::collection::vec(0u64..300, 1..200),
        ) {
            let mut budgets = Budgets::new(rate, 10);
            let mut now = Duration::ZERO;
            let mut allowed = Vec::new();
            for step in steps {
                now += ms(step);
                match budgets.clone().spend(7, now) {
                    Ok(()) => allowed.push(now),
                    Err(wait) => {
                        // The wait is exact: a moment earlier is too early.
                        prop_assert!(budgets.clone().spend(7, now + wait).is_ok());
                        prop_assert!(budgets.clone().spend(7, now + wait - Duration::from_nanos(1)).is_err());
                    }
                }
                _ = budgets.spend(7, now);
            }
            for (first, from) in allowed.iter().enumerate() {
                for (last, to) in allowed.iter().enumerate().skip(first) {
                    let came_back = (*to - *from).as_millis() / rate.interval.as_millis();
                    prop_assert!((last - first + 1) as u128 <= u128::from(rate.burst) + came_back);
                }
            }
        }

        #[test]
        fn a_refund_undoes_an_attempt(rate in rates(), spent in 0u32..20, step in 0u64..100) {
            let mut budgets = Budgets::new(rate, 10);
            for _ in 0..spent {
                _ = budgets.spend(7, Duration::ZERO);
            }
            let before = budgets.clone();
            let now = ms(step).min(rate.interval - Duration::from_nanos(1));
            if budgets.spend(7, now).is_ok() {
                budgets.refund(7, now);
                let next = |mut of: Budgets| (0..40).filter(|_| of.spend(7, now).is_ok()).count();
                prop_assert_eq!(next(budgets), next(before));
            }
        }

        #[test]
        fn memory_is_bounded_and_both_indexes_agree(
            rate in rates(), steps in prop::collection::vec((0u64..20, 0u64..50, any::<bool>()), 1..300),
        ) {
            let mut budgets = Budgets::new(rate, 5);
            let mut now = Duration::ZERO;
            for (key, step, refund) in steps {
                now += ms(step);
                if refund { budgets.refund(key, now) } else { _ = budgets.spend(key, now) }
                prop_assert!(budgets.paid_off_at.len() <= 5);
                let listed: HashMap<_, _> = budgets.by_debt.iter().map(|(at, key)| (*key, *at)).collect();
                prop_assert_eq!(&listed, &budgets.paid_off_at);
                prop_assert_eq!(listed.len(), budgets.by_debt.len());
            }
        }
    }

    #[test]
    fn a_flood_of_new_keys_does_not_free_the_one_under_attack() {
        let mut budgets = Budgets::new(Rate { burst: 10, interval: 30 * SECOND }, 100);
        for _ in 0..10 {
            assert!(budgets.spend(0, SECOND).is_ok());
        }
        for key in 1..10_000 {
            assert!(budgets.spend(key, 2 * SECOND).is_ok());
        }
        assert_eq!(budgets.spend(0, 2 * SECOND), Err(29 * SECOND));
    }

    #[test]
    fn a_rate_beyond_all_measure_is_no_overflow() {
        let mut budgets = Budgets::new(Rate { burst: u32::MAX, interval: Duration::MAX }, 10);
        assert!(budgets.spend(0, SECOND).is_ok());
        let mut unlimited = Budgets::new(Rate { burst: 0, interval: Duration::ZERO }, 10);
        assert!((0..100).all(|_| unlimited.spend(0, SECOND).is_ok()));
    }

    #[test]
    fn a_key_is_free_again_after_its_wait() {
        let mut budgets = Budgets::new(Rate { burst: 1, interval: SECOND }, 10);
        assert!(budgets.spend(0, SECOND).is_ok());
        assert_eq!(budgets.spend(0, SECOND), Err(SECOND));
        assert!(budgets.spend(1, SECOND).is_ok(), "another key is not concerned");
        assert!(budgets.spend(0, 2 * SECOND).is_ok());
    }
}

//! What the adapters that ask other services count. No label names a user or a token.

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

use super::client::CallError;

/// Calls to the account service, by outcome.
pub const CALLS_TOTAL: &str = "hubbub_accounts_calls_total";
/// How long a call to the account service took, waiting for a place included.
pub const CALL_SECONDS: &str = "hubbub_accounts_call_seconds";
/// Tokens that needed no call of their own, by why.
pub const CACHE_HITS_TOTAL: &str = "hubbub_accounts_cache_hits_total";
/// Tokens that could not be asked about, by why.
pub const UNASKED_TOTAL: &str = "hubbub_accounts_unasked_total";
/// Whether the breaker is open.
pub const BREAKER_OPEN: &str = "hubbub_accounts_breaker_open";
/// Fetches of the key set, by outcome.
pub const KEY_FETCHES_TOTAL: &str = "hubbub_accounts_key_fetches_total";
/// Tokens checked by key, by outcome.
pub const CHECKS_TOTAL: &str = "hubbub_accounts_checks_total";

/// The name of a call's failure, as a label.
pub fn of_failure(error: &CallError) -> &'static str {
    match error {
        CallError::Busy => "busy",
        CallError::TimedOut => "timed_out",
        CallError::TooLarge => "too_large",
        CallError::Failed(_) => "failed",
    }
}

/// What the adapter of the account service counts.
pub struct ServiceMeters {
    pub call_seconds: Histogram,
    pub hits_valid: Counter,
    pub hits_refused: Counter,
    pub hits_shared: Counter,
    pub unasked_full: Counter,
    pub unasked_breaker: Counter,
    pub breaker_open: Gauge,
    outcomes: Outcomes<7>,
}

impl ServiceMeters {
    pub fn new() -> Self {
        describe_counter!(CALLS_TOTAL, Unit::Count, "calls to the account service");
        describe_histogram!(CALL_SECONDS, Unit::Seconds, "how long a call to the account service took");
        describe_counter!(CACHE_HITS_TOTAL, Unit::Count, "tokens that needed no call of their own");
        describe_counter!(UNASKED_TOTAL, Unit::Count, "tokens that could not be asked about");
        describe_gauge!(BREAKER_OPEN, Unit::Count, "1 while the account service is not asked");
        let hits = |answer: &'static str| counter!(CACHE_HITS_TOTAL, "answer" => answer);
        let unasked = |why: &'static str| counter!(UNASKED_TOTAL, "why" => why);
        Self {
            call_seconds: histogram!(CALL_SECONDS),
            hits_valid: hits("valid"),
            hits_refused: hits("refused"),
            hits_shared: hits("shared"),
            unasked_full: unasked("full"),
            unasked_breaker: unasked("breaker"),
            breaker_open: gauge!(BREAKER_OPEN),
            outcomes: Outcomes::new(
                CALLS_TOTAL,
                ["valid", "refused", "trouble", "busy", "timed_out", "too_large", "failed"],
            ),
        }
    }

    /// Counts a call.
    pub fn call(&self, outcome: &'static str) {
        self.outcomes.count(outcome);
    }
}

/// What the adapter that checks by key counts.
pub struct KeyMeters {
    checks: Outcomes<3>,
    fetches: Outcomes<7>,
}

impl KeyMeters {
    pub fn new() -> Self {
        describe_counter!(KEY_FETCHES_TOTAL, Unit::Count, "fetches of the key set");
        describe_counter!(CHECKS_TOTAL, Unit::Count, "tokens checked by key");
        Self {
            checks: Outcomes::new(CHECKS_TOTAL, ["valid", "refused", "unavailable"]),
            fetches: Outcomes::new(
                KEY_FETCHES_TOTAL,
                ["fetched", "trouble", "unusable", "busy", "timed_out", "too_large", "failed"],
            ),
        }
    }

    /// Counts a token.
    pub fn check(&self, outcome: &'static str) {
        self.checks.count(outcome);
    }

    /// Counts a fetch.
    pub fn fetch(&self, outcome: &'static str) {
        self.fetches.count(outcome);
    }
}

/// One counter by its outcomes, looked up once, so that each is there at 0 before it first happens.
struct Outcomes<const N: usize>([(&'static str, Counter); N]);

impl<const N: usize> Outcomes<N> {
    fn new(name: &'static str, outcomes: [&'static str; N]) -> Self {
        Self(outcomes.map(|outcome| (outcome, counter!(name, "outcome" => outcome))))
    }

    fn count(&self, outcome: &'static str) {
        let found = self.0.iter().find(|(name, _)| *name == outcome);
        debug_assert!(found.is_some(), "{outcome} is not an outcome");
        if let Some((_, counter)) = found {
            counter.increment(1);
        }
    }
}

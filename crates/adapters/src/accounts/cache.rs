//! Answers that are kept for a while, by a keyed hash of their token. Pure: time is an argument, and counts from an origin of
//! the caller's.
//!
//! When there are too many, the one that would end first goes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use hubbub_core::ports::accounts::Secret;
use sha2::Sha256;

use super::option::BadOption;

/// Stands for a token. All of HMAC-SHA-256, so that no two tokens that anybody can find share an account.
pub type TokenHash = [u8; 32];

/// Hashes tokens under a key that only this process knows: what is in memory can't be matched with tokens from elsewhere.
pub struct Hasher(Hmac<Sha256>);

impl Hasher {
    /// `key`: as long as SHA-256's block, which is the length that HMAC takes as it is.
    pub fn new(key: &[u8; 64]) -> Self {
        Self(Hmac::new(key.into()))
    }

    /// With a key of its own.
    ///
    /// # Errors
    /// Where there is no randomness to be had.
    pub fn random() -> Result<Self, BadOption> {
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(|error| BadOption::new("the random source", error.to_string()))?;
        Ok(Self::new(&key))
    }

    pub fn hash(&self, token: &Secret) -> TokenHash {
        let mut mac = self.0.clone();
        mac.update(token.reveal().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Answers of one kind.
pub struct Cache<T> {
    entries_max: usize,
    entries: HashMap<TokenHash, (Duration, T)>,
    by_end: BTreeSet<(Duration, TokenHash)>,
}

impl<T: Clone> Cache<T> {
    /// Empty; at most `entries_max` will be kept.
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, entries: HashMap::new(), by_end: BTreeSet::new() }
    }

    /// The answer, unless its time is over.
    pub fn get(&self, key: &TokenHash, now: Duration) -> Option<T> {
        self.entries.get(key).filter(|(end, _)| *end > now).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer until `end`.
    pub fn put(&mut self, key: TokenHash, answer: T, now: Duration, end: Duration) {
        if let Some((before, _)) = self.entries.insert(key, (end, answer)) {
            self.by_end.remove(&(before, key));
        }
        self.by_end.insert((end, key));
        while self
            .by_end
            .first()
            .is_some_and(|(first, _)| *first <= now || self.entries.len() > self.entries_max)
        {
            let Some((_, first)) = self.by_end.pop_first() else { break };
            self.entries.remove(&first);
        }
    }

    /// Forgets an answer.
    pub fn remove(&mut self, key: &TokenHash) {
        if let Some((end, _)) = self.entries.remove(key) {
            self.by_end.remove(&(end, *key));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_both_indexes_agree(
            steps in prop::collection::vec((0u8..20, 0u64..3, 0u64..50, any::<bool>()), 1..300),
        ) {
            let mut cache = Cache::new(5);
            let mut now = Duration::ZERO;
            for (key, step, ttl, remove) in steps {
                now += secs(step);
                let key = [key; 32];
                if remove { cache.remove(&key) } else { cache.put(key, (), now, now + secs(ttl)) }
                prop_assert!(cache.entries.len() <= 5);
                let listed: HashMap<_, _> = cache.by_end.iter().map(|(end, key)| (*key, *end)).collect();
                let kept: HashMap<_, _> = cache.entries.iter().map(|(key, (end, ()))| (*key, *end)).collect();
                prop_assert_eq!(&listed, &kept);
                prop_assert_eq!(listed.len(), cache.by_end.len());
            }
        }
    }

    #[test]
    fn an_answer_is_kept_until_its_end() {
        let mut cache = Cache::new(5);
        cache.put([1; 32], "a", secs(0), secs(10));
        assert_eq!(cache.get(&[1; 32], secs(9)), Some("a"));
        assert_eq!(cache.get(&[1; 32], secs(10)), None);
        assert_eq!(cache.get(&[2; 32], secs(0)), None);
        cache.put([1; 32], "b", secs(10), secs(20));
        assert_eq!(cache.get(&[1; 32], secs(19)), Some("b"));
        cache.remove(&[1; 32]);
        assert_eq!(cache.get(&[1; 32], secs(19)), None);
    }

    #[test]
    fn the_one_that_ends_first_goes_and_none_at_all_may_be_kept() {
        let mut cache = Cache::new(2);
        for (key, end) in [(1, 30), (2, 10), (3, 20)] {
            cache.put([key; 32], key, secs(0), secs(end));
        }
        let kept: Vec<_> = (1..=3).filter_map(|key| cache.get(&[key; 32], secs(0))).collect();
        assert_eq!(kept, [1, 3]);
        let mut none = Cache::new(0);
        none.put([1; 32], (), secs(0), secs(1));
        assert_eq!(none.get(&[1; 32], secs(0)), None);
    }

    #[test]
    fn a_hash_is_of_the_token_and_of_the_key() {
        let hash = |key: u8, token: &str| Hasher::new(&[key; 64]).hash(&Secret::new(token.into()));
        assert_eq!(hash(1, "a"), hash(1, "a"));
        assert_ne!(hash(1, "a"), hash(1, "b"));
        assert_ne!(hash(1, "a"), hash(2, "a"));
    }
}

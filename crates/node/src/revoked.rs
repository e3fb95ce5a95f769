//! Tokens that were called back, as a process that takes tokens knows them: read from where they are kept before it serves, told by
//! others at once, and what is new read every few seconds, since what the bus says may be lost.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use hubbub_core::ids::Millis;
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::revocations::{Revocation, Revocations, TokenId};
use hubbub_core::ports::store::Stored;

/// Tokens that are remembered, some 200 bytes each; beyond it the one that ends first is forgotten. Each costs a login,
/// which is far dearer than this.
const REMEMBERED_MAX: usize = 100_000;

/// How often it is looked for what is new.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How far back: the clocks of nodes may differ by so much, or a write take so long.
const READ_BACK_MS: u64 = 10 * 60 * 1_000;

/// Names a token.
pub fn token_id(token: &Secret) -> TokenId {
    // By aws-lc, which is here for tokens' signatures anyway: half of what it costs in plain Rust, and each hello does it.
    let digest = digest(&SHA256, token.reveal().as_bytes());
    TokenId(std::array::from_fn(|at| digest.as_ref()[at]))
}

/// By how much more than is known a token is refused that nobody tells the end of: so that what is kept is not written at each look.
const PROLONGED_MS: u64 = 60 * 1_000;

/// Whether a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not.
    No,
    /// It is, until an end that is kept.
    Yes,
    /// It is, for longer than was known: what should be kept now.
    Longer(Revocation),
}

/// Tokens that were called back and have not ended.
#[derive(Default)]
pub struct Revoked {
    tokens: Mutex<Tokens>,
    /// So that as long as there is none nothing is locked.
    any: AtomicBool,
    /// When they were last read, in Unix milliseconds; 0 is never.
    read_at: AtomicU64,
}

#[derive(Default)]
struct Tokens {
    until: HashMap<TokenId, Millis>,
    by_end: BTreeSet<(Millis, TokenId)>,
}

impl Revoked {
    /// Those that are kept now.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn read(kept: &dyn Revocations) -> Stored<Arc<Self>> {
        let revoked = Arc::new(Self::default());
        revoked.read_again(kept).await?;
        Ok(revoked)
    }

    /// Reads what was kept since the last time. Those of which that is news.
    async fn read_again(&self, kept: &dyn Revocations) -> Stored<HashSet<TokenId>> {
        let began = now();
        let since = Millis(self.read_at.load(Ordering::Relaxed).saturating_sub(READ_BACK_MS));
        let found = kept.revocations(since).await?;
        let news = found.iter().map(|found| found.token).filter(|token| !self.has(*token)).collect();
        found.into_iter().for_each(|Revocation { token, until }| self.add(token, until));
        self.read_at.store(began.0, Ordering::Relaxed);
        Ok(news)
    }

    /// Looks for what is new every few seconds, for ever. `found` is given tokens of which nobody told.
    pub async fn keep_reading(&self, kept: &dyn Revocations, found: impl Fn(HashSet<TokenId>)) {
        loop {
            tokio::time::sleep(READ_EVERY).await;
            match self.read_again(kept).await {
                Ok(news) if news.is_empty() => {}
                Ok(news) => found(news),
                // Those that are known count on; that the store is away is said elsewhere.
                Err(error) => tracing::debug!(%error, "tokens that were called back can't be read again"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        // A panic between its two changes can at worst keep a token for longer.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a token.
    pub fn add(&self, token: TokenId, until: Millis) {
        self.add_at(token, until, now());
    }

    fn add_at(&self, token: TokenId, until: Millis, now: Millis) {
        let mut tokens = self.lock();
        // Whoever calls it back again may know of a later end, never of an earlier one.
        let known = tokens.until.get(&token).copied();
        if known.is_none_or(|known| known < until) {
            if let Some(known) = known {
                tokens.by_end.remove(&(known, token));
            }
            tokens.until.insert(token, until);
            tokens.by_end.insert((until, token));
        }
        while tokens
            .by_end
            .first()
            .is_some_and(|(end, _)| *end <= now || tokens.by_end.len() > REMEMBERED_MAX)
        {
            if let Some((_, over)) = tokens.by_end.pop_first() {
                tokens.until.remove(&over);
            }
        }
        self.any.store(!tokens.until.is_empty(), Ordering::Release);
    }

    /// Whether the token was called back.
    pub fn has(&self, token: TokenId) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().until.contains_key(&token)
    }

    /// Whether the token is refused, now that it is known to end no sooner than `until`. Where nobody tells when a token ends, each look at
    /// it finds a later end, and it is refused for as long as it is shown.
    pub fn refuses(&self, token: TokenId, until: Millis) -> Refused {
        if !self.any.load(Ordering::Acquire) {
            return Refused::No;
        }
        let known = self.lock().until.get(&token).copied();
        match known {
            None => Refused::No,
            Some(known) if until <= known => Refused::Yes,
            Some(_) => {
                let until = Millis(until.0.saturating_add(PROLONGED_MS));
                self.add(token, until);
                Refused::Longer(Revocation { token, until })
            }
        }
    }
}

fn now() -> Millis {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u32) -> TokenId {
        token_id(&Secret::new(n.to_string()))
    }

    fn lengths(revoked: &Revoked) -> (usize, usize) {
        let tokens = revoked.lock();
        (tokens.until.len(), tokens.by_end.len())
    }

    #[test]
    fn a_token_is_refused_until_it_ends_by_itself() {
        let revoked = Revoked::default();
        assert!(!revoked.has(token(1)));
        revoked.add_at(token(1), Millis(100), Millis(0));
        revoked.add_at(token(1), Millis(100), Millis(0));
        assert!(revoked.has(token(1)) && !revoked.has(token(2)));
        revoked.add_at(token(2), Millis(200), Millis(100));
        assert!(!revoked.has(token(1)) && revoked.has(token(2)));
        assert_eq!(lengths(&revoked), (1, 1));
    }

    #[test]
    fn a_token_that_is_called_back_again_is_refused_until_the_later_end() {
        let revoked = Revoked::default();
        revoked.add_at(token(1), Millis(100), Millis(0));
        revoked.add_at(token(1), Millis(300), Millis(50));
        revoked.add_at(token(1), Millis(200), Millis(60));
        revoked.add_at(token(2), Millis(400), Millis(250));
        assert!(revoked.has(token(1)));
        assert_eq!(lengths(&revoked), (2, 2));
        revoked.add_at(token(3), Millis(400), Millis(300));
        assert!(!revoked.has(token(1)));
    }

    #[test]
    fn a_token_without_an_end_of_its_own_is_refused_for_as_long_as_it_is_shown() {
        let revoked = Revoked::default();
        let hour = |n: u64| Millis(now().0 + n * 3_600_000);
        let (one, two) = (hour(1), hour(2));
        assert_eq!(revoked.refuses(token(1), one), Refused::No);
        assert_eq!(lengths(&revoked), (0, 0));
        revoked.add(token(1), one);
        assert_eq!(revoked.refuses(token(1), one), Refused::Yes);
        let longer = Revocation { token: token(1), until: Millis(two.0 + PROLONGED_MS) };
        assert_eq!(revoked.refuses(token(1), two), Refused::Longer(longer));
        assert_eq!(revoked.refuses(token(1), Millis(two.0 + 1_000)), Refused::Yes, "a moment later");
        revoked.add_at(token(2), hour(3), hour(1));
        assert!(revoked.has(token(1)));
    }

    #[test]
    fn memory_has_an_end_and_what_ends_first_is_forgotten_first() {
        let revoked = Revoked::default();
        let max = REMEMBERED_MAX as u32;
        for n in 0..=max {
            revoked.add_at(token(n), Millis(u64::from(n) + 1), Millis(0));
        }
        assert_eq!(lengths(&revoked), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert!(!revoked.has(token(0)) && revoked.has(token(1)) && revoked.has(token(max)));
    }
}

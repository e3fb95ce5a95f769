//! Tokens that were called back: refused at every node that heard of it, until they end by themselves.
//!
//! Kept in memory only, and told to whoever starts or was cut off: where all nodes start anew, a token that was called back before is
//! taken. People's tokens are short-lived. Bots' tokens are not, so who has one that got out is banned: that is stored.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use hubbub_core::ids::{Millis, NodeId};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::bus::{Bus, Subject};
use hubbub_wire::tier::control::TokenId;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::presence::{Question, RevokedPage};

/// Tokens that are remembered, some 200 bytes each; beyond it the one that ends first is forgotten. Each costs a login,
/// which is far dearer than this.
const REMEMBERED_MAX: usize = 100_000;

/// Pages of what one node tells: more than it remembers.
const PAGES_MAX: usize = 64;
/// How long each is waited for, and the pause before all is asked again.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// One of an older version never answers.
const TRIES: usize = 3;

/// Names a token.
pub fn token_id(token: &Secret) -> TokenId {
    // By aws-lc, which is here for tokens' signatures anyway: half of what it costs in plain Rust, and each hello does it.
    let digest = digest(&SHA256, token.reveal().as_bytes());
    TokenId(std::array::from_fn(|at| digest.as_ref()[at]))
}

/// Tokens that were called back and have not ended.
#[derive(Default)]
pub struct Revoked {
    tokens: Mutex<Tokens>,
    /// So that as long as there is none nothing is locked.
    any: AtomicBool,
}

#[derive(Default)]
struct Tokens {
    until: HashMap<TokenId, Millis>,
    by_end: BTreeSet<(Millis, TokenId)>,
}

impl Revoked {
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

    /// Up to `max` of those that end after this one, by their ends.
    pub fn after(&self, last: Option<(Millis, TokenId)>, max: usize) -> Vec<(Millis, TokenId)> {
        let begin = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.lock().by_end.range((begin, Bound::Unbounded)).take(max).copied().collect()
    }

    /// Whether the token was called back; now that it is known to end no sooner than `until`, it stays so for as long. Where
    /// nobody tells when a token ends, each look at it finds a later end.
    pub fn has_until(&self, token: TokenId, until: Millis) -> bool {
        let has = self.has(token);
        if has {
            self.add(token, until);
        }
        has
    }
}

/// Asks a gateway which tokens were called back, and until when, some times; `None` if it does not say.
pub async fn told_by(bus: &dyn Bus, gateway: &NodeId) -> Option<Vec<(Millis, TokenId)>> {
    for _ in 0..TRIES {
        if let Some(tokens) = ask(bus, gateway).await {
            return Some(tokens);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    tracing::warn!(%gateway, "a gateway does not say which tokens were called back: those that this process did not hear of are taken");
    None
}

async fn ask(bus: &dyn Bus, gateway: &NodeId) -> Option<Vec<(Millis, TokenId)>> {
    let subject = Subject::Node(gateway.clone());
    let mut tokens = Vec::new();
    for _ in 0..PAGES_MAX {
        let question = parcel::pack(&Question::Revoked { after: tokens.last().copied() });
        let mut answer = bus.request(&subject, question.into(), ASK_TIMEOUT).await.ok()?;
        let unreadable =
            |error: &parcel::BadParcel| tracing::debug!(%error, "a gateway said what can't be read");
        let page = parcel::header::<RevokedPage>(&mut answer).inspect_err(unreadable).ok()?;
        let is_last = !page.more || page.tokens.is_empty();
        tokens.extend(page.tokens);
        if is_last {
            break;
        }
    }
    Some(tokens)
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
        assert!(!revoked.has_until(token(1), hour(1)));
        assert_eq!(lengths(&revoked), (0, 0));
        revoked.add(token(1), hour(1));
        assert!(revoked.has_until(token(1), hour(2)));
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
        let (mut told, mut last) = (0, None);
        while let [page @ .., end] = &revoked.after(last, 1_000)[..] {
            told += page.len() + 1;
            last = Some(*end);
        }
        assert_eq!(told, REMEMBERED_MAX);
    }
}

//! Tokens that were found to be good, so that who comes again with one waits for no signature: to check one by RSA or on a curve costs
//! as much as all the rest of a connect, and after an outage everybody comes again at once.
//!
//! Kept is a keyed hash of a token with what it says and the key that signed it. A key that is known no more, or was fetched anew, checks
//! its tokens again; and none is good beyond its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubbub_core::ids::Millis;
use hubbub_core::ports::accounts::{Account, Secret};
use jsonwebtoken::Algorithm;

use super::super::cache::{Cache, Hasher};
use super::super::option::BadOption;
use super::claims::Rules;
use super::key::Key;

/// How many are kept: some 400 bytes each.
const KEPT_MAX: usize = 20_000;

/// What good tokens say.
pub struct Checked {
    hasher: Hasher,
    kept: Mutex<Cache<(Arc<Key>, Account)>>,
}

impl Checked {
    /// None yet.
    ///
    /// # Errors
    /// Where there is no randomness to be had.
    pub fn new() -> Result<Self, BadOption> {
        Ok(Self { hasher: Hasher::random()?, kept: Mutex::new(Cache::new(KEPT_MAX)) })
    }

    /// As [`Rules::check`].
    ///
    /// # Errors
    /// What is wrong, in words that have nothing of the token in them.
    pub fn account(
        &self,
        rules: &Rules,
        token: &Secret,
        key: &Arc<Key>,
        now: Millis,
    ) -> Result<Account, &'static str> {
        // Its check is a hash as well.
        if key.algorithm == Algorithm::HS256 {
            return rules.check(token, key, now);
        }
        let (hash, at) = (self.hasher.hash(token), Duration::from_millis(now.0));
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&hash, at);
        if let Some((_, account)) = kept.filter(|(by, _)| Arc::ptr_eq(by, key)) {
            return Ok(account);
        }
        let account = rules.check(token, key, now)?;
        let end = Duration::from_millis(account.expires_at.0.saturating_add(rules.leeway.0));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put(hash, (key.clone(), account.clone()), at, end);
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use jsonwebtoken::{DecodingKey, EncodingKey, Header};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_good_token_is_checked_once_a_key_and_not_kept_beyond_its_end() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let signs = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
        let decodes = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let key = || Arc::new(Key { algorithm: Algorithm::EdDSA, decodes: decodes.clone() });
        let claims = json!({"sub": "u1", "exp": 60, "iss": "us"});
        let token =
            Secret::new(jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &signs).unwrap());
        let [ours, others] =
            ["us", "them"].map(|issuer| Rules::new(Some(issuer), None, Duration::from_secs(5)));
        let (checked, first, again) = (Checked::new().unwrap(), key(), key());
        let account = |rules, key, seconds: u64| checked.account(rules, &token, key, Millis(seconds * 1_000));

        assert_eq!(account(&others, &first, 1), Err("is of another issuer"));
        assert!(account(&ours, &first, 1).is_ok());
        // By rules that would refuse it, it is seen whether it is checked.
        assert!(account(&others, &first, 64).is_ok());
        assert_eq!(account(&others, &again, 64), Err("is of another issuer"));
        assert_eq!(account(&ours, &first, 65), Err("has expired"));
    }
}

//! Accounts of another service that signs its tokens: they are checked here, by its key.
//!
//! Claims: `sub` (the user's id: 1 to 64 of `A-Z a-z 0-9 _ -`), `name` (else the id is shown), `roles` (of which `user` and `bot`
//! mean something), `exp`, and where they are there `nbf` and `iat`; `iss` and `aud` by options. Anything else is `InvalidToken`;
//! why is logged at *debug*, without the token.
//!
//! The algorithm is the key's; see [`key`]. Checking costs no call but for a key that is not known yet; see [`jwks`]. What a good
//! token says is [kept](checked) for as long as its key is; one can't be called back before its end.

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{Account, Accounts, AccountsError, BuiltInAccounts, Secret};

use super::metrics::KeyMeters;
use super::option::BadOption;
use super::{foreign, now, unavailable};

mod checked;
mod claims;
mod jwks;
mod key;

use checked::Checked;
use claims::Rules;
pub use jwks::JwksOptions;
use jwks::{Jwks, NoKey};
use key::Key;

/// By what tokens are checked.
#[derive(Debug, Clone)]
pub enum JwtKeys {
    /// A secret of at least 32 bytes that the service signs with: HS256. The text as it is, not decoded from base64.
    Secret(Secret),
    /// The text of a public key file, PEM: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA).
    PublicKeyPem(String),
    /// The http or https address of a set of public keys. A token names its key by `kid`, which it may leave out if the set
    /// has one key only.
    Jwks(String),
}

/// What may be set of tokens that are checked by key.
#[derive(Debug, Clone)]
pub struct JwtOptions {
    /// The `iss` that a token must have. Default none: any, or no issuer.
    pub issuer: Option<String>,
    /// What must be among a token's `aud`. Default none: then a token must not have any.
    pub audience: Option<String>,
    /// By how much clocks may differ: a token counts for so much longer, and so much earlier. Default 5 s.
    pub leeway: Duration,
    /// Of the set of keys, if it is one behind an address.
    pub jwks: JwksOptions,
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self { issuer: None, audience: None, leeway: Duration::from_secs(5), jwks: JwksOptions::default() }
    }
}

enum Keys {
    One(Arc<Key>),
    Set(Jwks),
}

/// Accounts of another service that signs its tokens.
pub struct Jwt {
    keys: Keys,
    rules: Rules,
    checked: Checked,
    meters: Arc<KeyMeters>,
}

impl Jwt {
    /// Accounts by these keys. Nothing is fetched yet.
    ///
    /// # Errors
    /// A key that can't be used, an address that is not http or https, certificates that can't be read, no randomness to be had.
    pub fn new(keys: JwtKeys, options: JwtOptions) -> Result<Self, BadOption> {
        let meters = Arc::new(KeyMeters::new());
        let one = |option, key: Result<Key, &'static str>| match key {
            Ok(key) => Ok(Keys::One(Arc::new(key))),
            Err(what) => Err(BadOption::new(option, what)),
        };
        let keys = match keys {
            JwtKeys::Secret(secret) => one("JWT_SECRET", Key::of_secret(&secret))?,
            JwtKeys::PublicKeyPem(pem) => one("JWT_KEY_FILE", Key::of_pem(&pem))?,
            JwtKeys::Jwks(url) => Keys::Set(Jwks::new("JWKS_URL", &url, options.jwks, meters.clone())?),
        };
        let rules = Rules::new(options.issuer.as_deref(), options.audience.as_deref(), options.leeway);
        Ok(Self { keys, rules, checked: Checked::new()?, meters })
    }

    async fn account_of(&self, token: &Secret) -> Result<Account, AccountsError> {
        let answer = match self.key_of(token).await {
            Ok(key) => self.checked.account(&self.rules, token, &key, now()).map_err(refused),
            Err(error) => Err(error),
        };
        self.meters.check(match &answer {
            Ok(_) => "valid",
            Err(AccountsError::InvalidToken) => "refused",
            Err(_) => "unavailable",
        });
        answer
    }

    /// The key that must have signed the token. What can't be signed by any key of ours is refused before one is looked for:
    /// rubbish makes no calls.
    async fn key_of(&self, token: &Secret) -> Result<Arc<Key>, AccountsError> {
        if !foreign::may_be_token(token) {
            return Err(refused("can't be read"));
        }
        match &self.keys {
            Keys::One(key) => Ok(key.clone()),
            Keys::Set(set) => {
                let header = claims::header(token).ok_or_else(|| refused("can't be read"))?;
                if !key::IN_SETS.contains(&header.algorithm) {
                    return Err(refused("has an algorithm that no key of a set has"));
                }
                set.find(header.kid.as_deref()).await.map_err(|error| match error {
                    NoKey::Unknown => refused("is of an unknown key"),
                    NoKey::Unavailable(inside) => unavailable(format!("the key set: {inside}")),
                })
            }
        }
    }
}

fn refused(why: &'static str) -> AccountsError {
    tracing::debug!(why, "a token was refused");
    AccountsError::InvalidToken
}

impl Accounts for Jwt {
    /// With keys behind an address it needs a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// Nothing is half done when the future is dropped; a fetch of keys that it began goes on, for others may wait for it.
    fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>> {
        Box::pin(self.account_of(token))
    }

    fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
        None
    }
}

//! Accounts in our own store: argon2id hashes, signed tokens of a short life, limits on trying.
//!
//! Checking a token is arithmetic and needs no store, so an account can't be revoked before its token ends: hence the
//! short life. Nothing is cached.
//!
//! # Limits on trying
//! - *A caller* (an IPv4 address, or the /64 of an IPv6 one) has a budget of logins, right or wrong, and one of registrations.
//! - *A caller at an account* has a budget of wrong passwords, and all callers together have [`CALLERS`] times as much at it. Each
//!   login takes from both before the password is checked, so that a thousand at once find no more than the budget, and a right
//!   one gives it back. An address without an account has the same budgets, so that the limit does not tell the two apart. So who keeps
//!   failing does not keep the owner out, unless they are many callers: that is the price.
//! - *The process* hashes only so many passwords at once; see [`hashing`].

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hubbub_core::address::one_client;
use hubbub_core::ids::{User, UserId};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{
    Account, AccountRow, AccountStore, AccountStoreError, Accounts, AccountsError, BuiltInAccounts,
    CommandRight, Registration, Role, Secret,
};

use super::{now, unavailable};

mod attempts;
mod fields;
mod hashing;
mod tokens;

pub use attempts::Rate;
use attempts::{Budgets, KEYS_MAX};
use hashing::{Hasher, HashingError};
use tokens::{KEY_BYTES, Tokens};

/// What the key that signs tokens is called in the store.
pub const TOKEN_KEY: &str = "token_key";
/// Callers who fail at one account, from whom on they take from each other.
const CALLERS: u32 = 10;
/// When to come back if the line for hashing is full: it moves by some 50 a core in that time.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What may be set of the built-in accounts.
#[derive(Debug, Clone)]
pub struct BuiltInOptions {
    /// How long a token is valid. Whole seconds.
    pub token_ttl: Duration,
    /// How many passwords are hashed at once: a core and 19 MiB each.
    pub hashing_max: usize,
    /// How many more wait for that.
    pub hashing_waiting_max: usize,
    /// Logins a caller, right or wrong.
    pub logins: Rate,
    /// Registrations a caller.
    pub registrations: Rate,
    /// Wrong passwords a caller and account; all callers together may give ten times as many.
    pub failures: Rate,
}

impl Default for BuiltInOptions {
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_secs(3_600),
            hashing_max: std::thread::available_parallelism().map_or(1, usize::from),
            hashing_waiting_max: 512,
            logins: Rate { burst: 300, interval: Duration::from_millis(50) },
            registrations: Rate { burst: 2_000, interval: Duration::from_millis(20) },
            failures: Rate { burst: 10, interval: Duration::from_secs(30) },
        }
    }
}

/// Accounts in our own store.
pub struct BuiltIn {
    store: Arc<dyn AccountStore>,
    tokens: Tokens,
    hasher: Hasher,
    started: Instant,
    /// Keys of the budgets are hashes under a secret of this process: small, and nobody can make two fall together.
    keys: RandomState,
    logins: Mutex<Budgets>,
    registrations: Mutex<Budgets>,
    failures: Mutex<Budgets>,
    failures_of_all: Mutex<Budgets>,
}

impl BuiltIn {
    /// Opens the accounts of a store, which from the first time on holds the key that signs tokens.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn open(store: Arc<dyn AccountStore>, options: BuiltInOptions) -> Result<Self, AccountsError> {
        let key = store.shared_secret(TOKEN_KEY, Self::new_key()?).await.map_err(unavailable)?;
        if key.len() < KEY_BYTES {
            return Err(unavailable("the stored token key is too short"));
        }
        let hasher =
            Hasher::start(options.hashing_max, options.hashing_waiting_max).await.map_err(refused)?;
        let budgets = |rate| Mutex::new(Budgets::new(rate, KEYS_MAX));
        let Rate { burst, interval } = options.failures;
        let of_all = Rate { burst: burst.max(1).saturating_mul(CALLERS), interval: interval / CALLERS };
        Ok(Self {
            store,
            tokens: Tokens::new(&key, options.token_ttl),
            hasher,
            started: Instant::now(),
            keys: RandomState::new(),
            logins: budgets(options.logins),
            registrations: budgets(options.registrations),
            failures: budgets(options.failures),
            failures_of_all: budgets(of_all),
        })
    }

    /// A key to sign tokens with, for a store that has none yet.
    ///
    /// # Errors
    /// `Unavailable` when the machine has no randomness.
    pub fn new_key() -> Result<Vec<u8>, AccountsError> {
        let mut key = vec![0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(unavailable)?;
        Ok(key)
    }

    /// A token by which a program may answer commands, for as long as the operator wants; by the key that the store holds under
    /// [`TOKEN_KEY`].
    ///
    /// # Errors
    /// `Unavailable` when the key is none.
    pub fn bot_token(key: &[u8], bot: User, valid_for: Duration) -> Result<Secret, AccountsError> {
        if key.len() < KEY_BYTES {
            return Err(unavailable("the stored token key is too short"));
        }
        Tokens::new(key, valid_for).issue(bot, vec![Role::Bot], now()).map_err(unavailable)
    }

    async fn make_account(&self, registration: Registration, from: IpAddr) -> Result<User, AccountsError> {
        let name = fields::check_name(&registration.name)?;
        let email = fields::check_email(&registration.email)?;
        fields::check_password(&registration.password)?;
        self.spend(&self.registrations, self.keys.hash_one(one_client(from)))?;
        // Also found by the insert; here it saves a hash.
        if self.store.by_email(email.clone()).await.map_err(not_kept)?.is_some() {
            return Err(AccountsError::AddressTaken);
        }
        let password_hash = self.hasher.hash(registration.password).await.map_err(refused)?;
        let id = UserId::parse(&uuid::Uuid::now_v7().simple().to_string()).map_err(unavailable)?;
        let user = User { id: id.clone(), name: name.clone() };
        let row = AccountRow { id, name, email, password_hash, created_at: now() };
        self.store.insert(row).await.map_err(not_kept)?;
        Ok(user)
    }

    async fn token_for(
        &self,
        email: String,
        password: Secret,
        from: IpAddr,
    ) -> Result<Secret, AccountsError> {
        self.spend(&self.logins, self.keys.hash_one(one_client(from)))?;
        // No account has such an address or password, so this tells nothing about any.
        let Ok(email) = fields::check_email(&email) else { return Err(AccountsError::InvalidCredentials) };
        fields::check_password(&password).map_err(|_| AccountsError::InvalidCredentials)?;
        let (account, callers) = (self.keys.hash_one(&email), self.keys.hash_one((&email, one_client(from))));
        let give_back = |budgets: &Mutex<Budgets>, key| lock(budgets).refund(key, self.started.elapsed());
        self.spend(&self.failures, callers)?;
        self.spend(&self.failures_of_all, account).inspect_err(|_| give_back(&self.failures, callers))?;
        let result = self.check_password(email, password).await;
        if !matches!(result, Err(AccountsError::InvalidCredentials)) {
            give_back(&self.failures, callers);
            give_back(&self.failures_of_all, account);
        }
        result
    }

    async fn check_password(&self, email: String, password: Secret) -> Result<Secret, AccountsError> {
        let row = self.store.by_email(email).await.map_err(not_kept)?;
        let hash = row.as_ref().map(|row| row.password_hash.clone());
        let is_right = self.hasher.verify(password, hash).await.map_err(refused)?;
        match row {
            Some(row) if is_right => {
                let user = User { id: row.id, name: row.name };
                self.tokens.issue(user, vec![Role::User], now()).map_err(unavailable)
            }
            _ => Err(AccountsError::InvalidCredentials),
        }
    }

    fn spend(&self, budgets: &Mutex<Budgets>, key: u64) -> Result<(), AccountsError> {
        let spent = lock(budgets).spend(key, self.started.elapsed());
        spent.map_err(|retry_after| AccountsError::RateLimited { retry_after })
    }
}

impl Accounts for BuiltIn {
    fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>> {
        Box::pin(std::future::ready(self.tokens.check(token, now()).ok_or(AccountsError::InvalidToken)))
    }

    fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
        Some(self)
    }
}

impl BuiltInAccounts for BuiltIn {
    fn register(
        &self,
        registration: Registration,
        from: IpAddr,
    ) -> PortFuture<'_, Result<User, AccountsError>> {
        Box::pin(self.make_account(registration, from))
    }

    fn log_in(
        &self,
        email: String,
        password: Secret,
        from: IpAddr,
    ) -> PortFuture<'_, Result<Secret, AccountsError>> {
        Box::pin(self.token_for(email, password, from))
    }

    fn command_token(&self, right: CommandRight) -> Result<Secret, AccountsError> {
        self.tokens.issue_command(right, now()).map_err(unavailable)
    }

    fn check_command_token(&self, token: &Secret) -> Option<CommandRight> {
        self.tokens.check_command(token, now())
    }
}

fn lock(budgets: &Mutex<Budgets>) -> std::sync::MutexGuard<'_, Budgets> {
    // A panic elsewhere can at worst leave a key in one of two indexes, which costs that key a budget, not safety.
    budgets.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(error: HashingError) -> AccountsError {
    match error {
        HashingError::Full => AccountsError::RateLimited { retry_after: FULL_RETRY_AFTER },
        HashingError::Failed(_) => unavailable(error),
    }
}

fn not_kept(error: AccountStoreError) -> AccountsError {
    match error {
        AccountStoreError::Taken => AccountsError::AddressTaken,
        AccountStoreError::Store(_) => unavailable(error),
    }
}

#[cfg(test)]
mod tests;

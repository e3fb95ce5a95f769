//! `Accounts`: who a token stands for; and `AccountStore`, where the built-in accounts are kept.
//!
//! # The contract
//! - [`Accounts::validate`] answers for the token as it is *now*: an expired or revoked one is refused.
//! - A service that can't be reached is [`AccountsError::Unavailable`], never a let-in and never a refusal.
//! - Neither a token nor a password is ever in an error, a log line or a metric.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Millis, RoomId, User, UserId};
use crate::ports::PortFuture;

/// A bearer token or a password: can be looked at, but not printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: for checking it or sending it where it belongs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person: may chat.
    User,
    /// A program that answers commands.
    Bot,
}

/// Who a valid token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Id and name.
    pub user: User,
    /// What it may do.
    pub roles: Vec<Role>,
    /// When the token ends.
    pub expires_at: Millis,
}

/// Why there is no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// Not a token of ours, or its time is over.
    #[error("the access token is not valid or has expired")]
    InvalidToken,
    /// No such address, or another password; which of the two is not said.
    #[error("the address or the password is wrong")]
    InvalidCredentials,
    /// The address has an account already.
    #[error("there is an account with this address already")]
    AddressTaken,
    /// A field of the request is wrong.
    #[error("{field} {what}")]
    BadField {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
        /// Whether it is over a limit of size.
        is_long: bool,
    },
    /// Too many attempts.
    #[error("too many attempts; try again later")]
    RateLimited {
        /// When to come back.
        retry_after: Duration,
    },
    /// The service that knows is away or full. `inside` is for the log.
    #[error("accounts are not available just now")]
    Unavailable {
        /// What happened.
        inside: String,
    },
}

/// Tells who a token stands for.
pub trait Accounts: Send + Sync + 'static {
    /// The account of a token.
    ///
    /// # Errors
    /// `InvalidToken`, `Unavailable`.
    fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>>;

    /// The accounts that can be made and logged in to here; `None` where another service does that.
    fn built_in(&self) -> Option<&dyn BuiltInAccounts>;
}

/// A request for a new account.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What others see: 1 to 80 characters.
    pub name: String,
    /// The address to log in with; compared without case. Up to 254 bytes.
    pub email: String,
    /// 8 to 256 bytes.
    pub password: Secret,
}

/// Accounts that live in our own store.
pub trait BuiltInAccounts: Send + Sync {
    /// Makes an account.
    ///
    /// # Errors
    /// `AddressTaken`, `BadField`, `RateLimited`, `Unavailable`.
    fn register(
        &self,
        registration: Registration,
        from: std::net::IpAddr,
    ) -> PortFuture<'_, Result<User, AccountsError>>;

    /// Checks a password and gives a short-lived token. Takes the same time whether the address is known or not.
    ///
    /// # Errors
    /// `InvalidCredentials`, `RateLimited`, `Unavailable`.
    fn log_in(
        &self,
        email: String,
        password: Secret,
        from: std::net::IpAddr,
    ) -> PortFuture<'_, Result<Secret, AccountsError>>;

    /// A token for bots: it says who gave one command in one room, is good for nothing else, and ends within minutes.
    ///
    /// # Errors
    /// `Unavailable`.
    fn command_token(&self, right: CommandRight) -> Result<Secret, AccountsError>;

    /// What a token for bots says, if it is one of ours and not over.
    fn check_command_token(&self, token: &Secret) -> Option<CommandRight>;
}

/// What a token for bots says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRight {
    /// Who gave the command.
    pub user: User,
    /// In which room.
    pub room: RoomId,
    /// The command's id.
    pub command: String,
}

/// A built-in account as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Id.
    pub id: UserId,
    /// Name.
    pub name: Arc<str>,
    /// The address in lower case: unique.
    pub email: String,
    /// The password's argon2id hash, a PHC string.
    pub password_hash: Secret,
    /// When it was made.
    pub created_at: Millis,
}

/// Why an account was not kept or found.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountStoreError {
    /// Another account has the address or the id.
    #[error("address or id is taken")]
    Taken,
    /// As in the store of logs.
    #[error(transparent)]
    Store(#[from] crate::ports::store::StoreError),
}

/// Where built-in accounts are kept. Writes are durable when they return.
pub trait AccountStore: Send + Sync + 'static {
    /// Keeps a new account, unless its address or id is taken.
    fn insert(&self, account: AccountRow) -> PortFuture<'_, Result<(), AccountStoreError>>;

    /// The account of an address (in lower case).
    fn by_email(&self, email: String) -> PortFuture<'_, Result<Option<AccountRow>, AccountStoreError>>;

    /// A value that must be the same for every node, such as the key that signs tokens: keeps `candidate` if there is
    /// none by that name yet, and returns the one that is kept.
    fn shared_secret(
        &self,
        name: &'static str,
        candidate: Vec<u8>,
    ) -> PortFuture<'_, Result<Vec<u8>, AccountStoreError>>;
}

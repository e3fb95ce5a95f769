//! Adapters of the `Accounts` port.

use std::time::{SystemTime, UNIX_EPOCH};

use hubbub_core::ids::Millis;
use hubbub_core::ports::accounts::AccountsError;

mod auth_server;
mod builtin;
mod cache;
mod client;
mod foreign;
mod jwt;
mod metrics;
mod option;

pub use auth_server::{AuthServer, AuthServerOptions};
pub use builtin::{BuiltIn, BuiltInOptions, Rate, TOKEN_KEY};
pub use client::HttpOptions;
pub use jwt::{JwksOptions, Jwt, JwtKeys, JwtOptions};
pub use option::BadOption;

fn now() -> Millis {
    // A clock before 1970 makes every token expire, which is the safe side.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn unavailable(inside: impl std::fmt::Display) -> AccountsError {
    AccountsError::Unavailable { inside: inside.to_string() }
}

//! Adapters of the `Accounts` port.

use std::time::SystemTime;

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
    SystemTime::now().into()
}

fn unavailable(inside: impl std::fmt::Display) -> AccountsError {
    AccountsError::Unavailable { inside: inside.to_string() }
}

//! The adapters that ask other services, against a real server of HTTP that counts, delays, fails, hangs and answers junk.
//!
//! Where time matters the clock is moved, not waited for.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod asked;
mod away;
mod contract;
mod https;
mod keys;
mod key_sets;
mod secrets;
mod server;

use std::time::Duration;

use hubbub_adapters::accounts::{AuthServer, AuthServerOptions};
use hubbub_core::ports::accounts::{Account, Accounts, AccountsError, Secret};
use server::Server;

/// A body that says that the token is Ana's.
const ANA: &str = r#"{"user":"ana","name":"Ana","type":1,"roles":["user"]}"#;

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

async fn validate(accounts: &impl Accounts, token: &str) -> Result<Account, AccountsError> {
    accounts.validate(&secret(token)).await
}

fn asking(server: &Server, options: AuthServerOptions) -> AuthServer {
    AuthServer::new(&server.url, options).unwrap()
}

fn is_unavailable<T>(answer: &Result<T, AccountsError>) -> bool {
    matches!(answer, Err(AccountsError::Unavailable { .. }))
}

/// Moves the clock. It runs on its own again afterwards, for real bytes take real time.
async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

fn since_1970() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Makes something whose metrics are counted apart from those of other tests.
fn counted<T>(make: impl FnOnce() -> T) -> (T, metrics_exporter_prometheus::PrometheusHandle) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let made = metrics::with_local_recorder(&recorder, make);
    (made, recorder.handle())
}

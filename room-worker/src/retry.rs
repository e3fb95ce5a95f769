//! Doing a thing of the store until it is done.

use std::future::Future;
use std::time::Duration;

use hubbub_core::ports::PortFuture;
use hubbub_core::ports::store::{StoreError, Stored};
use hubbub_node::backoff::Backoff;
use tokio::time::Instant;

use crate::error::OpenError;
use crate::metrics;

/// Pauses between two tries.
pub(crate) const PAUSES: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// How long something that asks wait for is tried again: about as long as they wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Repeats what only reads, or may be begun anew, while the store is not available and the askers still wait.
pub(crate) async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, OpenError>>,
{
    let (mut backoff, give_up) = (PAUSES, Instant::now() + PATIENCE);
    loop {
        match attempt().await {
            Err(OpenError::Unavailable { .. }) if Instant::now() < give_up => {
                ::metrics::counter!(metrics::STORE_RETRIES).increment(1);
                backoff.pause().await;
            }
            ended => return ended,
        }
    }
}

/// Repeats an operation until the store says that it is done. It ends otherwise only by being dropped, with the epoch.
///
/// Damage is retried as well: a holder that can't write its log can do nothing better, and the error is there to see.
pub(crate) async fn until_done<'a, T>(
    what: &'static str,
    mut attempt: impl FnMut() -> PortFuture<'a, Stored<T>>,
) -> T {
    let first = attempt().await;
    until_done_after(what, first, attempt).await
}

/// As [`until_done`], of an operation that was attempted once.
pub(crate) async fn until_done_after<'a, T>(
    what: &'static str,
    mut attempted: Stored<T>,
    mut attempt: impl FnMut() -> PortFuture<'a, Stored<T>>,
) -> T {
    let mut backoff = PAUSES;
    let mut failures = 0u32;
    loop {
        match attempted {
            Ok(done) => {
                if failures > 0 {
                    tracing::info!(what, failures, "the store took it after all");
                }
                return done;
            }
            Err(error) => {
                ::metrics::counter!(metrics::STORE_RETRIES).increment(1);
                failures += 1;
                match error {
                    StoreError::Unavailable { inside } if failures == 1 => {
                        tracing::warn!(what, inside, "the store is not available; trying again");
                    }
                    StoreError::Unavailable { .. } => {}
                    StoreError::Damaged { what: found } => {
                        tracing::error!(what, found, "the store is damaged")
                    }
                }
                backoff.pause().await;
                attempted = attempt().await;
            }
        }
    }
}

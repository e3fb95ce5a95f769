//! Doing a thing of the store until it is done.

use std::time::Duration;

use hubbub_core::ports::PortFuture;
use hubbub_core::ports::store::{StoreError, Stored};

use crate::metrics;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// A pause that doubles from 20 ms to 1 s.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
    }
}

/// Repeats an operation until the store says that it is done. It ends otherwise only by being dropped, with the epoch.
///
/// Damage is retried as well: a holder that can't write its log can do nothing better, and the error is there to see.
pub(crate) async fn until_done<'a, T>(
    what: &'static str,
    mut attempt: impl FnMut() -> PortFuture<'a, Stored<T>>,
) -> T {
    let mut backoff = Backoff::new();
    let mut failures = 0u32;
    loop {
        match attempt().await {
            Ok(done) => {
                if failures > 0 {
                    tracing::info!(what, failures, "the store took it after all");
                }
                return done;
            }
            Err(error) => {
                ::metrics::counter!(metrics::STORE_RETRIES.name).increment(1);
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
            }
        }
    }
}

//! Waiting for a condition. A test that waits for time to pass is either slow or wrong.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long a test waits before it says that something does not happen. Far above what a busy machine needs: it costs
/// time only when a test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` gives something.
///
/// # Panics
/// When it gave nothing before the [`DEADLINE`]; the message says what was waited for.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, look).await
}

/// Waits until `look` gives something, for what takes longer than the [`DEADLINE`] allows.
///
/// # Panics
/// When it gave nothing in time; the message says what was waited for.
pub async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(LOOK_EVERY).await;
    }
}

/// Waits for a future.
///
/// # Panics
/// When it was not ready before the [`DEADLINE`].
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    in_time_within(DEADLINE, what, future).await
}

/// Waits for a future that may take longer than the [`DEADLINE`] allows.
///
/// # Panics
/// When it was not ready in time; the message says what was waited for.
pub async fn in_time_within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

//! Asking again while a room's holder changes.

use std::time::Duration;

use super::call::Failed;

const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Asks until there is another answer than that it is not possible just now, a few times.
pub(super) async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Failed>) -> Result<T, Failed> {
    let mut tries = 1;
    loop {
        match ask().await {
            // The room's holder changes, most likely.
            Err(Failed::Refused(why)) if why.contains("(unavailable,") && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

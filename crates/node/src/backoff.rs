//! Pauses between tries.

use std::time::Duration;

/// Pauses that double from the first to the last. Each is longer or shorter by up to half, so that those who wait for one thing do not
/// all ask for it at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    last: Duration,
}

impl Backoff {
    /// None was taken yet.
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self { next: first, last }
    }

    /// Takes the next one.
    ///
    /// # Cancel safety
    /// Dropped, the same one is next.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next.mul_f64(0.5 + fastrand::f64())).await;
        self.next = (self.next * 2).min(self.last);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_to_a_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        for middle in [100, 200, 400, 500, 500] {
            let began = Instant::now();
            backoff.pause().await;
            // A timer rounds up to the next millisecond.
            let took = began.elapsed().as_millis();
            assert!((middle / 2..=middle * 3 / 2 + 1).contains(&took), "{took} for {middle}");
        }
    }
}

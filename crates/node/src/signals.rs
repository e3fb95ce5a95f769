//! How a process ends: the first signal starts the drain, a second one ends it at once, and so does the drain's limit.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::CancellationToken;

/// Tells every part of the process that the drain has begun. Cloning gives another handle to the same drain.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
}

impl Shutdown {
    /// Starts the drain; once is enough.
    pub fn start(&self) {
        self.draining.cancel();
    }

    /// Whether it has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits for its begin.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn begun(&self) {
        self.draining.cancelled().await;
    }

    /// The token, for `select!` arms that want to own one, and for child tokens.
    pub fn token(&self) -> CancellationToken {
        self.draining.clone()
    }
}

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: the orchestrator's.
    Terminate,
}

impl Signal {
    /// The exit code of a process that this signal ended, as a shell gives it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// The signals sent to this process, from the moment of [`Signals::listen`] on.
pub struct Signals {
    interrupts: unix::Signal,
    terminations: unix::Signal,
}

impl Signals {
    /// Takes the signals over from the system, whose answer to them is to end the process. Needs a runtime; do it before
    /// any work that must not be cut off.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupts: unix::signal(SignalKind::interrupt())?,
            terminations: unix::signal(SignalKind::terminate())?,
        })
    }

    /// The next one.
    ///
    /// # Cancel safety
    /// No signal is lost when the future is dropped; two of one kind that come close together may be one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupts.recv() => Signal::Interrupt,
            _ = self.terminations.recv() => Signal::Terminate,
        }
    }
}

/// How [`run_until_drained`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// The work ended by itself: after a drain, or because it could not go on.
    Finished(T),
    /// A second signal came; leave with its exit code.
    Forced(Signal),
    /// The drain took longer than its limit.
    Overran,
}

/// Runs the whole work of the process. The first signal starts the drain, which the work watches; after that the work has
/// until `limit`, or until a second signal, to end. If it does not end, it is dropped where it stands.
///
/// Run it on a runtime that no task can block for long, or signals wait as long.
pub async fn run_until_drained<T>(
    work: impl Future<Output = T>,
    shutdown: &Shutdown,
    mut signals: Signals,
    limit: Duration,
) -> Ended<T> {
    let mut work = pin!(work);
    tokio::select! {
        result = &mut work => return Ended::Finished(result),
        signal = signals.next() => {
            tracing::info!(signal = signal.as_str(), limit_ms = limit.as_millis() as u64, "draining");
            shutdown.start();
        }
        // Somebody else started it: the limit holds all the same.
        () = shutdown.begun() => {}
    }
    tokio::select! {
        result = &mut work => Ended::Finished(result),
        signal = signals.next() => Ended::Forced(signal),
        () = tokio::time::sleep(limit) => Ended::Overran,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Signals reach the whole process, so tests that send some must not run beside each other.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    fn send(signal: &str) {
        let pid = std::process::id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    #[tokio::test]
    async fn the_first_signal_drains() {
        let _turn = ONE_AT_A_TIME.lock().await;
        let (shutdown, signals) = (Shutdown::default(), Signals::listen().unwrap());
        let work = async {
            assert!(!shutdown.is_draining());
            send("-TERM");
            shutdown.begun().await;
            "flushed"
        };
        assert_eq!(run_until_drained(work, &shutdown, signals, LONG).await, Ended::Finished("flushed"));
    }

    #[tokio::test]
    async fn the_second_signal_ends_at_once() {
        let _turn = ONE_AT_A_TIME.lock().await;
        let (shutdown, signals) = (Shutdown::default(), Signals::listen().unwrap());
        let work = async {
            send("-TERM");
            shutdown.begun().await;
            send("-INT");
            std::future::pending::<()>().await
        };
        let ended = run_until_drained(work, &shutdown, signals, LONG).await;
        assert_eq!(ended, Ended::Forced(Signal::Interrupt));
        assert_eq!((Signal::Interrupt.exit_code(), Signal::Terminate.exit_code()), (130, 143));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_has_its_limit() {
        let _turn = ONE_AT_A_TIME.lock().await;
        let (shutdown, signals) = (Shutdown::default(), Signals::listen().unwrap());
        shutdown.start();
        let ended = run_until_drained(std::future::pending::<()>(), &shutdown, signals, LONG).await;
        assert_eq!(ended, Ended::Overran);
    }

    #[tokio::test]
    async fn work_that_ends_by_itself_needs_no_signal() {
        let _turn = ONE_AT_A_TIME.lock().await;
        let (shutdown, signals) = (Shutdown::default(), Signals::listen().unwrap());
        assert_eq!(run_until_drained(async { 7 }, &shutdown, signals, LONG).await, Ended::Finished(7));
        assert!(!shutdown.is_draining());
    }
}

//! SIGINT and SIGTERM: what runs ends in order, so that what was measured is kept and what was started is stopped.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// It was ended by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ended by {name}")]
pub struct Interrupted {
    name: &'static str,
    /// The signal's number.
    pub number: u8,
}

/// Listens from here on: neither signal ends the process by itself any more.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Needs a runtime with I/O.
    pub fn listen() -> anyhow::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// Waits for the next one. Cancel safe.
    pub async fn next(&mut self) -> Interrupted {
        let (name, number) = tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", Number::INT),
            _ = self.terminate.recv() => ("SIGTERM", Number::TERM),
        };
        Interrupted { name, number: number.as_raw() as u8 }
    }
}

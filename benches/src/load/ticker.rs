//! A timer finer than the runtime's milliseconds: a message that is due in 250 µs must not go out after a millisecond.

use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits with the kernel's own precision.
#[derive(Debug)]
pub struct Ticker {
    timer: AsyncFd<std::os::fd::OwnedFd>,
}

impl Ticker {
    /// Needs a runtime with I/O.
    pub fn new() -> anyhow::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe; an OwnedFd keeps the descriptor it promises"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Waits for `duration`.
    pub async fn wait(&self, duration: Duration) -> anyhow::Result<()> {
        // A timer of zero is no timer.
        let duration = duration.max(Duration::from_nanos(1));
        let it_value = Timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        let mut expirations = [0; 8];
        self.timer
            .async_io(Interest::READABLE, |timer| Ok(rustix::io::read(timer, &mut expirations)?))
            .await?;
        Ok(())
    }
}

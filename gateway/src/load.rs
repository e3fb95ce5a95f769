//! Whether one more connection can be taken: looked at each second, so that a gateway says no while it still can, and those who
//! are there do not feel it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Failure;

/// When who was refused is to try again.
const COME_BACK_MS: std::ops::Range<u64> = 5_000..15_000;
/// Looks in a row at which an event loop must have been late, or in time again, before something follows from it: one hitch is
/// not a lack of CPU.
const LOOKS: u32 = 3;
/// Memory is enough again below this part of its limit: or each second would decide anew.
const ENOUGH_AGAIN: f64 = 0.95;

/// Why no more connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The gateway ends.
    Draining,
    /// As many connections as there may be.
    Full,
    /// More memory than it is to hold.
    Memory,
    /// Its event loops are late: there is not enough CPU.
    Late,
}

impl Refusal {
    /// The label of the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Full => "full",
            Self::Memory => "memory",
            Self::Late => "late",
        }
    }

    /// What a client is told. When to come back is each one's own time: nothing is better at once, and all at a time make it worse.
    pub fn failure(self) -> Failure {
        match self {
            Self::Draining => Failure::Unavailable,
            Self::Full | Self::Memory | Self::Late => Failure::Busy(come_back()),
        }
    }
}

/// When somebody is to try again who found too much to carry.
pub fn come_back() -> Duration {
    Duration::from_millis(fastrand::u64(COME_BACK_MS))
}

/// How much there is to carry.
#[derive(Debug, Default)]
pub struct Load {
    is_heavy: AtomicBool,
    resident: AtomicU64,
    loops: Vec<Loop>,
}

/// One event loop.
#[derive(Debug, Default)]
struct Loop {
    is_late: AtomicBool,
    /// Looks in a row that say otherwise.
    against: AtomicU32,
    lag_ms: AtomicU64,
}

impl Load {
    /// Nothing yet, on so many event loops.
    pub fn new(loops: usize) -> Self {
        Self { loops: (0..loops).map(|_| Loop::default()).collect(), ..Self::default() }
    }

    /// Takes note of how much memory the process holds.
    pub fn note_memory(&self, resident: u64, max: u64) {
        self.resident.store(resident, Ordering::Relaxed);
        let enough = if self.is_heavy() { (max as f64 * ENOUGH_AGAIN) as u64 } else { max };
        self.is_heavy.store(resident > enough, Ordering::Relaxed);
    }

    /// Takes note of how late an event loop was. Only that loop does.
    pub fn note_lag(&self, index: usize, lag: Duration, max: Duration) {
        let Some(of) = self.loops.get(index) else { return };
        of.lag_ms.store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let was_late = of.is_late.load(Ordering::Relaxed);
        let against = match (lag > max) == was_late {
            true => 0,
            false => of.against.load(Ordering::Relaxed) + 1,
        };
        of.against.store(against % LOOKS, Ordering::Relaxed);
        if against == LOOKS {
            of.is_late.store(!was_late, Ordering::Relaxed);
        }
    }

    /// Whether it holds too much memory.
    pub fn is_heavy(&self) -> bool {
        self.is_heavy.load(Ordering::Relaxed)
    }

    /// Whether an event loop is late.
    pub fn is_late(&self) -> bool {
        self.loops.iter().any(|of| of.is_late.load(Ordering::Relaxed))
    }

    /// Memory that the process held at the last look, in bytes.
    pub fn resident(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }

    /// How late the latest event loop was at the last look.
    pub fn lag(&self) -> Duration {
        let lags = self.loops.iter().map(|of| of.lag_ms.load(Ordering::Relaxed));
        Duration::from_millis(lags.max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_enough_again_only_clearly_below_its_limit() {
        let load = Load::new(1);
        let heavy = [1_000, 1_001, 960, 950, 1_000].map(|resident| {
            load.note_memory(resident, 1_000);
            load.is_heavy()
        });
        assert_eq!(heavy, [false, true, true, false, false]);
    }

    #[test]
    fn one_hitch_is_not_a_lack_of_cpu() {
        let load = Load::new(2);
        let max = Duration::from_secs(1);
        let late = [9, 9, 0, 9, 9, 9, 0, 9, 0, 0, 0].map(|seconds| {
            load.note_lag(1, Duration::from_secs(seconds), max);
            load.is_late()
        });
        let expected = [false, false, false, false, false, true, true, true, true, true, false];
        assert_eq!(late, expected);
    }
}

//! The embedded store against what a crash, a torn write, a full disk and a flipped bit do to it.
//!
//! A child process (this binary, started again) writes as holders do and says each ack; it is killed, its files are
//! hurt, and what is opened again is compared with what was acked and with what can only have been written.
//!
//! What it can't see: `kill -9` leaves the system's cache whole, so a commit that was never synced looks kept. That
//! each commit is synced is checked by what the store asks SQLite for (see `docs/decisions/0002-embedded-store.md`).
//!
//! `HUBBUB_SEED=N` runs the random choices of an earlier run again, `HUBBUB_ROUNDS=N` more or fewer of them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was said")]

mod check;
mod child;
mod flips;
mod full;
mod kill;
#[cfg(target_os = "linux")]
mod sync;
mod torn;
mod wal;

use std::path::Path;

/// Random choices that can be made again.
pub struct Random(u64);

impl Random {
    /// Of the seed in the environment, or of a new one; says which.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("HUBBUB_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) << 32 | u64::from(now_nanos()));
        println!("{test}: HUBBUB_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end.max(1)
    }
}

fn now_nanos() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos()
}

/// How many rounds to run: `or`, unless the environment says.
pub fn rounds(or: u64) -> u64 {
    std::env::var("HUBBUB_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(or)
}

/// The files of a store as a crash leaves them: the shared-memory file is not one of them.
pub fn copy_store(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in ["hubbub.db", "hubbub.db-wal"] {
        match std::fs::copy(from.join(file), to.join(file)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                _ = std::fs::remove_file(to.join(file))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

//! The promises of the whole server, each in a module of its own, against the real program over real sockets.
//!
//! Every test starts servers of its own and waits for conditions, never for time to pass. Random choices come from a seed
//! that a failing test prints.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod admin;
mod big;
mod bots;
mod common;
mod deaf;
#[cfg(target_os = "linux")]
mod disk;
mod drain;
mod erase;
mod foreign_accounts;
mod import;
mod kill;
mod load;
mod membership;
mod open;
mod passing;
mod peer;
mod pictures;
mod restored;
mod resume;
mod retention;
mod revoked;
mod slow;
mod socketio;
mod taken;
mod traces;
mod unread_log;

//! What the process ends with. Each number means one thing, so that a script can tell a broken promise from a typing error.

use std::process::ExitCode;

use crate::signals::Interrupted;

/// Something was wrong with what the target did: a promise broken, a message lost, nobody came back.
pub const WRONG: u8 = 1;
/// Nothing can be said of the promises.
pub const NOT_SEEN: u8 = 2;
/// The command line can't be understood.
pub const USAGE: u8 = 64;
/// What was asked for could not be done: no such file, nobody at the address, a scenario that has no bound.
pub const NOT_DONE: u8 = 69;
/// To this a signal's number is added.
const SIGNAL: u8 = 128;

/// Of a command that could not be done.
pub fn of(error: &anyhow::Error) -> ExitCode {
    let interrupted = error.downcast_ref::<Interrupted>();
    ExitCode::from(interrupted.map_or(NOT_DONE, |interrupted| SIGNAL + interrupted.number))
}

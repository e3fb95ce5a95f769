//! The load generator: one thread, connections as small as the servers', nothing parsed that needn't be.

pub mod beside;
pub mod connects;
pub mod expected;
pub mod fanout;
pub mod idle;
mod moment;
pub mod outcome;
pub mod reconnects;
pub mod schedule;
pub mod seat;
pub mod series;
mod steps;
pub mod tally;
pub mod thread;
pub mod ticker;

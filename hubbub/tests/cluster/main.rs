//! The promises of the cluster, against real processes, a real NATS and a real database, while something breaks.
//!
//! One cluster at a time: each takes some ten processes. Random choices come from a seed that a failing test prints.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod admin;
mod apart;
mod bots;
mod erase;
mod faults;
mod import;
mod presence;
mod rebalancing;
mod restored;
mod retention;
mod rolling;
mod traces;
mod world;

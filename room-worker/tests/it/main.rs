//! The worker over a real store, a real bus and real leases.

#![expect(clippy::unwrap_used, reason = "the fixtures are part of the tests")]

mod answers;
mod bounds;
mod chaos;
mod erasing;
mod faults;
mod log_reader;
mod offline;
mod restarts;
mod placement;
mod stuck;
mod trimming;
mod world;

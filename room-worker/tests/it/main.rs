//! The worker over a real store, a real bus and real leases.

mod answers;
mod chaos;
mod faults;
mod log_reader;
mod restarts;
mod world;

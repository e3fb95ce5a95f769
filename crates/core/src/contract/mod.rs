//! The contract suites: what every adapter of a port has to pass. One module a port (`forgetting` is the store's too); each function is one sentence of the
//! port's contract, takes fresh adapters and panics where the sentence does not hold.

pub mod account_store;
pub mod accounts;
pub mod bans;
pub mod broker;
pub mod bus;
pub mod forgetting;
pub mod leases;
pub mod revocations;
pub mod store;

//! Adapters of the `Leases` port.

mod local;

pub use local::LocalLeases;

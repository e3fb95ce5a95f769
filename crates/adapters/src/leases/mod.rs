//! Adapters of the `Leases` port.

mod local;
mod nats;

pub use local::LocalLeases;
pub use nats::NatsLeases;

//! Adapters of the `Bus` port.

mod local;
mod nats;

pub use local::LocalBus;
pub use nats::{NatsBus, NatsOptions, NatsTls};

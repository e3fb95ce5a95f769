//! Adapters of the `Bus` port.

mod asks;
mod local;
mod nats;

pub use local::LocalBus;
pub use nats::{NatsBus, NatsOptions, NatsTls};

//! Adapters of the `Bus` port.

mod local;

pub use local::LocalBus;

//! Adapters of the `Store` and `AccountStore` ports.

pub mod embedded;

pub use embedded::{EmbeddedStore, OpenError, Options};

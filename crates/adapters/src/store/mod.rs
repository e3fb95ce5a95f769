//! Adapters of the `Store` and `AccountStore` ports.

pub mod cql;
pub mod embedded;

pub use cql::{CqlOpenError, CqlOptions, CqlStore, CqlTls};
pub use embedded::{EmbeddedStore, OpenError, Options};

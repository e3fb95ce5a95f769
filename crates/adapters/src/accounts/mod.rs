//! Adapters of the `Accounts` port.

mod builtin;

pub use builtin::{BuiltIn, BuiltInOptions, Rate};

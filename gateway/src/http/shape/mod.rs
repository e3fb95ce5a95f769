//! The JSON of requests and answers. The descriptions are made from these types.

mod accounts;
mod bots;
mod log;
mod rooms;

pub use accounts::*;
pub use bots::*;
pub use log::*;
pub use rooms::*;

use super::fault::{Fault, bad_field};

/// A field that must be there.
pub fn need<T>(field: &'static str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| bad_field(field, format!("{field} is missing")))
}

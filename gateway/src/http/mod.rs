//! The HTTP door.

pub mod problem;

use std::net::IpAddr;

/// The address that a request came from: an extension of it, put there by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

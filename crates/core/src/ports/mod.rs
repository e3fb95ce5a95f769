//! What the tiers need of the world, as traits. An adapter of each port has to pass its contract suite.
//!
//! A port is crossed once a batch or a commit, never once a delivery: a boxed future costs nothing here.

use std::future::Future;
use std::pin::Pin;

pub mod accounts;
pub mod bans;
pub mod broker;
pub mod bus;
pub mod leases;
pub mod revocations;
pub mod store;

/// What an operation of a port returns.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

//! Hubbub's load generator and the peers it is measured beside. See `README.md` of this package for its use.
//!
//! Read in this order: what is measured, whom it is said to, who says it, what is made of it.

pub mod scenario;
pub mod targets;
pub mod peers;
pub mod server;
pub mod loopback;
pub mod procfs;
pub mod ws;
pub mod stamp;
pub mod checker;
pub mod load;
pub mod compare;
pub mod report;
pub mod cli;

//! Hubbub's load generator and the peers it is measured beside. See `README.md` of this package for its use.
//!
//! Read in this order: what is measured, whom it is said to, who says it, what is made of it.

pub mod checker;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod exit;
pub mod load;
pub mod loopback;
pub mod peers;
pub mod procfs;
pub mod report;
pub mod scenario;
pub mod server;
pub mod signals;
pub mod stamp;
pub mod targets;
pub mod verify;
pub mod view;
pub mod ws;

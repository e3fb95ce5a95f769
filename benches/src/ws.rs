//! Just enough WebSocket for a load generator and for the raw server that is the floor.
//!
//! Both sides share it, so that what the floor costs is the kernel and not a library. Whole text frames, pings and
//! closes; no fragments, no extensions.

pub mod frame;
pub mod handshake;
pub mod outbox;
pub mod reader;

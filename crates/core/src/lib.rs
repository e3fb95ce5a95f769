//! What is true in Hubbub, without I/O, clock or randomness.
//!
//! In reading order: the names of things ([`ids`], [`limits`], [`code`], [`address`]); an [`entry`] of a room's log; the [`room`] that
//! decides what becomes one; the answers that are [`held`] until what they rest on is durable; the [`chain`] of segments
//! that a log is stored in; a reader's [`position`] in it; which [`trace`] something is part of; the [`map`] for what is looked up
//! for every message; and the [`ports`] to the world
//! with their contracts.

pub mod address;
pub mod chain;
pub mod code;
#[cfg(feature = "contract")]
pub mod contract;
pub mod entry;
pub mod held;
pub mod ids;
pub mod limits;
pub mod map;
pub mod ports;
pub mod position;
pub mod room;
pub mod scan;
pub mod trace;

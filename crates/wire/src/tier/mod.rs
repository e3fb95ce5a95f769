//! What the tiers say to each other over the bus.
//!
//! Every payload is a [`parcel`]: a header in JSON, which another version of a tier can still read, and entries in the
//! layout in which they are stored, whose JSON is passed on to clients as it is.

pub mod act;
pub mod agent;
pub mod bots;
pub mod control;
pub mod ephemera;
pub mod event;
pub mod node;
pub mod parcel;
pub mod presence;
pub mod query;

//! Several gateways over one bus: what they know of each other's users, and what all of them must do at once.

#![allow(clippy::unwrap_used, reason = "a test that can't go on is to fail")]

mod lost;
mod presence;
mod revoke;
mod world;

//! What a gateway has not heard: what the bus lost, and what another door acknowledged a moment ago.

#![allow(clippy::unwrap_used, reason = "a test that can't go on is to fail")]

mod chat;
mod doors;
mod losses;

//! The history service over a real store and a real bus. The logs are written through the store's port, as holders do.

#![expect(clippy::unwrap_used, reason = "the fixtures are part of the tests")]

mod holders;
mod lists;
mod replays;
mod world;

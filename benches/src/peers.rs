//! What Hubbub is measured beside.

pub mod centrifugo;
pub mod raw;
pub mod socketio;

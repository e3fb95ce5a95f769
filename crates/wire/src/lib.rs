//! What crosses an edge of Hubbub, as bytes: nothing here opens a socket, keeps time or decides anything.

pub mod admin;
pub mod amqp;
pub mod native;
pub mod object;
pub mod seed;
pub mod socketio;
pub mod tier;
pub mod ws;

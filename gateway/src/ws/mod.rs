//! The native WebSocket: the way in ([`upgrade`]), one task a socket that reads ([`connection`]), what waits to be written
//! ([`outbound`]), who it is ([`hello`]), and what it asks ([`requests`]).

pub mod connection;
pub mod hello;
pub mod outbound;
pub mod requests;
pub mod upgrade;

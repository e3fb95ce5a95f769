//! The Socket.IO door: the seed's clients, of both generations, by polling, by WebSocket, and by changing from one to the other.
//!
//! A client of it is a connection like any other, with a [`session`] beside it: the same fan-out, limits, queue and rules for
//! slow consumers. It comes in by [`door`], which answers all of `/socket.io/`: [`upgrade`] makes a WebSocket of a request,
//! [`polling`] takes what is posted and answers with what waits. Its packets are read in [`packets`]; entering the namespace
//! is [`entrance`], its events are [`requests`].

pub mod door;
pub mod entrance;
pub mod packets;
pub mod polling;
pub mod requests;
pub mod session;
pub mod upgrade;

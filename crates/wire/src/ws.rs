//! WebSocket frames as a server reads and writes them (RFC 6455), without I/O.
//!
//! [`Decoder`] takes what one read of a socket brought and hands out events; [`encode`] appends frames to a
//! buffer. Extensions (compression) are not spoken: a reserved bit is a violation.
//!
//! *Cost.* A whole frame in the read buffer is unmasked where it lies and handed out from there: no copy, no
//! allocation. Only a message that came in several frames or several reads is gathered in memory of its own,
//! which is given back with its event. A connection at rest holds one null pointer.
//!
//! *What a connection does with it.* Answer [`Event::Ping`] by a pong of the same payload. Echo
//! [`Event::Close`] once, then close the socket. After a [`Violation`] send a close frame of its
//! [`close_code`](Violation::close_code), then close the socket.

mod decode;
pub mod encode;
mod event;
mod frame;
mod message;
mod violation;

pub use decode::{Decoder, Limits};
pub use event::Event;
pub use frame::Opcode;
pub use violation::Violation;

//! Socket.IO as a server reads and writes it, without I/O: [Engine.IO](engine) packets in WebSocket frames and in the bodies
//! of a client that polls, [Socket.IO packets](packet) in them, the [requests](request) of the seed's clients in those,
//! and what these clients [are told](answer).
//!
//! Two generations: Socket.IO 2 on Engine.IO 3, and Socket.IO 3 and 4 on Engine.IO 4. They differ in who pings, in how a
//! body holds several packets, and in how a namespace is entered. *An event's frame is the same in both*, so a room's is
//! made once for all.
//!
//! *Source.* The protocols' specifications, revisions 3 and 4 of Engine.IO and 4 and 5 of Socket.IO.

pub mod answer;
pub mod engine;
pub mod packet;
pub mod request;
mod time;

/// The one namespace that there is.
pub const NAMESPACE: &str = "/v1/channel";

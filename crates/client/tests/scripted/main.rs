//! The client against a server that does what a test tells it, over real sockets.

mod connecting;
mod flow;
mod raw;
mod server;

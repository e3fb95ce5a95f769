//! The protocol page, row by row, against the real program over real sockets: what good requests get, and what bad input
//! gets. What must never happen is that others notice: a witness sits beside every misdeed.

#![allow(
    clippy::large_futures,
    clippy::type_complexity,
    reason = "a test runs once, and its tables stand where they are read"
)]
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod account_service;
mod command;
mod described;
mod described_socket;
mod framing;
mod fuzzed;
mod http_door;
mod http_refused;
mod limits;
mod plain_http;
mod postman;
mod proxies;
mod refused;
mod requests;
mod schema;
mod sockets;
mod talk;
mod tls;
mod upgrade;

use hubbub_testkit::{Hubbub, Start};

fn program() -> Start {
    Start::program(env!("CARGO_BIN_EXE_hubbub"))
}

async fn server() -> Hubbub {
    Hubbub::start(program()).await.unwrap()
}

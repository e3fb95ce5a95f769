//! What a client is told when it connects.

use std::collections::BTreeMap;
use std::time::Duration;

use hubbub_core::ids::{RoomId, Seq};

use crate::backoff;

/// How to connect, and what to do when the connection is lost.
#[derive(Debug, Clone)]
pub struct Options {
    /// `ws://host:port/path`, or `wss://` for TLS, whose certificates are checked as [`net::connect`](crate::net::connect) says.
    pub url: String,
    /// The access token; it goes into `hello`, never into the address.
    pub token: String,
    /// The last seq seen of each room, from an earlier client's [`positions`](crate::Client::positions): the
    /// entries since then come first.
    pub resume: BTreeMap<RoomId, Seq>,
    /// Of which log they are, from the earlier client's [`Welcome`](crate::Welcome): of another one, the server tells `reset`.
    pub log: Option<String>,
    /// Name and version for the server's logs.
    pub client_name: String,
    /// Whether to connect again when the connection is lost, and to send again what has no answer.
    pub reconnect: bool,
    /// The longest wait before an attempt to connect again; the waits grow up to it. What the server asks for comes on top.
    pub reconnect_wait_max: Duration,
    /// How long a request is tried before it ends as [`Error::Deadline`](crate::Error::Deadline).
    pub deadline: Duration,
    /// How long one attempt to connect may take, `welcome` included.
    pub connect_timeout: Duration,
    /// Most events that wait to be taken. When so many wait, the client stops reading, answers included, and the
    /// server sees a slow consumer.
    pub events_max: usize,
    /// Most requests without an answer; further ones wait in their callers.
    pub requests_max: usize,
}

impl Options {
    /// The usual options: no token, no reconnect, waits of up to 10 s, a deadline of 30 s, 10 s to connect, 1,024 events and requests.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: String::new(),
            resume: BTreeMap::new(),
            log: None,
            client_name: concat!("hubbub-client/", env!("CARGO_PKG_VERSION")).into(),
            reconnect: false,
            reconnect_wait_max: backoff::LONGEST,
            deadline: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            events_max: 1_024,
            requests_max: 1_024,
        }
    }
}

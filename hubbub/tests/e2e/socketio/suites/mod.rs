//! The protocols' own test suites, case by case, each under the suite's words for it: Engine.IO 3 and 4 and Socket.IO 5, as they stand
//! under `docs/` of github.com/socketio/socket.io (`engine.io-protocol/v3-test-suite`, `…/v4-test-suite`,
//! `socket.io-protocol/v5-test-suite`). Those are JavaScript against a server that echoes whatever it gets in the namespaces `/` and
//! `/custom`, with pings every 300 ms. Ours has one namespace, so it stands for both; what comes back is the callback of an event,
//! and times are whole seconds.
//!
//! Not here, because nothing here takes or sends bytes: that bytes come back (Engine.IO "sends and receives a binary packet", "… a
//! payload containing plain text and binary packets", Socket.IO "should send a packet with binary attachments", "… and an ack"). That
//! they are refused is. And not "should allow connection to the main namespace": `/` is one that is refused.
//! "closes the session upon cancelled polling request" is in `limits.rs`.

mod engine;
mod socket_io;

use hubbub_client::raw::{Frame, Raw};
use hubbub_testkit::{Hubbub, in_time};
use serde_json::{Value, json};

use super::clients::{Answer, NAMESPACE, http, packet, websocket};
use crate::common::program;

/// A ping every so many seconds, which may take as long again.
async fn beating(seconds: u8) -> Hubbub {
    let beat = format!("--heartbeat={seconds}s");
    Hubbub::start(program().with(&beat).with("--hello-timeout=20s")).await.unwrap()
}

/// Of one generation: what its packets look like in a body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Engine {
    V3,
    V4,
}

use Engine::{V3, V4};

impl Engine {
    const BOTH: [Self; 2] = [V3, V4];

    fn query(self, transport: &str) -> String {
        format!("EIO={}&transport={transport}", if self == V3 { 3 } else { 4 })
    }

    fn body(self, packets: &[&str]) -> String {
        match self {
            V3 => packets.iter().map(|packet| format!("{}:{packet}", packet.len())).collect(),
            V4 => packets.join("\u{1e}"),
        }
    }

    /// All of it is ASCII.
    fn packets(self, body: &str) -> Vec<String> {
        if self == V4 {
            return body.split('\u{1e}').map(str::to_owned).collect();
        }
        let (mut packets, mut rest) = (Vec::new(), body);
        while let Some((len, behind)) = rest.split_once(':') {
            let (packet, behind) = behind.split_at(len.parse().unwrap());
            packets.push(packet.to_owned());
            rest = behind;
        }
        packets
    }

    async fn begin(self, server: &Hubbub) -> Polling<'_> {
        let opened = http(server, "GET", &self.query("polling"), "", "").await;
        let handshake = self.packets(&opened.body).remove(0);
        let handshake: Value = serde_json::from_str(&handshake[1..]).unwrap();
        Polling { server, engine: self, sid: handshake["sid"].as_str().unwrap().to_owned() }
    }

    /// A WebSocket alone, and its handshake.
    async fn open(self, server: &Hubbub) -> (Raw, Value) {
        let mut raw = websocket(server, &self.query("websocket")).await;
        let handshake = packet(&mut raw, "0{").await;
        if self == V3 {
            // It is in the root namespace unasked.
            assert_eq!(text(&mut raw).await, "40");
        }
        (raw, serde_json::from_str(&handshake[1..]).unwrap())
    }
}

/// A session that polls.
struct Polling<'a> {
    server: &'a Hubbub,
    engine: Engine,
    sid: String,
}

impl Polling<'_> {
    fn query(&self, transport: &str) -> String {
        format!("{}&sid={}", self.engine.query(transport), self.sid)
    }

    async fn poll(&self) -> Answer {
        http(self.server, "GET", &self.query("polling"), "", "").await
    }

    async fn post(&self, packets: &[&str]) -> Answer {
        self.post_body(&self.engine.body(packets)).await
    }

    async fn post_body(&self, body: &str) -> Answer {
        http(self.server, "POST", &self.query("polling"), "", body).await
    }

    /// Enters the namespace.
    async fn enter(&self, token: &str) {
        let connect = match self.engine {
            V3 => format!("40{NAMESPACE}?token={token},"),
            V4 => format!("40{NAMESPACE},{{\"token\":\"{token}\"}}"),
        };
        assert_eq!(self.post(&[&connect]).await.body, "ok");
        let told = self.engine.packets(&self.poll().await.body);
        assert!(told[0].starts_with(&format!("40{NAMESPACE},")), "{told:?}");
        assert!(told[1].starts_with(&format!("42{NAMESPACE},[\"authentication\"")), "{told:?}");
    }

    /// Polls until there were so many packets.
    async fn take(&self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.engine.packets(&self.poll().await.body));
        }
        all
    }

    async fn is_over(&self, what: &str) {
        let refused = self.poll().await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!(1)), "{what} {:?}", self.engine);
    }

    async fn websocket(&self) -> Option<Raw> {
        let url = format!("ws://{}/socket.io/?{}", self.server.address(), self.query("websocket"));
        Raw::connect(&url, None).await.ok()
    }
}

/// The next text.
async fn text(raw: &mut Raw) -> String {
    match in_time("a text", raw.next()).await {
        Frame::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// What comes back as the suites' echo would: the rooms of a server without any.
fn ask(id: u32) -> String {
    format!("42{NAMESPACE},{id}[\"chatrooms\",{{}}]")
}

fn answer(id: u32) -> String {
    format!("43{NAMESPACE},{id}[{{\"error\":0,\"chatrooms\":[]}}]")
}

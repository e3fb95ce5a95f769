//! A server of one page: it upgrades, and the test says the rest.

use std::ops::ControlFlow::Continue;
use std::time::Duration;

use hubbub_wire::ws::{Decoder, Event, Limits, encode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const LIMITS: Limits = Limits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20 };

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for what must come; panics with its name when it does not.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in {PATIENCE:?}"))
}

pub struct Server {
    pub url: String,
    connections: mpsc::Receiver<Connection>,
}

impl Server {
    /// Listens on a port of its own.
    pub async fn start() -> Self {
        Self::answering(StatusCode::SWITCHING_PROTOCOLS).await
    }

    /// Answers every request with this status.
    pub async fn answering(status: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (to_test, connections) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(upgrade(socket, status, to_test.clone()));
            }
        });
        Self { url: format!("ws://{address}/v1/ws"), connections }
    }

    /// The next connection.
    pub async fn accept(&mut self) -> Connection {
        soon("connection", self.connections.recv()).await.expect("the listener lives")
    }

    /// The next connection, after its hello and our welcome; gives the hello too.
    pub async fn accept_and_welcome(&mut self) -> (Connection, Value) {
        let mut connection = self.accept().await;
        let hello = connection.hears().await;
        assert_eq!(hello["type"], "hello");
        connection.says(welcome()).await;
        (connection, hello)
    }
}

pub fn welcome() -> Value {
    json!({"type": "welcome", "ref": 0, "user": {"id": "me", "name": "Me", "roles": ["user"]}, "heartbeat": 25,
        "rooms": [{"id": "r", "name": "R", "topic": "", "head": 4}], "limits": {}})
}

pub fn message(seq: u64) -> Value {
    json!({"type": "message", "room": "r", "seq": seq, "user": {"id": "a", "name": "Ann"}, "kind": "text",
        "text": format!("text {seq}"), "at": 1})
}

async fn upgrade(socket: TcpStream, status: StatusCode, to_test: mpsc::Sender<Connection>) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let to_test = to_test.clone();
        async move {
            let (mut response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request)?;
            *response.status_mut() = status;
            tokio::spawn(async move {
                if let Ok(upgraded) = upgraded.await
                    && let Ok(parts) = upgraded.into_inner().into_inner().downcast::<TokioIo<TcpStream>>()
                {
                    let (socket, early) = (parts.io.into_inner(), parts.read_buf.to_vec());
                    let connection = Connection { socket, early, decoder: Decoder::new(), heard: Vec::new() };
                    let _ = to_test.send(connection).await;
                }
            });
            Ok::<_, fastwebsockets::WebSocketError>(response)
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
}

/// A connection of a client; dropping it ends the socket without a close frame.
pub struct Connection {
    socket: TcpStream,
    early: Vec<u8>,
    decoder: Decoder,
    heard: Vec<Heard>,
}

/// What the client sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Json(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Violation(u16),
    End,
}

impl Connection {
    /// Sends a JSON frame.
    pub async fn says(&mut self, value: Value) {
        let mut out = Vec::new();
        encode::append_text(&mut out, &[value.to_string().as_bytes()]);
        self.writes(&out).await;
    }

    /// Answers a request by `ok` with these fields.
    pub async fn acks(&mut self, request: &Value, mut fields: Value) {
        fields["type"] = "ok".into();
        fields["ref"] = request["ref"].clone();
        self.says(fields).await;
    }

    pub async fn closes(&mut self, code: u16, reason: &str) {
        let mut out = Vec::new();
        encode::append_close(&mut out, code, reason);
        self.writes(&out).await;
    }

    pub async fn writes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("the client reads");
    }

    /// The next JSON frame.
    pub async fn hears(&mut self) -> Value {
        match self.next().await {
            Heard::Json(value) => value,
            other => panic!("expected a request, got {other:?}"),
        }
    }

    /// The next of anything.
    pub async fn next(&mut self) -> Heard {
        soon("frame of the client", self.read()).await
    }

    async fn read(&mut self) -> Heard {
        while self.heard.is_empty() {
            let mut bytes = std::mem::take(&mut self.early);
            if bytes.is_empty() {
                bytes.resize(64 * 1_024, 0);
                match self.socket.read(&mut bytes).await {
                    Ok(0) | Err(_) => return Heard::End,
                    Ok(n) => bytes.truncate(n),
                }
            }
            let heard = &mut self.heard;
            let fed = self.decoder.feed(LIMITS, &mut bytes, |event| {
                heard.push(match event {
                    Event::Text(text) => Heard::Json(serde_json::from_str(text).expect("a client says JSON")),
                    Event::Binary(bytes) => Heard::Json(json!({"binary": bytes})),
                    Event::Ping(payload) => Heard::Ping(payload.into()),
                    Event::Pong(payload) => Heard::Pong(payload.into()),
                    Event::Close(close) => Heard::Close(close.map(|(code, _)| code)),
                });
                Continue(())
            });
            if let Err(violation) = fed {
                self.heard.push(Heard::Violation(violation.close_code()));
            }
        }
        self.heard.remove(0)
    }
}

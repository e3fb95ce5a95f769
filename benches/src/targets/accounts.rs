//! Hubbub's HTTP door: accounts and rooms for a run.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::loopback::Place;
use crate::procfs::Usage;

/// Hashing a password is slow by design, and logging in is rate-limited: how long one call may be tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one answer may take; hashing a password is not quick.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long the server may take to say what it uses.
const USAGE_MAX: Duration = Duration::from_secs(3);

/// Every account's.
const PASSWORD: &str = "a long pass phrase of the benchmark";

/// The status of what is there already.
const TAKEN: u16 = 409;

/// Speaks to one server.
#[derive(Debug, Clone)]
pub struct Door {
    scheme: &'static str,
    authority: String,
}

/// An answer: its status and its JSON, `Null` if it has none.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// A clear no.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {status} {body}")]
pub struct Denied {
    path: String,
    status: u16,
    body: Value,
}

impl Door {
    /// To the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { scheme: "http", authority: address.to_string() }
    }

    /// To the server there, by TLS if it speaks that.
    pub fn at(place: &Place) -> Self {
        let scheme = if place.tls { "https" } else { "http" };
        Self { scheme, authority: place.authority.clone() }
    }

    /// Makes an account and gives its token. One that is there is taken for ours: the answer to an earlier try was lost.
    pub async fn register(&self, name: &str) -> anyhow::Result<String> {
        let account = json!({"name": name, "email": email(name), "password": PASSWORD});
        let made =
            self.patiently(Method::POST, "/v1/accounts", None, &account).await.context("registering")?;
        match made.body["token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => self.log_in(name).await,
        }
    }

    /// A new token of an account that was registered here; [`Denied`] if the server knows of none.
    pub async fn log_in(&self, name: &str) -> anyhow::Result<String> {
        let login = json!({"email": email(name), "password": PASSWORD});
        let answer =
            self.patiently(Method::POST, "/v1/accounts/login", None, &login).await.context("logging in")?;
        Ok(answer.body["token"].as_str().context("no token in the answer to a login")?.to_owned())
    }

    /// Makes a room and gives its id.
    pub async fn make_room(&self, token: &str, name: &str) -> anyhow::Result<String> {
        let room = json!({"name": name});
        let answer = self
            .patiently(Method::POST, "/v1/chat/rooms", Some(token), &room)
            .await
            .context("making a room")?;
        Ok(answer.body["id"].as_str().context("no id in the answer to a new room")?.to_owned())
    }

    /// Whether the server says that it is ready.
    pub async fn is_ready(&self) -> bool {
        self.call(Method::GET, "/readyz", None, &Value::Null).await.is_ok_and(|answer| answer.status == 200)
    }

    /// What the server says that it uses, if it does.
    pub async fn usage(&self) -> anyhow::Result<Option<Usage>> {
        let answer = timeout(USAGE_MAX, self.bytes(Method::GET, "/metrics", None, &Value::Null));
        let answer =
            answer.await.with_context(|| format!("no answer from /metrics within {USAGE_MAX:?}"))??;
        let text = String::from_utf8_lossy(&answer.1);
        let metric = |name: &str| -> Option<f64> {
            let of = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
            text.lines().find_map(of)
        };
        let used = metric("process_cpu_seconds_total").zip(metric("process_resident_memory_bytes"));
        Ok(used.map(|(cpu_seconds, rss)| Usage { cpu_seconds, rss_kib: (rss / 1_024.0) as u64 }))
    }

    async fn patiently(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let started = Instant::now();
        loop {
            let answer = self.call(method.clone(), path, token, body).await?;
            match answer.status {
                200..=299 | TAKEN => return Ok(answer),
                429 | 502..=504 if started.elapsed() < PATIENCE => {
                    let wait = answer.body["retry_after_ms"].as_u64().unwrap_or(500).clamp(20, 5_000);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                status @ (401 | 403 | 404) => {
                    bail!(Denied { path: path.to_owned(), status, body: answer.body })
                }
                status => bail!("{path}: {status} {}", answer.body),
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let answer = timeout(ANSWER_MAX, self.bytes(method, path, token, body)).await;
        let (status, bytes) =
            answer.with_context(|| format!("no answer from {path} within {ANSWER_MAX:?}"))??;
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<(u16, Bytes)> {
        let uri = format!("{}://{}{path}", self.scheme, self.authority).parse()?;
        let stream = hubbub_client::net::connect(&uri).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", self.authority.as_str());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            request = request.header("content-type", "application/json");
            Bytes::from(serde_json::to_vec(body)?)
        };
        let response = sender.send_request(request.body(Full::new(bytes))?).await?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok((status, bytes))
    }
}

fn email(name: &str) -> String {
    format!("{name}@bench.invalid")
}

//! HTTP by hand, so that a request can be wrong in any way and every header of the answer is seen.

use std::collections::HashMap;
use std::net::SocketAddr;

use hubbub_testkit::{Hubbub, in_time};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// By name in lower case; the last one of each.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// That it is a problem document with these, as clients may rely on.
    pub fn is_problem(&self, what: &str, status: u16, code: &str, error: u16) -> Value {
        assert_eq!(self.status, status, "{what}: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}: {self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{what}: {problem}");
        assert_eq!(problem["code"], code, "{what}: {problem}");
        assert_eq!(problem["error"], error, "{what}: {problem}");
        assert!(problem["type"].as_str().is_some_and(|t| t.starts_with("/problems/")), "{what}: {problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{what}: {problem}");
        problem
    }
}

/// Sends these bytes and reads the one answer up to its end.
pub async fn exchange(server: &Hubbub, bytes: &[u8]) -> Response {
    exchange_at(server.address(), bytes).await
}

/// The same with whoever listens there.
pub async fn exchange_at(address: SocketAddr, bytes: &[u8]) -> Response {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may close before all is written.
    let _ = socket.write_all(bytes).await;
    in_time("an answer", read(&mut socket)).await
}

/// Reads an answer up to its end.
pub async fn read(socket: &mut TcpStream) -> Response {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let n = socket.read(&mut chunk).await.unwrap_or(0);
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(n > 0, "the connection ended in the head: {text:?}");
            continue;
        };
        let headers: HashMap<_, _> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
            return Response { status, headers, body: body[..length].to_owned() };
        }
        assert!(n > 0, "the connection ended in the body: {text:?}");
    }
}

/// A request with these further lines of its head, each ending in a line break.
pub async fn ask(server: &Hubbub, method: &str, path: &str, lines: &str, body: &str) -> Response {
    let host = server.address();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    );
    exchange(server, text.as_bytes()).await
}

/// A request with a token and a JSON body; null for none.
pub async fn api(server: &Hubbub, method: &str, path: &str, token: &str, body: &Value) -> Response {
    let lines = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(server, method, path, &lines, &body).await
}

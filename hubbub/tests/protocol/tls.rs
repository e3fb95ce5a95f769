//! TLS by the server itself: what goes over it, what is refused, and other files while it runs.

use std::path::Path;
use std::sync::Arc;

use hubbub_testkit::{Hubbub, Signal, Start, eventually, request};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::program;

/// Certificate and key, in files of these names.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a new pair, valid until so many days from now. The certificate, to be trusted.
    fn write(&self, days: i64) -> String {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - Duration::days(90), now + Duration::days(days));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        self.put(&certificate, &key.serialize_pem());
        certificate
    }

    fn put(&self, certificate: &str, key: &str) {
        std::fs::write(self.0.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(self.0.path().join("key.pem"), key).unwrap();
    }

    fn start(&self) -> Start {
        let file = |name: &str| self.0.path().join(name).display().to_string();
        program()
            .with(&format!("--tls-cert={}", file("cert.pem")))
            .with(&format!("--tls-key={}", file("key.pem")))
    }
}

/// Shakes hands, trusting this certificate only.
async fn connect(server: &Hubbub, trusted: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(server.address()).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The body of a good answer.
async fn text(server: &Hubbub, trusted: &str, method: &str, path: &str, token: &str, body: &Value) -> String {
    let mut stream = connect(server, trusted).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn ask(server: &Hubbub, trusted: &str, method: &str, path: &str, token: &str, body: &Value) -> Value {
    serde_json::from_str(&text(server, trusted, method, path, token, body).await).unwrap()
}

/// Someone with an account and a room. Token and room.
async fn someone(server: &Hubbub, trusted: &str) -> (String, String) {
    let account = json!({"name": "Ann", "email": "ann@example.org", "password": "correct horse"});
    ask(server, trusted, "POST", "/v1/accounts", "", &account).await;
    let token = ask(server, trusted, "POST", "/v1/accounts/login", "", &account).await;
    let token = token["token"].as_str().unwrap().to_owned();
    let room = ask(server, trusted, "POST", "/v1/chat/rooms", &token, &json!({"name": "The lobby"})).await;
    (token, room["id"].as_str().unwrap().into())
}

/// A WebSocket over TLS, spoken by hand.
struct Socket(TlsStream<TcpStream>);

impl Socket {
    async fn open(server: &Hubbub, trusted: &str, token: &str) -> Self {
        let mut stream = connect(server, trusted).await.unwrap();
        let upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let mut socket = Self(stream);
        assert_eq!(socket.hear().await["type"], "welcome");
        socket
    }

    async fn hear(&mut self) -> Value {
        assert_eq!(self.0.read_u8().await.unwrap(), 0x81, "a whole text frame");
        let length = match self.0.read_u8().await.unwrap() {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut text = vec![0; length as usize];
        self.0.read_exact(&mut text).await.unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    async fn say(&mut self, what: &Value) -> Value {
        let text = what.to_string();
        let mut frame = vec![0x81, 0xfe];
        frame.extend((text.len() as u16).to_be_bytes());
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
        loop {
            let heard = self.hear().await;
            if heard["ref"] == what["ref"] {
                return heard;
            }
        }
    }
}

#[tokio::test]
async fn everything_goes_over_tls_and_nothing_else_does() {
    let files = Files::new();
    let trusted = files.write(90);
    let server = Hubbub::start(files.start().with("--drain-window=0ms")).await.unwrap();
    assert!(server.log().contains("https://"), "{}", server.log());
    let protocol = connect(&server, &trusted).await.unwrap().get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]));

    // One that never shakes hands, and one that speaks no language, are in nobody's way.
    let _silent = TcpStream::connect(server.address()).await.unwrap();
    let mut babbler = TcpStream::connect(server.address()).await.unwrap();
    babbler.write_all(&[22; 600]).await.unwrap();
    let plain = request(server.address(), "GET", "/healthz", None, None).await.unwrap();
    assert_eq!((plain.status, plain.text.contains("use https:// or wss://")), (400, true), "{plain:?}");

    let (token, room) = someone(&server, &trusted).await;
    let mut socket = Socket::open(&server, &trusted, &token).await;
    let sent =
        socket.say(&json!({"type": "send", "ref": 1, "room": room, "text": "hello".repeat(800)})).await;
    assert_eq!(sent["type"], "ok", "{sent}");
    // Larger than all buffers on the way.
    let image = format!("data:image/png;base64,{}", "A".repeat(340 * 1024));
    for _ in 0..4 {
        let path = format!("/v1/chat/rooms/message/{room}");
        ask(&server, &trusted, "POST", &path, &token, &json!({"image": image})).await;
    }
    for _ in 0..4 {
        let mut heard = socket.hear().await;
        while heard["kind"] != "image" {
            heard = socket.hear().await;
        }
        assert_eq!(heard["image"], json!(image));
    }
    let shown = ask(&server, &trusted, "GET", &format!("/v1/chat/rooms/{room}"), &token, &json!({})).await;
    assert_eq!(shown["head"], 6);
    let metrics = text(&server, &trusted, "GET", "/metrics", "", &Value::Null).await;
    let until = (OffsetDateTime::now_utc() + Duration::days(89)).unix_timestamp();
    let line = metrics.lines().find_map(|line| line.strip_prefix("hubbub_gateway_tls_valid_until_seconds "));
    assert!(line.is_some_and(|said| said.parse::<f64>().unwrap() > until as f64), "{line:?}");

    server.ask_to_end().unwrap();
    assert_eq!(socket.hear().await["type"], "bye");
}

#[tokio::test]
async fn over_tls_too_who_reads_slowly_gets_the_answer_and_who_never_does_is_closed() {
    let files = Files::new();
    let trusted = files.write(90);
    let server = Hubbub::start(files.start().with("--slow-consumer-timeout=1s")).await.unwrap();
    let mut stream = connect(&server, &trusted).await.unwrap();
    let asks = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(300);
    stream.write_all(asks.as_bytes()).await.unwrap();
    let (mut piece, mut pieces) = (vec![0; 16 * 1024], interval(std::time::Duration::from_millis(50)));
    for _ in 0..60 {
        pieces.tick().await;
        stream.read_exact(&mut piece).await.unwrap();
    }
    let closed = async || {
        let metrics = text(&server, &trusted, "GET", "/metrics", "", &Value::Null).await;
        metrics.contains("hubbub_gateway_closed_total{reason=\"unread_answer\"} 1").then_some(())
    };
    eventually("the close is counted", closed).await;
}

async fn reloads(server: &Hubbub, line: &str, times: usize) {
    server.signal(Signal::HUP).unwrap();
    let said = async || (server.log().matches(line).count() == times).then_some(());
    eventually(&format!("the log says {line}"), said).await;
}

#[tokio::test]
async fn other_files_are_taken_at_sighup_and_bad_ones_are_not() {
    let files = Files::new();
    let first = files.write(90);
    let server = Hubbub::start(files.start()).await.unwrap();
    let (token, room) = someone(&server, &first).await;
    let mut socket = Socket::open(&server, &first, &token).await;
    let second = files.write(90);
    assert!(connect(&server, &first).await.is_ok(), "nothing is read before the signal");
    reloads(&server, "the TLS certificate was read again", 1).await;
    assert!(connect(&server, &second).await.is_ok() && connect(&server, &first).await.is_err());

    let kept = "the old one stays";
    files.write(-1);
    reloads(&server, kept, 1).await;
    files.put("garbage", "garbage");
    reloads(&server, kept, 2).await;
    let certificate = files.write(90);
    files.put(&certificate, &KeyPair::generate().unwrap().serialize_pem());
    reloads(&server, kept, 3).await;
    assert!(connect(&server, &second).await.is_ok());
    let log = server.log();
    for why in ["and not now", "has no certificate in PEM", "can't be used with the certificate"] {
        assert!(log.contains(why), "{why}: {log}");
    }
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    let sent =
        socket.say(&json!({"type": "send", "ref": 1, "room": room, "text": "still here".repeat(20)})).await;
    assert_eq!(sent["type"], "ok", "what was connected stays: {sent}");
}

#[tokio::test]
async fn a_certificate_that_can_not_be_used_stops_the_start() {
    let files = Files::new();
    let port = Hubbub::free_port().unwrap();
    let data = files.0.path().join("data");
    let start = async |start: Start, words: &str| {
        let (status, log) = start.run_to_end(port, &data).await.unwrap();
        assert_eq!(status.code(), Some(64), "{log}");
        assert!(log.contains(words) && log.lines().count() == 1, "{words}: {log}");
        assert!(!Path::new(&data).exists(), "the data was touched");
    };
    start(files.start(), "can't read").await;
    files.write(-1);
    start(files.start(), "and not now").await;
    files.put("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "");
    start(files.start(), "has a certificate that can't be read").await;
    let certificate = files.write(90);
    files.put(&certificate, "");
    start(files.start(), "has no private key in PEM").await;
    start(program().with("--tls-cert=cert.pem"), "go together").await;
}

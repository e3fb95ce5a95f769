//! Clients that ask and never listen, and then go: nothing of the server's stays with them.

use std::sync::Arc;

use hubbub_testkit::{DEADLINE, Hubbub, eventually, eventually_within};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::program;

/// Of each kind. More than the sockets of a request that are just being closed when they are counted.
const CLIENTS: usize = 4;
/// Half a mebibyte of pings: more than the kernel keeps for one that takes so little at a time.
const PINGS: usize = 4_096;
const PAYLOAD: u8 = 125;

/// A WebSocket on which nothing was said, and nothing is read.
pub struct Deaf<S>(S);

impl Deaf<TcpStream> {
    /// Opens one.
    pub async fn open(server: &Hubbub) -> Self {
        Self(connect(server).await).upgraded().await
    }
}

impl Deaf<TlsStream<TcpStream>> {
    async fn open_by_tls(server: &Hubbub, config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self(TlsConnector::from(config).connect(name, connect(server).await).await.unwrap()).upgraded().await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Deaf<S> {
    async fn upgraded(mut self) -> Self {
        let upgrade = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        self.0.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        self
    }

    /// Sends pings with so many bytes of payload.
    pub async fn ping(&mut self, count: usize, payload: u8) {
        self.0.write_all(&frame(0x89, payload).repeat(count)).await.unwrap();
    }

    /// Says that it closes.
    async fn close(&mut self) {
        self.0.write_all(&frame(0x88, 0)).await.unwrap();
    }

    /// Closes its side of the stream.
    async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}

/// A frame of zeros, masked by zeros.
fn frame(first: u8, payload: u8) -> Vec<u8> {
    let mut frame = vec![0; 6 + usize::from(payload)];
    (frame[0], frame[1]) = (first, 0x80 | payload);
    frame
}

/// A connection that takes little: with short segments the server's kernel keeps little for it as well.
async fn connect(server: &Hubbub) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket2::SockRef::from(&socket).set_tcp_mss(536).unwrap();
    socket.connect(server.address()).await.unwrap()
}

/// How many sockets a server has open.
fn sockets(server: &Hubbub) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    // One that was closed meanwhile has no link.
    let links = files.filter_map(|file| file.and_then(|file| file.path().read_link()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test]
async fn who_goes_with_answers_unread_leaves_no_socket_open() {
    // They are to be ended by themselves, and read to their end.
    let patient = program().with("--hello-timeout=10m").with("--connection-bytes-max=64MiB");
    let server = Hubbub::start(patient).await.unwrap();
    let before = sockets(&server);
    let mut deaf = Vec::new();
    for _ in 0..2 * CLIENTS {
        let mut one = Deaf::open(&server).await;
        one.ping(PINGS, PAYLOAD).await;
        deaf.push(one);
    }
    let metric = async |name: &str| server.metric(name).await.unwrap();
    let all = async || (metric("hubbub_gateway_slow_connections").await == deaf.len() as f64).then_some(());
    eventually("something waits for all of them", all).await;
    for pair in deaf.chunks_mut(2) {
        pair[0].close().await;
        pair[1].end().await;
    }
    let none = async || (metric("hubbub_gateway_connections").await == 0.0).then_some(());
    eventually("they are connections no more", none).await;
    eventually("their sockets are closed", async || (sockets(&server) <= before).then_some(())).await;
}

#[tokio::test]
async fn nor_does_one_behind_tls() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let start = program()
        .with(&format!("--tls-cert={}", file("cert.pem", &certificate.pem())))
        .with(&format!("--tls-key={}", file("key.pem", &key.serialize_pem())));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());

    let start = start.with("--hello-timeout=5s").with("--connection-bytes-max=64MiB");
    let server = Hubbub::start(start).await.unwrap();
    let before = sockets(&server);
    let mut deaf = Vec::new();
    for n in 0..2 * CLIENTS {
        let mut one = Deaf::open_by_tls(&server, config.clone()).await;
        one.ping(PINGS, PAYLOAD).await;
        // The others are closed by the server: they said no hello.
        if n % 2 == 0 {
            one.end().await;
        }
        deaf.push(one);
    }
    assert!(sockets(&server) > before + deaf.len(), "they are connected");
    // The server gives them some time, so that one that is only slow hears all.
    let closed = async || (sockets(&server) <= before).then_some(());
    eventually_within(2 * DEADLINE, "their sockets are closed", closed).await;
}

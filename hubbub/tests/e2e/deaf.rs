//! Clients that ask and never listen, and then go: nothing of the server's stays with them.

use hubbub_testkit::{Hubbub, eventually};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

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

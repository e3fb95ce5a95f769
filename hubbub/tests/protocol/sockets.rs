//! Sockets that hold on and say nothing.

use std::time::Duration;

use hubbub_testkit::{Hubbub, eventually, in_time};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, timeout};

use crate::talk::{Talk, frame};
use crate::{program, server};

/// Sockets that never finish what they began.
const HALF_OPEN: usize = 1_000;
/// So many requests with large answers that the kernel's buffers do not take them.
const ASKED: usize = 300;

#[tokio::test]
async fn a_thousand_half_open_sockets_keep_nobody_out_and_are_dropped_in_time() {
    let server = server().await;
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let begun: [&[u8]; 4] = [
        b"",
        b"GET /v1/ws HTT",
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ",
        b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    ];
    let mut sockets = Vec::with_capacity(HALF_OPEN);
    for n in 0..HALF_OPEN {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket.write_all(begun[n % begun.len()]).await.unwrap();
        sockets.push(socket);
    }
    ann.is_well().await;
    Talk::again(&server, &person).await.is_well().await;
    assert_eq!(server.get("/readyz", None).await.unwrap().status, 200);
    for mut socket in sockets {
        let mut rest = Vec::new();
        // Whether it ends with a 408, an end or a reset is up to the server; that it ends is not.
        let _ = in_time("the end of a half open socket", socket.read_to_end(&mut rest)).await;
    }
    ann.is_well().await;
}

#[tokio::test]
async fn one_who_asks_and_never_reads_holds_nobody_up_and_is_forgotten_when_it_goes() {
    // No ping finds it out.
    let server = Hubbub::start(program().with("--heartbeat=1h")).await.unwrap();
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let mut deaf = Talk::again(&server, &person).await;
    let ask = json!({"type": "ping", "ref": "x".repeat(64)}).to_string();
    let asks: Vec<u8> = (0..10_000).flat_map(|_| frame(0x81, ask.as_bytes())).collect();
    let still = Duration::from_secs(1);
    // Until nothing more is taken: that its answers wait is held against who does not read them.
    let mut taken = 0;
    while timeout(still, deaf.raw.send_bytes(&asks)).await.is_ok() {
        ann.is_well().await;
        taken += asks.len();
        assert!(taken < 1 << 30, "it goes on for ever");
    }
    ann.is_well().await;
    let resident = server.resident_bytes().unwrap();
    assert!(resident < 100 << 20, "{} MiB", resident >> 20);
    drop(deaf);
    let one = async || (server.metric("hubbub_gateway_connections").await.ok()? == 1.0).then_some(());
    eventually("the connection is forgotten", one).await;
    ann.is_well().await;
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let flags = program().with("--connections-of-address-max=20");
    let server = Hubbub::start(flags).await.unwrap();
    let mut held = Vec::new();
    let mut dropped = false;
    for _ in 0..40 {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut first = [0];
        let answered = match socket.write_all(request).await {
            Ok(()) => in_time("an answer or an end", socket.read(&mut first)).await.is_ok_and(|n| n == 1),
            Err(_) => false,
        };
        match answered {
            true => held.push(socket),
            false => dropped = true,
        }
    }
    assert!(dropped && held.len() <= 20, "{} of 40 were let in", held.len());
    drop(held);
    let well = async || server.get("/healthz", None).await.ok().filter(|answer| answer.status == 200);
    eventually("there is room again", well).await;
}

/// Asks for much without waiting for any of it, through a socket that keeps little itself.
async fn ask_for_much(server: &Hubbub) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(server.address()).await.unwrap();
    let asks = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(ASKED);
    socket.write_all(asks.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn one_who_asks_by_http_and_never_reads_is_closed_in_time() {
    let server = Hubbub::start(program().with("--slow-consumer-timeout=1s")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let mut deaf = ask_for_much(&server).await;
    let closed = "hubbub_gateway_closed_total{reason=\"unread_answer\"}";
    let counted = async || (server.metric(closed).await.ok()? == 1.0).then_some(());
    eventually("the close is counted", counted).await;
    let mut rest = Vec::new();
    let _ = in_time("the end of what is left", deaf.read_to_end(&mut rest)).await;
    ann.is_well().await;
}

#[tokio::test]
async fn one_who_reads_an_answer_slowly_gets_all_of_it() {
    let server = Hubbub::start(program().with("--slow-consumer-timeout=1s")).await.unwrap();
    let mut slow = ask_for_much(&server).await;
    let (mut piece, mut pieces) = (vec![0; 8 * 1024], interval(Duration::from_millis(50)));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        pieces.tick().await;
        let read = in_time("a piece", slow.read_exact(&mut piece)).await;
        assert!(read.is_ok(), "closed after {:?}", began.elapsed());
    }
}

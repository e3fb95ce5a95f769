//! Sockets that hold on and say nothing.

use hubbub_testkit::in_time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server;
use crate::talk::Talk;

/// Sockets that never finish what they began.
const HALF_OPEN: usize = 1_000;

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
async fn one_address_has_so_many_connections() {
    let flags = crate::program().with("--connections-of-address-max=20");
    let server = hubbub_testkit::Hubbub::start(flags).await.unwrap();
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
    hubbub_testkit::eventually("there is room again", well).await;
}

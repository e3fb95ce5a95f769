//! Whose address counts when a proxy is before the server.

use hubbub_testkit::{Hubbub, request_with};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program;

/// Upgrades with these headers. The status, and the connection.
async fn upgrade(server: &Hubbub, headers: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
}

#[tokio::test]
async fn each_client_behind_a_trusted_proxy_has_limits_of_its_own() {
    let server = program().with("--trusted-proxies=127.0.0.0/8").with("--connections-of-address-max=1");
    let server = Hubbub::start(server.with("--logins-per-second=1")).await.unwrap();
    let (status, _first) = upgrade(&server, "X-Forwarded-For: 192.0.2.1\r\n").await;
    assert_eq!(status, "101");
    for headers in
        ["X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-For: 198.51.100.1, 192.0.2.1, 127.0.0.2\r\n"]
    {
        assert_eq!(upgrade(&server, headers).await.0, "503", "{headers}");
    }
    // What the client wrote itself, or in the other header, moves nobody to another address.
    let (status, _second) =
        upgrade(&server, "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n").await;
    assert_eq!(status, "101");

    let mut tried = 0;
    let mut login = async |from: &str| {
        // An account has a limit of its own.
        tried += 1;
        let nobody = json!({"email": format!("{tried}@example.org"), "password": "wrong horse"});
        let from = [("X-Forwarded-For", from.to_owned())];
        let answer = request_with(server.address(), "POST", "/v1/accounts/login", &from, Some(&nobody)).await;
        answer.unwrap().status
    };
    let mut refused = false;
    for _ in 0..60 {
        refused |= login("192.0.2.3").await == 429;
    }
    assert!(refused, "an address may try a password without end");
    assert_eq!(login("192.0.2.4").await, 401);
}

#[tokio::test]
async fn all_addresses_of_one_network_of_version_6_are_one_client() {
    let server = program().with("--trusted-proxies=127.0.0.0/8").with("--connections-of-address-max=2");
    let server = Hubbub::start(server).await.unwrap();
    let (status, _first) = upgrade(&server, "X-Forwarded-For: 2001:db8:0:1::1\r\n").await;
    assert_eq!(status, "101");
    let (status, _second) = upgrade(&server, "X-Forwarded-For: 2001:db8:0:1::2\r\n").await;
    assert_eq!(status, "101");
    assert_eq!(upgrade(&server, "X-Forwarded-For: 2001:db8:0:1::3\r\n").await.0, "503");
    assert_eq!(upgrade(&server, "X-Forwarded-For: 2001:db8:0:2::1\r\n").await.0, "101");
}

#[tokio::test]
async fn the_word_of_a_stranger_about_its_address_does_not_count() {
    let server = program().with("--trusted-proxies=192.0.2.7,::1").with("--connections-of-address-max=2");
    let server = Hubbub::start(server).await.unwrap();
    // The address has as many as it may from here on, whatever it says of itself.
    let (status, _first) = upgrade(&server, "X-Forwarded-For: 192.0.2.1\r\n").await;
    assert_eq!(status, "101");
    let (status, _second) = upgrade(&server, "X-Forwarded-For: 192.0.2.2\r\n").await;
    assert_eq!(status, "101");
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
}

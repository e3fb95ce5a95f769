//! Who may upgrade, and what the others are told.

use hubbub_client::raw::Raw;
use hubbub_testkit::{Hubbub, Person};
use serde_json::json;

use crate::plain_http::{Response, exchange};
use crate::talk::Talk;
use crate::{program, server};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

async fn upgrade(server: &Hubbub, lines: &str) -> Response {
    upgrade_at(server, "/v1/ws", lines).await
}

async fn upgrade_at(server: &Hubbub, path: &str, lines: &str) -> Response {
    let text = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", server.address());
    exchange(server, text.as_bytes()).await
}

#[tokio::test]
async fn a_right_handshake_is_answered_with_its_key() {
    let server = server().await;
    let right = format!("{UPGRADE}{KEY}{VERSION}");
    let answer = upgrade(&server, &right).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(answer.header("sec-websocket-protocol"), "");
    let ours = upgrade(&server, &format!("{right}Sec-WebSocket-Protocol: chat, hubbub.v1\r\n")).await;
    assert_eq!((ours.status, ours.header("sec-websocket-protocol")), (101, "hubbub.v1"));
    let compressed =
        upgrade(&server, &format!("{right}Sec-WebSocket-Extensions: permessage-deflate\r\n")).await;
    assert_eq!((compressed.status, compressed.header("sec-websocket-extensions")), (101, ""));
}

#[tokio::test]
async fn a_handshake_that_lacks_something_is_refused() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let plain = upgrade(&server, "Connection: close\r\n").await;
    plain.is_problem("no upgrade", 426, "bad_request", 500);
    assert_eq!((plain.header("upgrade"), plain.header("connection")), ("websocket", "upgrade, close"));
    for lines in
        [format!("Upgrade: websocket\r\n{KEY}{VERSION}"), format!("Connection: Upgrade\r\n{KEY}{VERSION}")]
    {
        upgrade(&server, &lines).await.is_problem(&lines, 426, "bad_request", 500);
    }
    for lines in [format!("{UPGRADE}{KEY}"), format!("{UPGRADE}{KEY}Sec-WebSocket-Version: 8\r\n")] {
        let refused = upgrade(&server, &lines).await;
        refused.is_problem(&lines, 426, "bad_request", 500);
        assert_eq!(refused.header("sec-websocket-version"), "13", "{lines}");
    }
    let no_key = format!("{UPGRADE}{VERSION}");
    upgrade(&server, &no_key).await.is_problem(&no_key, 400, "bad_request", 500);
    let post = format!("POST /v1/ws HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{UPGRADE}{KEY}{VERSION}\r\n");
    exchange(&server, post.as_bytes()).await.is_problem("POST", 426, "bad_request", 500);
    ann.is_well().await;
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_connect_unless_it_is_listed() {
    let server = server().await;
    let right = format!("{UPGRADE}{KEY}{VERSION}");
    let from = |origin: &str| format!("{right}Origin: {origin}\r\n");
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"] {
        upgrade(&server, &from(origin)).await.is_problem(origin, 403, "forbidden", 500);
    }
    assert_eq!(upgrade(&server, &from(&format!("http://{}", server.address()))).await.status, 101);
    let open = Hubbub::start(program().with("--origins=https://app.example")).await.unwrap();
    assert_eq!(upgrade(&open, &from("https://app.example")).await.status, 101);
    assert_eq!(upgrade(&open, &from("https://app.example.evil")).await.status, 403);
}

#[tokio::test]
async fn a_token_may_come_with_the_upgrade() {
    let server = server().await;
    let ann = Person::register(&server, "Ann").await.unwrap();
    let url = server.ws_url();
    // As a client writes it who escapes whatever need not be.
    let escaped: String = ann.token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for (url, token) in [
        (url.clone(), Some(&*ann.token)),
        (format!("{url}?access_token={}", ann.token), None),
        (format!("{url}?v=1&access_token={escaped}"), None),
    ] {
        let mut raw = Raw::connect(&url, token).await.unwrap();
        let welcome = raw.next_json().await.unwrap();
        assert_eq!((&welcome["type"], welcome.get("ref")), (&json!("welcome"), None));
        assert_eq!(welcome["user"], json!({"id": ann.id.as_str(), "name": "Ann", "roles": ["user"]}));
    }
    for (url, token) in [(url.clone(), Some("wrong")), (format!("{url}?access_token=wrong"), None)] {
        let mut raw = Raw::connect(&url, token).await.unwrap();
        let error = raw.next_json().await.unwrap();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unauthorized")));
        assert_eq!(raw.next_json().await.unwrap()["reason"], "not_authenticated");
        let closed = raw.next().await;
        assert!(matches!(&closed, hubbub_client::raw::Frame::Closed { code: Some(4401), .. }), "{closed:?}");
    }
}

#[tokio::test]
async fn a_full_server_says_so() {
    let server = Hubbub::start(program().with("--connections-max=1")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let refused = upgrade(&server, &format!("{UPGRADE}{KEY}{VERSION}")).await;
    refused.is_problem("full", 503, "unavailable", 500);
    assert!(!refused.header("retry-after").is_empty());
    ann.is_well().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_or_wrong_is_refused() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let long = "x".repeat(20_000);
    let right = format!("{UPGRADE}{KEY}{VERSION}");
    for status in [
        upgrade(&server, &format!("{right}X-Long: {long}\r\n")).await.status,
        upgrade_at(&server, &format!("/v1/ws?access_token={long}"), &right).await.status,
        upgrade_at(&server, &format!("/v1/chat/rooms?cursor={long}"), "").await.status,
        upgrade_at(&server, "/healthz", &"X-Many: 1\r\n".repeat(200)).await.status,
    ] {
        assert!(matches!(status, 414 | 431), "{status}");
    }
    for junk in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        assert_eq!(exchange(&server, junk).await.status, 400, "{junk:?}");
    }
    assert_eq!(exchange(&server, b"GET /healthz HTTP/1.0\r\n\r\n").await.status, 200);
    ann.is_well().await;
}

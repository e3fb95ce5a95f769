//! The bare socket.

use hubbub_client::Error;
use hubbub_client::raw::{Frame, Raw};
use hubbub_core::code::CloseCode;
use hyper::StatusCode;
use serde_json::json;

use super::server::{Heard, Server, soon};

#[tokio::test]
async fn it_says_what_it_is_told_and_nothing_else() {
    let mut server = Server::start().await;
    let url = server.url.clone();
    let (raw, mut connection) = tokio::join!(Raw::connect(&url, Some("t")), server.accept());
    let mut raw = raw.unwrap();
    raw.send_json(&json!({"type": "ping"})).await.unwrap();
    assert_eq!(connection.hears().await, json!({"type": "ping"}));
    raw.ping(b"p").await.unwrap();
    assert_eq!(connection.next().await, Heard::Ping(b"p".to_vec()));
    // A ping, a pong, a text in two fragments: read as they are, and not answered.
    connection.writes(b"\x89\x01p\x8A\x00\x01\x01{\x80\x01}").await;
    assert_eq!(soon("frame", raw.next()).await, Frame::Ping(b"p".to_vec()));
    assert_eq!(soon("frame", raw.next_json()).await, Ok(json!({})));
    raw.close(CloseCode::Normal).await.unwrap();
    assert_eq!(connection.next().await, Heard::Close(Some(1000)));
    connection.closes(4401, "not_authenticated").await;
    let closed = Frame::Closed { code: Some(4401), reason: "not_authenticated".into() };
    assert_eq!(soon("frame", raw.next_json()).await, Err(closed));
}

#[tokio::test]
async fn it_sends_bytes_that_are_no_frames() {
    let mut server = Server::start().await;
    let url = server.url.clone();
    let (raw, mut connection) = tokio::join!(Raw::connect(&url, None), server.accept());
    let mut raw = raw.unwrap();
    raw.send_bytes(b"\x81\x01x").await.unwrap();
    assert_eq!(connection.next().await, Heard::Violation(1002));
    drop(connection);
    assert!(matches!(soon("end", raw.next()).await, Frame::Closed { code: None, .. }));
}

#[tokio::test]
async fn it_tells_the_status_of_a_refusal() {
    let server = Server::answering(StatusCode::UNAUTHORIZED).await;
    let error = Raw::connect(&server.url, Some("bad")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { status: Some(401), .. }), "{error:?}");
}

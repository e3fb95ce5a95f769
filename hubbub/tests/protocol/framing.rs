//! What breaks the WebSocket protocol closes the connection, with the right code, and only that one.

use hubbub_client::raw::Frame;
use hubbub_testkit::in_time;
use serde_json::json;

use crate::server;
use crate::talk::{Talk, frame};

const TEXT: u8 = 0x81;
const TEXT_BEGINS: u8 = 0x01;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const RESERVED_BIT: u8 = 0x40;
const LIMIT: usize = 512 * 1024;

fn claim(bytes: u64) -> Vec<u8> {
    let mut head = vec![TEXT, 0x80 | 127];
    head.extend(bytes.to_be_bytes());
    head.extend([0; 4]);
    head
}

#[tokio::test]
async fn a_broken_frame_closes_its_connection_with_the_right_code_and_no_other() {
    let server = server().await;
    let (mut witness, person) = Talk::of(&server, "Ann").await;
    let half = vec![b'x'; LIMIT / 2 + 1];
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("text that is not UTF-8", frame(TEXT, b"\xc3\x28"), 1007, "invalid_text"),
        ("an unmasked frame", vec![TEXT, 2, b'{', b'}'], 1002, "protocol_error"),
        ("a reserved bit", frame(TEXT | RESERVED_BIT, b"{}"), 1002, "protocol_error"),
        ("a reserved opcode", frame(0x83, b"{}"), 1002, "protocol_error"),
        ("a reserved control opcode", frame(0x8b, b""), 1002, "protocol_error"),
        ("a claim of 2 GB", claim(2 << 30), 1009, "too_big"),
        ("a claim of 2^63 bytes", claim(1 << 63), 1002, "protocol_error"),
        ("a length in too many bytes", claim(1), 1002, "protocol_error"),
        ("a frame over the limit", frame(TEXT, &vec![b' '; LIMIT + 1]), 1009, "too_big"),
        (
            "fragments that are too much together",
            [frame(TEXT_BEGINS, &half), frame(ENDS, &half)].concat(),
            1009,
            "too_big",
        ),
        (
            "a ref of 1 MB",
            frame(TEXT, format!("{{\"ref\":\"{}\"}}", "x".repeat(1 << 20)).as_bytes()),
            1009,
            "too_big",
        ),
        ("a long ping", frame(PING, &[0; 126]), 1002, "protocol_error"),
        ("a ping in pieces", frame(0x09, b""), 1002, "protocol_error"),
        ("nothing to go on with", frame(ENDS, b"x"), 1002, "protocol_error"),
        (
            "a message inside a message",
            [frame(TEXT_BEGINS, b"{"), frame(TEXT, b"{}")].concat(),
            1002,
            "protocol_error",
        ),
        ("half a close code", frame(CLOSE, &[3]), 1002, "protocol_error"),
        ("a close code that must not be sent", frame(CLOSE, &1005u16.to_be_bytes()), 1002, "protocol_error"),
        ("a close reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007, "invalid_text"),
        ("a binary frame", frame(BINARY, b"{}"), 1008, "policy"),
    ];
    for (what, bytes, code, reason) in cases {
        let mut culprit = Talk::again(&server, &person).await;
        culprit.raw.send_bytes(&bytes).await.unwrap();
        let (bye, closed, why) = culprit.end().await;
        assert_eq!((closed, &*why), (Some(code), reason), "{what}");
        assert_eq!(bye.expect(what)["reason"], reason, "{what}");
        witness.is_well().await;
    }
}

#[tokio::test]
async fn before_hello_frames_are_judged_the_same() {
    let server = server().await;
    for (bytes, code) in [(vec![TEXT, 0], 1002), (frame(TEXT, b"\xff"), 1007), (claim(2 << 30), 1009)] {
        let mut stranger = Talk::silent(&server).await;
        stranger.raw.send_bytes(&bytes).await.unwrap();
        assert_eq!(stranger.end().await.1, Some(code));
    }
}

#[tokio::test]
async fn what_was_asked_before_the_broken_frame_is_answered() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let pings = (1..=3).map(|n| frame(TEXT, format!(r#"{{"type":"ping","ref":{n}}}"#).as_bytes()));
    let all: Vec<u8> = pings.chain([vec![TEXT, 0]]).flatten().collect();
    ann.raw.send_bytes(&all).await.unwrap();
    for n in 1..=3 {
        assert_eq!(ann.answer(&json!(n)).await["type"], "pong");
    }
    assert_eq!(ann.end().await.1, Some(1002));
}

#[tokio::test]
async fn a_message_may_come_in_pieces_with_a_ping_between_them() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let pieces = [
        frame(TEXT_BEGINS, br#"{"type":"pi"#),
        frame(PING, b"are you there"),
        frame(GOES_ON, br#"ng","ref":"#),
        frame(GOES_ON, b""),
        frame(ENDS, b"7}"),
    ];
    // A byte at a time, as a slow network would bring it.
    for byte in pieces.concat() {
        ann.raw.send_bytes(&[byte]).await.unwrap();
    }
    assert_eq!(in_time("a pong", ann.raw.next()).await, Frame::Pong(b"are you there".into()));
    assert_eq!(ann.answer(&json!(7)).await["type"], "pong");
    // A character may be cut in two.
    let pieces = [frame(TEXT_BEGINS, b"{\"type\":\"ping\",\"ref\":\"\xc3"), frame(ENDS, b"\xa9\"}")];
    ann.raw.send_bytes(&pieces.concat()).await.unwrap();
    assert_eq!(ann.answer(&json!("é")).await["type"], "pong");
}

#[tokio::test]
async fn pings_are_answered_before_hello_and_after() {
    let server = server().await;
    let mut stranger = Talk::silent(&server).await;
    for payload in [&b""[..], &[0; 125]] {
        stranger.raw.ping(payload).await.unwrap();
        assert_eq!(in_time("a pong", stranger.raw.next()).await, Frame::Pong(payload.into()));
    }
    // A pong that nobody asked for is nothing.
    stranger.raw.send_bytes(&frame(0x8a, b"x")).await.unwrap();
    stranger.is_well().await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let server = server().await;
    let (mut witness, person) = Talk::of(&server, "Ann").await;
    let cases = [
        (frame(CLOSE, &1000u16.to_be_bytes()), Some(1000)),
        (frame(CLOSE, &[&1001u16.to_be_bytes()[..], b"leaving"].concat()), Some(1001)),
        (frame(CLOSE, &3000u16.to_be_bytes()), Some(3000)),
        (frame(CLOSE, &4999u16.to_be_bytes()), Some(4999)),
        (frame(CLOSE, b""), None),
    ];
    for (bytes, code) in cases {
        let mut talk = Talk::again(&server, &person).await;
        talk.raw.send_bytes(&bytes).await.unwrap();
        let (bye, closed, _) = talk.end().await;
        assert_eq!((bye, closed), (None, code));
        witness.is_well().await;
    }
}

//! A server that has too much to carry says so to who comes and to the load balancer, while those who are there go on.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hubbub_client::Error;
use hubbub_client::raw::{Frame, Raw};
use hubbub_testkit::{Hubbub, Person, Signal, Start, eventually, in_time};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Room, program, server};

const MIB: u64 = 1 << 20;
/// How much more than at rest it may hold: more than what it takes to hash a password.
const SPARE: u64 = 48 * MIB;
/// Of a message of 16 MiB, what is said of it.
const SAID: usize = 15 << 20;
/// Who says that much: together twice what is spare.
const SPEAKERS: usize = 7;

/// Waits until it takes nobody new, and says so: by its readiness, and by 503 at both doors.
async fn takes_nobody(server: &Hubbub, person: &Person, why: &str) {
    eventually(why, async || {
        let ready = server.get("/readyz", None).await.ok()?;
        (ready.status == 503 && ready.text.contains(why)).then_some(())
    })
    .await;
    let native = async || match person.raw().await {
        Err(Error::Connect { status: Some(503), .. }) => Some(()),
        _ => None,
    };
    eventually("a WebSocket is refused", native).await;
    let socketio = async || {
        let refused = server.get("/socket.io/?EIO=4&transport=polling", None).await.ok()?;
        (refused.status == 503).then(|| refused.json()["retry_after_ms"].as_u64())
    };
    let after_ms = eventually("a session is refused", socketio).await.unwrap();
    assert!((5_000..15_000).contains(&after_ms), "{after_ms}");
}

async fn takes_all(server: &Hubbub, person: &Person) {
    let ready = async || (server.get("/readyz", None).await.ok()?.status == 200).then_some(());
    eventually("it is ready again", ready).await;
    eventually("a WebSocket is let in", async || person.raw().await.ok()).await;
}

async fn refused_for(server: &Hubbub, reason: &str) -> bool {
    let metrics = server.get("/metrics", None).await.unwrap().text;
    metrics.contains(&format!("hubbub_gateway_refused_total{{reason=\"{reason}\"}}"))
}

/// A connection that was let in, in the test's own hands.
async fn let_in(server: &Hubbub, person: &Person) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n",
        server.address(),
        person.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("welcome") {
        let mut some = [0; 4_096];
        let count = in_time("a welcome", stream.read(&mut some)).await.unwrap();
        assert!(count > 0, "{answer}");
        answer += &String::from_utf8_lossy(&some[..count]);
    }
    stream
}

/// Says a message not to its end: what was said of it the server has to keep.
async fn says_half(stream: &mut TcpStream) {
    // A text, masked by zeros.
    let mut frame = vec![0x81, 0xFF];
    frame.extend((16_u64 << 20).to_be_bytes());
    frame.resize(frame.len() + 4 + SAID, 0);
    stream.write_all(&frame).await.unwrap();
}

#[tokio::test]
async fn without_memory_nobody_new_is_taken_until_there_is_enough_again() {
    let at_rest = server().await.resident_bytes().unwrap();
    let limited = program()
        .with(&format!("--memory-max={}MiB", (at_rest + SPARE) / MIB))
        .with("--frame-bytes-max=16MiB")
        .with("--heartbeat=1h")
        .with("--hello-timeout=10m");
    let server = Hubbub::start(limited).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut silent = bob.raw().await.unwrap();
    let socketio = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address());
    let mut silent_socketio = Raw::connect(&socketio, None).await.unwrap();

    let mut speakers = Vec::new();
    for _ in 0..SPEAKERS {
        speakers.push(let_in(&server, &bob).await);
    }
    for speaker in &mut speakers {
        says_half(speaker).await;
    }
    takes_nobody(&server, &bob, "of memory").await;
    assert!(refused_for(&server, "memory").await);
    // Who came before and did not say who they are is sent away; who did goes on.
    silent.send_json(&json!({"type": "hello", "token": bob.token})).await.unwrap();
    let bye = in_time("a bye", silent.next_json()).await.unwrap();
    assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("try_again_later")), "{bye}");
    assert!(bye["reconnect_after_ms"].as_u64().unwrap() >= 5_000);
    closes(&mut silent, 1013).await;
    let entering = format!("40/v1/channel,{{\"token\":\"{}\"}}", bob.token);
    silent_socketio.send_text(entering).await.unwrap();
    closes(&mut silent_socketio, 1013).await;
    room.owner.send_text(&room.id, "we go on", None).await.unwrap();

    drop(speakers);
    takes_all(&server, &bob).await;
}

async fn closes(raw: &mut Raw, expected: u16) {
    loop {
        if let Frame::Closed { code, .. } = in_time("the end", raw.next()).await {
            assert_eq!(code, Some(expected));
            return;
        }
    }
}

/// A shell's limit that counts for what it starts, and the one up to which that may raise it.
const FILES: (u64, u64) = (100, 250);

/// A server that may have few files open.
async fn with_few_files() -> (Hubbub, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let limited = folder.path().join("limited");
    let (soft, hard) = FILES;
    let script = format!(
        "#!/bin/sh\nulimit -Sn {soft}\nulimit -Hn {hard}\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_hubbub")
    );
    std::fs::write(&limited, script).unwrap();
    std::fs::set_permissions(&limited, std::fs::Permissions::from_mode(0o755)).unwrap();
    (Hubbub::start(Start::program(limited)).await.unwrap(), folder)
}

#[tokio::test]
async fn who_says_nothing_takes_no_file_that_is_needed_and_not_for_long() {
    let (server, _folder) = with_few_files().await;
    let room = Room::with_owner(&server, "ann").await;
    let mut silent = Vec::new();
    for _ in 0..FILES.1 {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    // Of those that have no place the server has let go by now, and still has files for itself.
    room.owner.send_text(&room.id, "we go on", None).await.unwrap();
    for stream in silent.iter_mut().rev().take(10) {
        let closed = in_time("it is closed", stream.read(&mut [0])).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    eventually("there is place again", async || server.get("/healthz", None).await.ok()).await;
    assert!(refused_for(&server, "no_place").await && !refused_for(&server, "not_accepted").await);
}

#[tokio::test]
async fn as_many_connections_are_taken_as_fit_in_the_files_that_may_be_open() {
    let (soft, hard) = FILES;
    let (server, _folder) = with_few_files().await;
    let room = Room::with_owner(&server, "ann").await;
    let mut others = Vec::new();
    while let Ok(one) = room.ann.raw().await {
        others.push(one);
        assert!((others.len() as u64) < hard, "they don't fit");
    }
    assert!(others.len() as u64 > soft, "only {}", others.len());
    takes_nobody(&server, &room.ann, "connections").await;
    assert!(refused_for(&server, "full").await && !refused_for(&server, "not_accepted").await);
    room.owner.send_text(&room.id, "we go on", None).await.unwrap();
    assert!(server.log().contains("raise ulimit -Hn"), "{}", server.log());
    drop(others);
    takes_all(&server, &room.ann).await;
}

#[tokio::test]
async fn without_cpu_nobody_new_is_taken_until_there_is_enough_again() {
    let server = Hubbub::start(program().with("--loop-lag-max=100ms")).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    // The process is given its CPU for a moment only, again and again.
    let starved = async {
        loop {
            server.signal(Signal::STOP).unwrap();
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.signal(Signal::CONT).unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::select! {
        () = starved => {}
        () = takes_nobody(&server, &room.ann, "late") => {}
    }
    server.signal(Signal::CONT).unwrap();
    assert!(refused_for(&server, "late").await);
    room.owner.send_text(&room.id, "we go on", None).await.unwrap();
    takes_all(&server, &room.ann).await;
}

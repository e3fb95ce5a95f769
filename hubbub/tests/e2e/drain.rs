//! SIGTERM drains: everybody is told, everything acknowledged is there afterwards. What can't start says why in a line.

use std::collections::BTreeSet;
use std::time::Instant;

use hubbub_testkit::checker::{self, History, Outcome, Seen};
use hubbub_testkit::{Hubbub, eventually, in_time};

use crate::common::{Room, program, send, server, whole_log};
use crate::peer::Peer;

#[tokio::test]
async fn sigterm_drains() {
    let mut server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(Peer::hello(&bob).await);
    }
    let began = Instant::now();
    let mut senders = Vec::new();
    for n in 0..4 {
        let (client, room) = (crate::common::connect(&room.ann).await, room.id.clone());
        senders.push(tokio::spawn(async move {
            let mut all = Vec::new();
            // Until the server lets the connection go.
            while all.last().is_none_or(|sent: &checker::Sent| matches!(sent.outcome, Outcome::Acked { .. }))
            {
                all.push(send(&client, &room, began, format!("{n}-{}", all.len())).await);
            }
            all
        }));
    }
    peers[0].next_of("message").await;

    let exit = server.terminate().await.unwrap();
    assert!(exit.success(), "{exit}");
    let mut delays = BTreeSet::new();
    for mut peer in peers {
        let ending = peer.ending().await;
        let bye = ending.bye.expect("a bye");
        assert_eq!(ending.code, Some(1001), "{bye}");
        delays.insert(bye["reconnect_after_ms"].as_u64().unwrap());
    }
    assert!(delays.len() > 10, "each its own time to come back: {delays:?}");

    let mut sent = Vec::new();
    for sender in senders {
        sent.append(&mut in_time("the sender's end", sender).await.unwrap());
    }
    server.restart().await.unwrap();
    let client = crate::common::connect(&bob).await;
    let log: Vec<Seen> = whole_log(&client, &room.id).await.iter().map(Seen::from).collect();
    assert_eq!(checker::check(&History { sent, log, ..History::default() }), []);
}

#[tokio::test]
async fn it_is_unready_first_and_serves_all_who_come_meanwhile() {
    let mut server = Hubbub::start(program().with("--drain-delay=1h")).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    server.ask_to_end().unwrap();
    let unready = eventually("it is unready", async || {
        let ready = server.get("/readyz", None).await.unwrap();
        (ready.status == 503).then_some(ready.text)
    })
    .await;
    assert!(unready.contains("the server is draining"), "{unready}");
    // Whoever is there goes on, and who was on their way is let in.
    room.send_many(1).await;
    let bob = room.member(&server, "bob").await;
    Peer::hello(&bob).await;
    server.ask_to_end().unwrap();
    assert_eq!(server.ended().await.unwrap().code(), Some(143));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    // Those who do not close by themselves hold the drain up.
    let mut peers = Vec::new();
    for _ in 0..100 {
        peers.push(Peer::hello(&room.ann).await);
    }
    server.ask_to_end().unwrap();
    peers[0].next_of("bye").await;
    server.ask_to_end().unwrap();
    assert_eq!(server.ended().await.unwrap().code(), Some(143));
}

#[tokio::test]
async fn what_can_not_start_says_why_in_a_line() {
    let server = server().await;
    let port = server.address().port();
    let free = Hubbub::free_port().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    for (what, port, data, names) in [
        ("the port is in use", port, folder.path().join("data"), port.to_string()),
        ("the data folder is in use", free, server.data(), server.data().display().to_string()),
        ("the data folder is a file", free, file.clone(), file.display().to_string()),
    ] {
        let (exit, said) = program().run_to_end(port, &data).await.unwrap();
        assert!(exit.code().is_some_and(|code| code != 0), "{what}: {exit}");
        assert_eq!(said.trim_end().lines().count(), 1, "{what}: {said}");
        assert!(said.starts_with("hubbub: ") && said.contains(&names), "{what}: {said}");
    }
    assert!(!folder.path().join("data").exists(), "a start by mistake leaves the data alone");
    assert_eq!(server.get("/healthz", None).await.unwrap().status, 200, "the one that runs runs on");
}

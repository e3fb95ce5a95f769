//! A large directory is told to whoever enters, as slowly as they read it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use hubbub_client::raw::Frame;
use hubbub_testkit::{Hubbub, in_time};

use super::clients::{NAMESPACE, http, packet, session, websocket};
use crate::common::{Room, program};

/// A server with so many rooms, of which each is half a kilobyte to tell.
async fn with_rooms(server: &Hubbub, count: usize) -> Room {
    let room = Room::with_owner(server, "ann").await;
    let topic = "x".repeat(256);
    let names: Vec<_> = (1..count).map(|n| format!("{n:080}")).collect();
    for some in names.chunks(32) {
        for made in join_all(some.iter().map(|name| room.owner.create(name, &topic))).await {
            made.unwrap();
        }
    }
    room
}

#[tokio::test]
async fn one_that_polls_has_the_time_that_it_takes_to_read() {
    const ROOMS: usize = 1_000;
    let server =
        Hubbub::start(program().with("--slow-consumer-timeout=1s").with("--heartbeat=1h")).await.unwrap();
    let room = with_rooms(&server, ROOMS).await;
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", room.ann.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    let mut told = 0;
    while told < ROOMS {
        let body = http(&server, "GET", &query, "", "").await;
        assert_eq!(body.status, 200, "{told} rooms were told: {body:?}");
        told += body.body.matches("[\"chatroom\",").count();
        // A client far away, of whom each poll takes its time.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

/// The official clients poll no more once they try a WebSocket, and go on when what they posted is answered.
#[tokio::test]
async fn what_is_posted_while_it_changes_over_waits_for_no_poll() {
    let server = Hubbub::start(program()).await.unwrap();
    let room = with_rooms(&server, 600).await;
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", room.ann.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    let asks = |from: usize| {
        let asks: Vec<_> = (from..from + 6).map(|n| format!("42{NAMESPACE},{n}[\"chatrooms\"]")).collect();
        asks.join("\u{1e}")
    };
    // More than may be under way at once. What waits to be polled holds up the rest.
    let first = asks(10);
    let mut posted = std::pin::pin!(http(&server, "POST", &query, "", &first));
    assert!(
        tokio::time::timeout(Duration::from_millis(500), &mut posted).await.is_err(),
        "nothing that waits is polled"
    );
    let mut raw = websocket(&server, &query.replace("polling", "websocket")).await;
    raw.send_text("2probe").await.unwrap();
    assert_eq!(in_time("a pong", raw.next()).await, Frame::Text("3probe".into()));
    let answered = tokio::time::timeout(Duration::from_secs(5), &mut posted).await.expect("an answer");
    assert_eq!(answered.body, "ok");
    raw.send_text("5").await.unwrap();
    raw.send_text(format!("42{NAMESPACE},16[\"chatrooms\"]")).await.unwrap();
    let begins = format!("43{NAMESPACE},");
    let mut answered = BTreeSet::new();
    while answered.len() < 7 {
        let answer = packet(&mut raw, &begins).await;
        answered.insert(answer[begins.len()..].split_once('[').unwrap().0.to_owned());
    }
    assert_eq!(answered, (10..17).map(|n| n.to_string()).collect());
}

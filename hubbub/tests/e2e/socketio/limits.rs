//! Whoever is late, silent or slow is let go, and costs no memory meanwhile.

use hubbub_testkit::{Hubbub, Person, Start, eventually};
use serde_json::json;

use super::clients::{NAMESPACE, ask, closed, http, packet, session, socket, websocket};
use crate::common::{Room, program};
use crate::slow::flood;

const MIB: u64 = 1 << 20;
/// 16 KiB each.
const SENT: usize = 1_200;
const STALLED: usize = 8;
/// What waits for the stalled ones may be 2 MiB; without a limit it would be 150 MiB.
const GROWTH_MAX: u64 = 24 * MIB;

async fn connections(server: &Hubbub, count: f64) {
    eventually(&format!("{count} connections"), async || {
        (server.metric("hubbub_gateway_connections").await.ok()? == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_that_says_no_token_or_nothing_any_more_is_closed() {
    let patience = program().with("--hello-timeout=1s").with("--heartbeat=2s");
    let server = Hubbub::start(patience.with("--connections-of-user-max=4")).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let query = session(&server).await;
    let mut raw = websocket(&server, "EIO=4&transport=websocket").await;
    connections(&server, 2.0).await;
    // It may be pinged before.
    loop {
        let told = http(&server, "GET", &query, "", "").await;
        assert_eq!(told.status, 200, "{told:?}");
        if told.body.ends_with('1') {
            break;
        }
    }
    assert_eq!(closed(&mut raw).await, Some(4408));
    connections(&server, 0.0).await;
    // One is pinged, and says nothing; the other should ping, and does not.
    let (mut new, mut old) = (socket(&server, 4, &ann.token).await, socket(&server, 3, &ann.token).await);
    packet(&mut new, "2").await;
    assert_eq!((closed(&mut new).await, closed(&mut old).await), (Some(1001), Some(1001)));
    // One that polls no more.
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", ann.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    connections(&server, 0.0).await;
}

#[tokio::test]
async fn a_user_has_as_many_sockets_as_connections() {
    let server = Hubbub::start(program().with("--connections-of-user-max=2")).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let _two = (socket(&server, 4, &ann.token).await, socket(&server, 3, &ann.token).await);
    let mut third = websocket(&server, &format!("EIO=4&transport=websocket&token={}", ann.token)).await;
    third.send_text(format!("40{NAMESPACE},")).await.unwrap();
    // Not to come back by itself.
    packet(&mut third, &format!("41{NAMESPACE},")).await;
    assert_eq!(closed(&mut third).await, Some(4429));
}

#[tokio::test]
async fn readers_that_stop_are_told_and_cost_no_memory() {
    let patient = program().with("--slow-consumer-timeout=1h").with("--heartbeat=1h");
    let server = Hubbub::start(patient).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    flood(&room, 64).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", bob.token);
    let (mut sockets, mut polls) = (Vec::new(), Vec::new());
    for _ in 0..STALLED / 2 {
        sockets.push(socket(&server, 4, &bob.token).await);
        let query = session(&server).await;
        assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
        polls.push(query);
    }
    let before = server.resident_bytes().unwrap();
    flood(&room, SENT).await;
    let growth = server.resident_bytes().unwrap().saturating_sub(before);
    println!("{} MiB for each of {STALLED}; {} MiB more memory", SENT * 16 / 1024, growth / MIB);
    assert!(growth < GROWTH_MAX, "{growth} bytes more than the {before} before");
    let behind = format!("42{NAMESPACE},[\"behind\",{{\"chatroom\":\"{}\"", room.id);
    packet(&mut sockets[0], &behind).await;
    // A body has 16 packets at most; how many messages wait depends on how many came in one turn.
    let mut waited = 0;
    loop {
        let body = http(&server, "GET", &polls[0], "", "").await.body;
        waited += body.len() as u64;
        // What stands for the kernel's part, what any connection may have, and JSON's own.
        assert!(waited <= MIB + MIB / 2, "{waited} bytes waited");
        if body.rsplit('\u{1e}').next().is_some_and(|last| last.starts_with(&behind)) {
            break;
        }
    }
    // From here on both are sent what is said.
    room.send_many(1).await;
    packet(&mut sockets[0], &format!("42{NAMESPACE},[\"message\"")).await;
    let live = http(&server, "GET", &polls[0], "", "").await.body;
    assert!(live.contains("message 0"), "{live}");
}

/// There is no kernel that keeps them for one that polls.
#[tokio::test]
async fn pictures_that_come_between_two_polls_are_all_there() {
    let server = Hubbub::start(program()).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", bob.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    let mut told = String::new();
    while !told.contains("\"authentication\"") {
        told = http(&server, "GET", &query, "", "").await.body;
    }
    let image = format!("data:image/png;base64,{}", "A".repeat(200 * 1024));
    for _ in 0..3 {
        room.owner.send_image(&room.id, &image, None).await.unwrap();
    }
    room.owner.send_text(&room.id, "and a word", None).await.unwrap();
    let mut pictures = 0;
    while !told.contains("and a word") {
        told = http(&server, "GET", &query, "", "").await.body;
        assert!(!told.contains("\"behind\""), "one that polls as it should is not behind");
        pictures += told.matches("data:image/png").count();
    }
    assert_eq!(pictures, 3);
}

#[tokio::test]
async fn readers_that_never_read_again_are_closed() {
    let server =
        Hubbub::start(program().with("--slow-consumer-timeout=1s").with("--heartbeat=1h")).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut raw = socket(&server, 4, &bob.token).await;
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", bob.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    connections(&server, 3.0).await;
    flood(&room, SENT).await;
    connections(&server, 1.0).await;
    assert_eq!(http(&server, "GET", &query, "", "").await.json()["code"], 1);
    // What the kernel had taken can still be read, and then the end; a code comes only if there was room for it.
    let code = closed(&mut raw).await;
    assert!(matches!(code, None | Some(4413)), "{code:?}");
}

/// What is left out is read all the same, by as many reads as it takes, each of which counts.
#[tokio::test]
async fn who_leaves_out_much_has_read_much() {
    let strict = Start::program(env!("CARGO_BIN_EXE_hubbub")).with("--reads-per-second=1");
    let server = Hubbub::start(strict).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    // Three times as many pages as reads that may come at once.
    flood(&room, 30 * 64).await;
    let bob = room.member(&server, "bob").await;
    let mut raw = socket(&server, 4, &bob.token).await;
    let mut history = async |number: u32, skip: usize| {
        let ask = json!(["history", {"chatroom": room.id, "skip": skip, "limit": 1}]);
        raw.send_text(format!("42{NAMESPACE},{number}{ask}")).await.unwrap();
        packet(&mut raw, &format!("43{NAMESPACE},{number}[")).await
    };
    let answer = history(1, 30 * 64 - 1).await;
    assert!(answer.contains("\"error\":604"), "thirty pages were one read");
    let mut number = 1;
    let again = async || {
        number += 1;
        history(number, 0).await.contains("\"error\":0").then_some(())
    };
    eventually("one page is read", again).await;
}

#[tokio::test]
async fn a_poll_that_is_given_up_ends_the_session() {
    let server = Hubbub::start(program()).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", ann.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    assert_eq!(http(&server, "GET", &query, "", "").await.status, 200);
    connections(&server, 1.0).await;
    let poll = ask(server.address(), "GET", &query, "", "").await;
    // Answered after the server took the poll: one whose end comes together with it is none, and ends nothing.
    connections(&server, 1.0).await;
    drop(poll);
    connections(&server, 0.0).await;
    // A WebSocket that is cut off ends its own.
    let raw = socket(&server, 4, &ann.token).await;
    connections(&server, 1.0).await;
    drop(raw);
    connections(&server, 0.0).await;
}

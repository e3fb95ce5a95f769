//! Membership is in the order of the log, and it is the user's: all their connections follow.

use hubbub_testkit::{Hubbub, Person, in_time};
use serde_json::{Value, json};

use crate::common::{Room, program, server};
use crate::peer::Peer;

const CONNECTIONS: usize = 3;

/// Entries of a room among events: their seqs.
fn seqs(events: &[Value], room: &Room) -> Vec<u64> {
    let of_room = |event: &&Value| event["room"] == json!(room.id) && event.get("seq").is_some();
    events.iter().filter(of_room).map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// A member with several connections.
async fn with_connections(server: &Hubbub, room: &Room) -> (Person, Vec<Peer>) {
    let bob = room.member(server, "bob").await;
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        peers.push(Peer::hello(&bob).await);
    }
    (bob, peers)
}

/// What follows on a connection after the entry at `end` was the last one of the room.
async fn ends_at(server: &Hubbub, room: &Room, bob: &Person, mut peers: Vec<Peer>, began_at: u64, end: u64) {
    room.send_many(5).await;
    // Whoever sees this has seen all that was sent to them before.
    let other = Room::with_owner(server, "cyd").await;
    let joined = Peer::hello(bob).await.ask(json!({"type": "join", "room": other.id})).await;
    assert_eq!(joined["type"], "ok", "{joined}");
    for peer in &mut peers {
        let mut events = Vec::new();
        loop {
            let event = peer.next().await.unwrap();
            if event["room"] == json!(other.id) && event["type"] == "join" {
                break;
            }
            events.push(event);
        }
        assert_eq!(seqs(&events, room), (began_at + 1..=end).collect::<Vec<_>>());
        let refused = peer.ask(json!({"type": "send", "room": room.id, "text": "still here"})).await;
        assert_eq!(refused["code"], "not_member", "{refused}");
    }
    let mut again = Peer::resume(bob, json!({room.id.as_str(): end})).await;
    assert_eq!(seqs(&again.all_so_far().await, room), [] as [u64; 0], "nor is anything resumed");
}

#[tokio::test]
async fn a_leave_ends_the_stream_of_all_the_users_connections() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let (bob, mut peers) = with_connections(&server, &room).await;
    let began_at = room.head().await;
    room.send_many(2).await;
    let left = peers[0].ask(json!({"type": "leave", "room": room.id})).await;
    let end = left["seq"].as_u64().unwrap_or_else(|| panic!("{left}"));
    assert_eq!(end, began_at + 3);
    ends_at(&server, &room, &bob, peers, began_at, end).await;
}

#[tokio::test]
async fn a_kick_ends_it_likewise() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let (bob, mut peers) = with_connections(&server, &room).await;
    let began_at = room.head().await;
    room.send_many(2).await;
    let refused = peers[0].ask(json!({"type": "kick", "room": room.id, "user": room.ann.id})).await;
    assert_eq!(refused["code"], "forbidden", "{refused}");
    let end = room.owner.kick(&room.id, &bob.id).await.unwrap().seq.0;
    ends_at(&server, &room, &bob, peers, began_at, end).await;
}

#[tokio::test]
async fn a_join_makes_the_users_other_connections_receive() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = Person::register(&server, "bob").await.unwrap();
    let mut peers = [Peer::hello(&bob).await, Peer::hello(&bob).await, Peer::hello(&bob).await];
    room.send_many(3).await;
    let joined = peers[0].ask(json!({"type": "join", "room": room.id})).await;
    let seq = joined["seq"].as_u64().unwrap_or_else(|| panic!("{joined}"));
    let again = peers[1].ask(json!({"type": "join", "room": room.id})).await;
    assert_eq!(again["seq"], seq, "joining twice is no error and no second entry");
    let last = *room.send_many(3).await.last().unwrap();
    for peer in &mut peers {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            seen.extend(seqs(&[peer.next().await.unwrap()], &room));
        }
        assert_eq!(seen, (seq..=last).collect::<Vec<_>>());
    }
}

/// More than the fan-out looks at in one go.
#[tokio::test]
async fn in_a_room_of_many_connections_each_is_sent_each_entry_once() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let members = [room.member(&server, "bob").await, room.member(&server, "cyd").await];
    let mut peers = Vec::new();
    for n in 0..70 {
        peers.push(Peer::hello(&members[n % 2]).await);
    }
    let began_at = room.head().await;
    room.send_many(5).await;
    for peer in &mut peers {
        let seen = seqs(&peer.all_so_far().await, &room);
        assert_eq!(seen, (began_at + 1..=began_at + 5).collect::<Vec<_>>());
    }
}

/// Nobody is in the room here, so making it live takes longer than the whole membership.
#[tokio::test]
async fn a_short_membership_is_delivered_whole_and_once_also_where_nobody_was_in_the_room() {
    for shards in ["--instances=1", "--instances=3"] {
        let server = Hubbub::start(program().with(shards)).await.unwrap();
        let ann = Person::register(&server, "ann").await.unwrap();
        let bob = Person::register(&server, "bob").await.unwrap();
        let mut peers = Vec::new();
        for _ in 0..CONNECTIONS {
            peers.push(Peer::hello(&bob).await);
        }
        for round in 0..5 {
            let made =
                server.post("/v1/chat/rooms", Some(&ann.token), &json!({"name": "here"})).await.unwrap();
            let room = made.json()["id"].clone();
            // Twice there and gone, without waiting for an answer.
            let mut said = Vec::new();
            for n in 0..2 {
                said.push(json!({"type": "join", "room": room, "ref": format!("{round}-join-{n}")}));
                said.extend((0..3).map(|m| {
                    let reference = format!("{round}-{n}-{m}");
                    json!({"type": "send", "room": room, "text": "hello", "key": reference, "ref": reference})
                }));
                said.push(json!({"type": "leave", "room": room, "ref": format!("{round}-leave-{n}")}));
            }
            for request in said {
                peers[0].tell(request).await;
            }
            for peer in &mut peers {
                let mut seen = Vec::new();
                while seen.last().is_none_or(|last| *last < 11) {
                    let event = in_time("all that was said", peer.next()).await.unwrap();
                    if event["room"] == room && event.get("ref").is_none() {
                        seen.extend(event["seq"].as_u64());
                    }
                }
                assert_eq!(seen, (2..=11).collect::<Vec<u64>>(), "{shards}, round {round}");
            }
        }
        // Nothing comes once more.
        for peer in &mut peers {
            let entries = |event: &Value| event.get("ref").is_none() && event.get("seq").is_some();
            let more: Vec<_> = peer.all_so_far().await.into_iter().filter(entries).collect();
            assert!(more.is_empty(), "{more:?}");
        }
    }
}

#[tokio::test]
async fn who_writes_right_behind_a_join_is_not_told_that_they_are_no_member() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut bob = Peer::hello(&Person::register(&server, "bob").await.unwrap()).await;
    for n in 0..5 {
        let made = server.post("/v1/chat/rooms", Some(&ann.token), &json!({"name": "here"})).await.unwrap();
        let room = made.json()["id"].clone();
        bob.tell(json!({"type": "join", "room": room, "ref": format!("join-{n}")})).await;
        bob.tell(json!({"type": "typing", "room": room})).await;
        let left = bob.ask(json!({"type": "leave", "room": room})).await;
        assert_eq!(left["type"], "ok", "{left}");
    }
    let told = bob.all_so_far().await;
    assert!(!told.iter().any(|told| told["type"] == "error"), "{told:?}");
}

//! Membership is in the order of the log, and it is the user's: all their connections follow.

use hubbub_testkit::{Hubbub, Person};
use serde_json::{Value, json};

use crate::common::{Room, server};
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

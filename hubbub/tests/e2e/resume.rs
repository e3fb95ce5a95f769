//! A resume has no gap and no repeat; where it can't be so, the reader is told.

use fastrand::Rng;
use hubbub_core::ids::RoomId;
use hubbub_testkit::checker::{self, History, Reader, Seen, Step};
use serde_json::json;

use crate::common::{Load, Room, program, server, whole_log};
use crate::peer::Peer;

/// How often the connection is dropped.
const DROPS: usize = 60;

#[tokio::test]
async fn a_resume_has_no_gap_and_no_repeat() {
    let seed: u64 =
        std::env::var("HUBBUB_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("repeat with: HUBBUB_SEED={seed} cargo test -p hubbub --test e2e resume");
    let mut rng = Rng::with_seed(seed);
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let load = Load::begin(&room, 3).await;

    let began_at = room.head().await;
    let mut reader = Reader { name: "bob".into(), began_at, to_the_end: true, ..Reader::default() };
    let mut position = began_at;
    for n in 0..DROPS {
        let mut peer = Peer::resume(&bob, json!({room.id.as_str(): position})).await;
        let mut left = rng.usize(0..200);
        while left > 0 {
            take(&mut peer, &room.id, &mut reader, &mut position).await;
            left -= 1;
        }
        // Dropped with whatever is on its way: the server finds out by itself.
        drop(peer);
        if n + 1 == DROPS {
            let sent = load.end().await;
            let log: Vec<Seen> = whole_log(&room.owner, &room.id).await.iter().map(Seen::from).collect();
            let head = log.last().unwrap().seq;
            let mut peer = Peer::resume(&bob, json!({room.id.as_str(): position})).await;
            while position < head {
                take(&mut peer, &room.id, &mut reader, &mut position).await;
            }
            let violations = checker::check(&History { sent, readers: vec![reader], log });
            assert_eq!(violations, []);
            return;
        }
    }
}

async fn take(peer: &mut Peer, room: &RoomId, reader: &mut Reader, position: &mut u64) {
    let (of, next) = peer.next_step().await;
    assert_eq!(of, *room);
    *position = match &next {
        Step::Entry(seen) => seen.seq,
        Step::Behind { head, .. } | Step::Reset { head } => *head,
    };
    reader.steps.push(next);
}

#[tokio::test]
async fn beyond_its_limit_a_resume_says_behind() {
    let server = hubbub_testkit::Hubbub::start(program().with("--resume-entries-max=10")).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    room.send_many(30).await;
    let head = room.head().await;

    let mut within = Peer::resume(&bob, json!({room.id.as_str(): head - 10})).await;
    assert_eq!(seq_of(&within.next_step().await.1), head - 9);
    let mut beyond = Peer::resume(&bob, json!({room.id.as_str(): head - 11})).await;
    let (_, told) = beyond.next_step().await;
    assert_eq!(told, Step::Behind { after: head - 11, head });
    room.send_many(1).await;
    let (_, live) = beyond.next_step().await;
    assert_eq!(seq_of(&live), head + 1);
}

#[tokio::test]
async fn a_position_above_the_head_is_reset() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    room.send_many(5).await;
    let head = room.head().await;

    let mut peer = Peer::resume(&bob, json!({room.id.as_str(): head + 1})).await;
    let (_, told) = peer.next_step().await;
    assert_eq!(told, Step::Reset { head });
    room.send_many(1).await;
    let (_, live) = peer.next_step().await;
    assert_eq!(seq_of(&live), head + 1);
}

#[tokio::test]
async fn a_position_at_the_head_begins_right_behind_it() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let head = room.head().await;
    let mut peer = Peer::resume(&bob, json!({room.id.as_str(): head})).await;
    let shown = &peer.welcome()["rooms"][0];
    assert_eq!((&shown["id"], &shown["head"]), (&json!(room.id), &json!(head)));
    room.send_many(1).await;
    let (_, live) = peer.next_step().await;
    assert_eq!(seq_of(&live), head + 1);
}

fn seq_of(step: &Step) -> u64 {
    match step {
        Step::Entry(seen) => seen.seq,
        told => panic!("{told:?} where an entry was to come"),
    }
}

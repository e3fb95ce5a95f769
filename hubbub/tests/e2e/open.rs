//! What `open` answers and what follows live on the same connection meet exactly.

use hubbub_testkit::Person;
use hubbub_testkit::checker::Step;
use serde_json::{Value, json};

use crate::common::{Load, Room, server};
use crate::peer::{Peer, step};

const CONNECTIONS: usize = 4;
/// How often each opens the room.
const OPENS: usize = 40;

#[tokio::test]
async fn open_meets_the_live_stream_exactly() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let load = Load::begin(&room, 4).await;

    let id = room.id.to_string();
    let openers: Vec<_> =
        (0..CONNECTIONS).map(|n| tokio::spawn(open_again_and_again(bob.clone(), id.clone(), n))).collect();
    for opener in openers {
        opener.await.unwrap();
    }
    load.end().await;
}

async fn open_again_and_again(bob: Person, room: String, n: usize) {
    let mut peer = Peer::hello(&bob).await;
    let mut position = None;
    for _ in 0..OPENS {
        // Limits on both sides of what a gateway keeps in memory.
        let limit = [1, 10, 50, 200][n % 4];
        let answer = peer.ask(json!({"type": "open", "room": room, "limit": limit})).await;
        let head = answer["room"]["head"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        let seqs: Vec<u64> = answer["entries"].as_array().unwrap().iter().map(seq).collect();
        let expected: Vec<u64> = ((head + 1).saturating_sub(limit).max(1)..=head).collect();
        assert_eq!(seqs, expected, "the newest entries up to the head");

        // What came live before the answer ends at the head too, and the next one follows it.
        for (_, live) in peer.so_far().iter().filter_map(step) {
            position = Some(follows(position, seq_of(&live)));
        }
        assert!(position.is_none_or(|position| position == head), "{position:?} live, {head} in the answer");
        let (_, live) = peer.next_step().await;
        assert_eq!(seq_of(&live), head + 1, "the first live entry after the answer");
        position = Some(head + 1);
    }
}

fn seq_of(step: &Step) -> u64 {
    match step {
        Step::Entry(seen) => seen.seq,
        told => panic!("{told:?} where an entry was to come"),
    }
}

fn follows(position: Option<u64>, seq: u64) -> u64 {
    assert!(position.is_none_or(|position| seq == position + 1), "{seq} live after {position:?}");
    seq
}

fn seq(entry: &Value) -> u64 {
    entry["seq"].as_u64().unwrap_or_else(|| panic!("no entry: {entry}"))
}

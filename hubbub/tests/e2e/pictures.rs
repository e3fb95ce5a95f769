//! A picture is longer than what may wait for a connection; who reads it has it, and all that comes behind it.

use hubbub_core::limits::IMAGE_BYTES_MAX;
use hubbub_testkit::in_time;
use serde_json::json;

use crate::common::{Room, server};
use crate::peer::Peer;

fn picture() -> String {
    format!("data:image/png;base64,{}", "A".repeat(IMAGE_BYTES_MAX / 3 * 4))
}

#[tokio::test]
async fn who_sends_a_picture_is_sent_it_and_what_follows() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let mut peer = Peer::hello(&room.ann).await;
    for n in 0..5 {
        let said = peer.ask(json!({"type": "send", "room": room.id, "image": picture()})).await;
        assert_eq!(said["type"], "ok", "{said}");
        room.owner.send_text(&room.id, &format!("behind {n}"), None).await.unwrap();
        let behind = in_time("what follows", async {
            let mut seen = Vec::new();
            loop {
                let message = peer.next_of("message").await;
                seen.push(message["seq"].as_u64().unwrap());
                if message["text"] == format!("behind {n}") {
                    return seen;
                }
            }
        });
        let seq = said["seq"].as_u64().unwrap();
        assert_eq!(behind.await, [seq, seq + 1]);
    }
}

#[tokio::test]
async fn who_missed_pictures_is_sent_them_and_is_there_again() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let head = room.head().await;
    for _ in 0..6 {
        room.owner.send_image(&room.id, &picture(), None).await.unwrap();
    }
    let mut peer = Peer::resume(&bob, json!({room.id.as_str(): head})).await;
    for n in 1..=6 {
        assert_eq!(peer.next_of("message").await["seq"], head + n);
    }
    room.owner.send_text(&room.id, "and on", None).await.unwrap();
    assert_eq!(in_time("what follows", peer.next_of("message")).await["text"], "and on");
}

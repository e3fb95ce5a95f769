//! A room keeps what it is told to, at all gateways and of all history services, while holders change and the database forgets.

use futures_util::StreamExt;
use futures_util::stream;
use hubbub_client::{Event, What};
use hubbub_core::ids::{RoomId, Seq};
use hubbub_testkit::{Hubbub, Operator, Person, eventually, in_time};
use serde_json::json;

use crate::world::{Quiet, connect, log, plan};

const KEPT: u64 = 10_000;

/// The seqs of a room.
async fn read(gateway: &Hubbub, person: &Person, room: &RoomId) -> Vec<u64> {
    log(gateway, person, room).await.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_log_begins_later_at_every_gateway_whoever_holds_it() {
    let credential = Operator::new_credential("day-shift");
    let (mut quiet, operator) = Quiet::with_operator(plan().await, &credential, 1).await;
    let cluster = &mut quiet.cluster;
    let ann = Person::register(&cluster.gateways[0], "ann").await.unwrap();
    let bob = Person::register(&cluster.gateways[0], "bob").await.unwrap();
    let (anns, _) = connect(&cluster.gateways[0], &ann).await;
    let (bobs, mut bob_hears) = connect(&cluster.gateways[1], &bob).await;
    let room = anns.create("here", "").await.unwrap().id;
    bobs.join(&room).await.unwrap();
    for part in [3..=6_000, 6_001..=KEPT + 500] {
        let said = part.map(|n| {
            let (anns, room) = (&anns, &room);
            async move {
                eventually("it is said", async || anns.send_text(room, &format!("{n}"), None).await.ok())
                    .await;
            }
        });
        stream::iter(said).buffer_unordered(40).collect::<Vec<()>>().await;
        // The rest of the log is another holder's.
        for worker in &mut cluster.workers {
            worker.kill().await.unwrap();
            worker.restart().await.unwrap();
        }
    }
    let head = anns.open(&room, Some(1)).await.unwrap().room.head.unwrap().0;
    for gateway in &cluster.gateways {
        assert_eq!(read(gateway, &ann, &room).await, (1..=head).collect::<Vec<_>>());
    }

    let (id, entries) = (room.as_str(), KEPT.to_string());
    let said = operator.json(&["retention", id, "--entries", &entries]).await;
    let first = head + 3 - KEPT;
    assert_eq!((&said["seq"], &said["first"]), (&json!(head + 1), &json!(first)), "{said}");
    let told = async {
        loop {
            match bob_hears.next().await {
                Some(Event::Entry(entry)) if matches!(entry.what, What::Retention(kept) if kept.first > Seq(0)) =>
                {
                    return entry;
                }
                Some(_) => {}
                None => panic!("the connection is lost"),
            }
        }
    };
    assert_eq!(in_time("bob is told", told).await.seq, Seq(head + 2));
    let expected: Vec<_> = (first..=head + 2).collect();
    for gateway in &cluster.gateways {
        assert_eq!(read(gateway, &ann, &room).await, expected);
    }
    // Of the next holders, the same: from the database.
    for tier in [&mut cluster.workers, &mut cluster.histories] {
        for process in tier {
            process.kill().await.unwrap();
            process.restart().await.unwrap();
        }
    }
    for gateway in &cluster.gateways {
        assert_eq!(read(gateway, &ann, &room).await, expected);
    }
    assert_eq!(operator.json(&["retention", id]).await["first"], json!(first));
    let opened = eventually("it is opened", async || bobs.open(&room, Some(1)).await.ok()).await;
    assert_eq!((opened.room.members, opened.room.first), (Some(2), Some(Seq(first))));
}

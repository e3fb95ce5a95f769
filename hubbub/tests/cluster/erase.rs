//! A user's messages are erased at all gateways and history services, whatever they had in memory, while holders change.

use std::time::Duration;

use hubbub_adapters::store::{CqlOptions, CqlStore};
use hubbub_client::{Client, Event, What};
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Key, Millis, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::store::{Append, Read, Store};
use hubbub_testkit::{Hubbub, Keyspace, Operator, Person, eventually, in_time};
use serde_json::json;

use crate::world::{Quiet, connect, log, plan};

/// In each message that is to be erased, and nowhere else.
const SECRET: &str = "the secret of bob";

/// All of a room, as one text.
async fn read(gateway: &Hubbub, person: &Person, room: &RoomId) -> String {
    json!(log(gateway, person, room).await).to_string()
}

async fn talk(client: &Client, room: &RoomId, messages: std::ops::Range<u32>) {
    for n in messages {
        let (key, text) =
            (Key::parse(&format!("bob-{n}")).unwrap(), format!("{SECRET}, {n} {}", "and more ".repeat(300)));
        eventually("it is said", async || client.send_text(room, &text, Some(&key)).await.ok()).await;
    }
}

#[tokio::test]
async fn erased_messages_are_gone_at_every_gateway_and_of_every_history_service() {
    let credential = Operator::new_credential("night-shift");
    let (mut quiet, operator) = Quiet::with_operator(plan().await, &credential, 1).await;
    let cluster = &mut quiet.cluster;
    let ann = Person::register(&cluster.gateways[0], "ann").await.unwrap();
    let bob = Person::register(&cluster.gateways[0], "bob").await.unwrap();
    let (anns, mut ann_hears) = connect(&cluster.gateways[0], &ann).await;
    let (bobs, _bob_hears) = connect(&cluster.gateways[1], &bob).await;
    let mut rooms = Vec::new();
    for name in ["here", "left"] {
        let room = anns.create(name, "").await.unwrap().id;
        bobs.join(&room).await.unwrap();
        talk(&bobs, &room, 0..400).await;
        rooms.push(room);
    }
    // The second half of each log is another holder's.
    for worker in &mut cluster.workers {
        worker.kill().await.unwrap();
        worker.restart().await.unwrap();
    }
    for room in &rooms {
        talk(&bobs, room, 400..500).await;
    }
    bobs.leave(&rooms[1]).await.unwrap();
    // Each history service has them in memory by now: who is asked is a matter of chance.
    for _ in 0..4 {
        for gateway in &cluster.gateways {
            for room in &rooms {
                assert_eq!(read(gateway, &ann, room).await.matches(SECRET).count(), 500);
            }
        }
    }

    let done = operator.json(&["erase", bob.id.as_str()]).await;
    assert_eq!((&done["looked_at"], &done["erased"]), (&2.into(), &1_000.into()), "{done}");
    let told = async {
        loop {
            match ann_hears.next().await {
                Some(Event::Entry(entry)) if matches!(entry.what, What::Erase { .. }) => return entry,
                Some(_) => {}
                None => panic!("the connection is lost"),
            }
        }
    };
    let told = in_time("ann is told", told).await;
    assert_eq!(told.user.id, bob.id);
    for _ in 0..4 {
        for gateway in &cluster.gateways {
            for room in &rooms {
                let said = read(gateway, &ann, room).await;
                assert_eq!((said.matches(SECRET).count(), said.matches("\"erased\"").count()), (0, 500));
            }
        }
    }
    // Of the next holders, the same: from the database, where they are overwritten.
    for tier in [&mut cluster.workers, &mut cluster.histories] {
        for process in tier {
            process.kill().await.unwrap();
            process.restart().await.unwrap();
        }
    }
    let again = operator.json(&["erase", bob.id.as_str()]).await;
    assert_eq!(
        (&again["erased"], &again["rooms"][0]["seq"]),
        (&0.into(), &done["rooms"][0]["seq"]),
        "{again}"
    );
    for gateway in &cluster.gateways {
        assert_eq!(read(gateway, &ann, &rooms[0]).await.matches(SECRET).count(), 0);
    }
    what_was_on_its_way_comes_to_nothing(&cluster.keyspace, &rooms[0]).await;
    let key = Key::parse("bob-490").unwrap();
    let sent =
        eventually("it is said again", async || bobs.send_text(&rooms[0], "again", Some(&key)).await.ok())
            .await;
    assert!(sent.seq().is_some_and(|seq| seq < Seq(500)), "the repeat finds its first: {sent:?}");
}

/// The segments of earlier holders take nothing more, of whichever: one may have been paused for long, or its lines may have held it up.
async fn what_was_on_its_way_comes_to_nothing(keyspace: &Keyspace, room: &RoomId) {
    let options = CqlOptions {
        nodes: vec![keyspace.database.clone()],
        keyspace: keyspace.name.clone(),
        replication: 1,
        datacenter: None,
        user: None,
        tls: None,
        request_timeout: Duration::from_secs(10),
        cluster: "hub".into(),
    };
    let store = CqlStore::open(&options).await.unwrap();
    let segments = store.segments(room.clone()).await.unwrap();
    // That of the newest holder is there, though all it has done is to erase.
    assert_eq!(segments.len(), 3, "{segments:?}");
    for pair in segments.windows(2) {
        let (epoch, start) = (pair[0].epoch, pair[1].start);
        let bob = User { id: UserId::parse("bob").unwrap(), name: "bob".into() };
        let late = Content::text(SECRET.into()).unwrap();
        let late = Entry::new(room, start, Millis(1), &bob, None, Says::Message(&late));
        store.append(Append { room: room.clone(), epoch, entries: vec![late] }).await.unwrap();
        let read = Read { room: room.clone(), epoch, seqs: start.0..=start.0, bytes_max: usize::MAX };
        assert_eq!(store.read(read).await.unwrap(), []);
    }
}

//! What passes and is never stored: presence, typing; and the news of rooms.

use hubbub_client::Event;
use hubbub_testkit::{Person, eventually, in_time};
use serde_json::{Value, json};

use crate::common::{Room, connect, server};
use crate::peer::Peer;

fn of_type(events: &[Value], type_name: &str) -> Vec<Value> {
    events.iter().filter(|event| event["type"] == type_name).cloned().collect()
}

#[tokio::test]
async fn several_connections_of_one_user_are_one_presence() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let connections = async || server.metric("hubbub_gateway_connections").await.unwrap();
    // The one with which bob joined is gone.
    eventually("bob is away", async || (connections().await == 1.0).then_some(())).await;
    let mut ann = Peer::hello(&room.ann).await;
    // Who came and went until now is told before an entry.
    let entry = async |text: &str| room.owner.send_text(&room.id, text, None).await.unwrap();
    entry("We are alone").await;
    ann.all_so_far().await;

    let first = connect(&bob).await;
    let came = ann.next_of("presence").await;
    assert_eq!(
        (&came["room"], &came["user"]["id"], &came["online"]),
        (&json!(room.id), &json!(bob.id), &json!(true))
    );
    let second = connect(&bob).await;
    first.close().await;
    eventually("one of two is gone", async || (connections().await == 3.0).then_some(())).await;
    let members = room.owner.members(&room.id, None, None).await.unwrap().members;
    assert!(members.iter().any(|member| member.user.id == bob.id && member.online), "{members:?}");
    entry("Hello, Bob").await;
    assert_eq!(of_type(&ann.all_so_far().await, "presence"), [] as [Value; 0], "bob is there all the time");

    second.close().await;
    let went = ann.next_of("presence").await;
    assert_eq!((&went["user"]["id"], &went["online"]), (&json!(bob.id), &json!(false)));
    let members = room.owner.members(&room.id, None, None).await.unwrap().members;
    assert!(members.iter().all(|member| member.user.id != bob.id || !member.online), "{members:?}");
}

#[tokio::test]
async fn typing_is_told_once_a_second_to_others_and_lapses() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let (mut ann, mut writer, mut his_other) =
        (Peer::hello(&room.ann).await, Peer::hello(&bob).await, Peer::hello(&bob).await);
    let began = std::time::Instant::now();
    for _ in 0..50 {
        writer.tell(json!({"type": "typing", "room": room.id})).await;
    }
    writer.all_so_far().await;
    let seconds = began.elapsed().as_secs() as usize;
    let mut told = Vec::new();
    // He never says that he stopped.
    while told.last().is_none_or(|event: &Value| event["on"] == true) {
        told.push(ann.next_of("typing").await);
    }
    let lapsed = told.pop().unwrap();
    assert_eq!((&lapsed["user"]["id"], &lapsed["on"]), (&json!(bob.id), &json!(false)));
    assert!((1..=1 + seconds).contains(&told.len()), "{} times in {seconds} s", told.len());
    for peer in [&mut writer, &mut his_other] {
        assert_eq!(of_type(&peer.all_so_far().await, "typing"), [] as [Value; 0], "not to the sender");
    }

    writer.tell(json!({"type": "typing", "room": room.id, "on": true})).await;
    assert_eq!(ann.next_of("typing").await["on"], true);
    writer.tell(json!({"type": "typing", "room": room.id, "on": false})).await;
    assert_eq!(ann.next_of("typing").await["on"], false);

    let cyd = Person::register(&server, "cyd").await.unwrap();
    let mut cyd = Peer::hello(&cyd).await;
    let refused = cyd.ask(json!({"type": "typing", "room": room.id})).await;
    assert_eq!(refused["code"], "not_member");
    let log = room.owner.open(&room.id, None).await.unwrap().entries;
    assert_eq!(log.len(), 2, "two joins and nothing else: {log:?}");
}

#[tokio::test]
async fn watch_tells_of_every_room_that_is_made() {
    let server = server().await;
    let ann = connect(&Person::register(&server, "ann").await.unwrap()).await;
    let bob = Person::register(&server, "bob").await.unwrap();
    let ((watcher, mut news), (other, mut no_news)) =
        (bob.connect().await.unwrap(), bob.connect().await.unwrap());
    watcher.watch(true).await.unwrap();
    other.watch(true).await.unwrap();
    other.watch(false).await.unwrap();
    let made = ann.create("tea", "green").await.unwrap();
    let told = loop {
        if let Event::RoomMade(room) = in_time("news of the room", news.next()).await.unwrap() {
            break room;
        }
    };
    assert_eq!((&told.id, &*told.name, &*told.topic, &told.owner), (&made.id, "tea", "green", &made.owner));
    other.ping().await.unwrap();
    while let Some(event) = no_news.try_next() {
        assert!(!matches!(event, Event::RoomMade(_)), "{event:?}");
    }
}

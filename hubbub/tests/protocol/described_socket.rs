//! The WebSocket is what its AsyncAPI description says: each message of the server that is described is seen. That every frame is
//! one of those, [`Talk`] looks at in all tests.

use std::collections::BTreeSet;

use hubbub_testkit::{Hubbub, Operator, Person};
use serde_json::{Value, json};

use crate::program;
use crate::schema::{all_messages, messages_of};
use crate::talk::Talk;

#[tokio::test]
async fn each_described_message_is_seen() {
    let credential = Operator::new_credential("ops");
    let server = program().with("--resume-entries-max=2").with("--drain-window=0ms");
    let server = Operator::flags(&credential).iter().fold(server, |start, flag| start.with(flag));
    let server = Hubbub::start(server).await.unwrap();
    let (mut ann, mut bob) = (Talk::silent(&server).await, Talk::silent(&server).await);
    let (ann_is, bob_is) =
        (Person::register(&server, "Ann").await.unwrap(), Person::register(&server, "Bob").await.unwrap());
    let mut seen = BTreeSet::new();
    let mut see = |frame: Value| {
        seen.extend(messages_of(&frame));
        frame
    };
    for (talk, person) in [(&mut ann, &ann_is), (&mut bob, &bob_is)] {
        see(talk.ask(json!({"type": "hello", "token": person.token})).await);
    }
    see(ann.ask(json!({"type": "watch", "directory": true})).await);
    let made = see(ann.ask(json!({"type": "create", "name": "Here", "topic": "t"})).await);
    see(ann.hear("room").await);
    let room = made["room"]["id"].clone();
    see(bob.ask(json!({"type": "join", "room": room})).await);
    let (to_bob, member) =
        (json!(bob_is.id), json!({"type": "send", "room": room, "text": "hello", "key": "k"}));
    see(ann.hear("join").await);
    see(bob.ask(member).await);
    see(bob.ask(json!({"type": "send", "room": room, "text": "/hello=Ann"})).await);
    see(ann.hear("message").await);
    bob.raw.send_json(&json!({"type": "typing", "room": room})).await.unwrap();
    see(ann.hear("typing").await);
    for request in [
        json!({"type": "topic", "room": room, "topic": "another"}),
        json!({"type": "rooms"}),
        json!({"type": "open", "room": room}),
        json!({"type": "history", "room": room, "after": 0}),
        json!({"type": "members", "room": room}),
        json!({"type": "ping"}),
        json!({"type": "kick", "room": room, "user": to_bob}),
        json!({"type": "open", "room": "nowhere"}),
    ] {
        see(ann.ask(request).await);
    }
    see(ann.hear("topic").await);
    see(ann.hear("leave").await);
    let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
    operator.json(&["erase", bob_is.id.as_str()]).await;
    see(ann.hear("erase").await);
    operator.json(&["retention", room.as_str().unwrap(), "--days", "30"]).await;
    see(ann.hear("retention").await);
    bob.done(json!({"type": "join", "room": room})).await;
    drop(bob);
    see(ann.hear("presence").await);
    for (seq, event) in [(1, "behind"), (1_000, "reset")] {
        let mut again = Talk::silent(&server).await;
        again
            .ask(json!({"type": "hello", "token": bob_is.token, "rooms": {room.as_str().unwrap(): seq}}))
            .await;
        see(again.hear(event).await);
    }
    server.ask_to_end().unwrap();
    see(ann.hear("bye").await);
    let unseen: Vec<_> = all_messages().into_iter().filter(|name| !seen.contains(name)).collect();
    assert!(unseen.is_empty(), "described, and not seen: {unseen:?}");
}

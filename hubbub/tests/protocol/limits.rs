//! Who asks too much is told so, and when to come back.

use hubbub_testkit::{Hubbub, eventually};
use serde_json::json;

use crate::program;
use crate::talk::{Talk, frame};

#[tokio::test]
async fn a_connection_without_hello_is_closed_in_time() {
    let server = Hubbub::start(program().with("--hello-timeout=1s")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let mut silent = Talk::silent(&server).await;
    let mut wrong = Talk::silent(&server).await;
    let refused = wrong.ask(json!({"type": "hello", "token": "wrong"})).await;
    assert_eq!(refused["code"], "unauthorized");
    for late in [&mut silent, &mut wrong] {
        let (bye, code, _) = late.end().await;
        assert_eq!((code, &bye.unwrap()["reason"]), (Some(4408), &json!("authentication_timeout")));
    }
    ann.is_well().await;
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let server = Hubbub::start(program().with("--connections-of-user-max=2")).await.unwrap();
    let (mut first, person) = Talk::of(&server, "Ann").await;
    let second = Talk::again(&server, &person).await;
    let mut third = Talk::silent(&server).await;
    third.raw.send_json(&json!({"type": "hello", "token": person.token})).await.unwrap();
    let (bye, code, reason) = third.end().await;
    assert_eq!((code, &*reason), (Some(4429), "too_many"));
    assert!(bye.unwrap()["reconnect_after_ms"].as_u64().unwrap() > 0);
    first.is_well().await;
    Talk::of(&server, "Bob").await.0.is_well().await;
    // One that goes makes room for one that comes.
    drop(second);
    let welcomed = async || {
        let mut talk = Talk::silent(&server).await;
        talk.raw.send_json(&json!({"type": "hello", "token": person.token})).await.unwrap();
        talk.raw.next_json().await.ok().filter(|frame| frame["type"] == "welcome")
    };
    eventually("a place is free again", welcomed).await;
}

#[tokio::test]
async fn too_many_sends_are_refused_for_a_while() {
    let server = Hubbub::start(program().with("--sends-per-second=1")).await.unwrap();
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let (mut bob, _) = Talk::of(&server, "Bob").await;
    let mut refused = None;
    for n in 0..10 {
        let answer =
            ann.ask(json!({"type": "send", "room": room, "text": "x", "key": format!("k{n}")})).await;
        if answer["type"] == "error" {
            refused = Some((n, answer));
            break;
        }
    }
    let (n, error) = refused.expect("ten messages at once");
    assert_eq!(error["code"], "rate_limited", "{error}");
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&wait), "{error}");
    // The other door is for the same user, and another user is not concerned.
    let path = format!("/v1/chat/rooms/message/{room}");
    let answer = server.post(&path, Some(&person.token), &json!({"message": "x"})).await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (429, &json!("rate_limited")));
    bob.done(json!({"type": "join", "room": room})).await;
    // The same message passes later.
    let again = async || {
        let answer =
            ann.ask(json!({"type": "send", "room": room, "text": "x", "key": format!("k{n}")})).await;
        (answer["type"] == "ok").then_some(())
    };
    eventually("the message passes", again).await;
}

#[tokio::test]
async fn too_many_reads_are_refused_for_a_while() {
    let server = Hubbub::start(program().with("--reads-per-second=1")).await.unwrap();
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let mut answers = Vec::new();
    for _ in 0..15 {
        answers.push(ann.ask(json!({"type": "rooms"})).await);
    }
    let error = answers.iter().find(|answer| answer["type"] == "error").expect("fifteen reads at once");
    assert_eq!(error["code"], "rate_limited", "{error}");
    let answer = server.get("/v1/chat/rooms", Some(&person.token)).await.unwrap();
    assert_eq!(answer.status, 429, "{answer:?}");
    ann.room().await;
}

#[tokio::test]
async fn a_hello_is_a_read_for_it_is_answered_by_all_rooms() {
    let server = Hubbub::start(program().with("--reads-per-second=1")).await.unwrap();
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let mut answers = Vec::new();
    for _ in 0..15 {
        answers.push(ann.ask(json!({"type": "hello"})).await);
    }
    assert_eq!(answers[0]["type"], "welcome");
    let error = answers.iter().find(|answer| answer["type"] == "error").expect("fifteen at once");
    assert_eq!(error["code"], "rate_limited", "{error}");
    assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{error}");
    ann.room().await;
    // Nor does it help to connect again; one may say it again on the same connection.
    let mut new = Talk::silent(&server).await;
    let hello = json!({"type": "hello", "token": person.token});
    assert_eq!(new.ask(hello.clone()).await["code"], "rate_limited");
    let again = async || (new.ask(hello.clone()).await["type"] == "welcome").then_some(());
    eventually("the hello passes", again).await;
}

#[tokio::test]
async fn a_user_is_in_so_many_rooms_and_a_room_has_so_many_members() {
    let flags = program().with("--rooms-of-user-max=1").with("--members-max=2");
    let server = Hubbub::start(flags).await.unwrap();
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let refused = ann.ask(json!({"type": "create", "name": "Another"})).await;
    assert_eq!(refused["code"], "forbidden", "{refused}");
    let over_http =
        server.post("/v1/chat/rooms", Some(&ann_is.token), &json!({"name": "Another"})).await.unwrap();
    assert_eq!(over_http.status, 403, "{over_http:?}");
    ann.done(json!({"type": "join", "room": room})).await;
    let (mut bob, _) = Talk::of(&server, "Bob").await;
    bob.done(json!({"type": "join", "room": room})).await;
    let (mut carl, _) = Talk::of(&server, "Carl").await;
    let refused = carl.ask(json!({"type": "join", "room": room})).await;
    assert_eq!(refused["code"], "forbidden", "{refused}");
    bob.done(json!({"type": "leave", "room": room})).await;
    carl.done(json!({"type": "join", "room": room})).await;
}

#[tokio::test]
async fn who_does_not_wait_for_answers_is_in_no_more_rooms() {
    let server = Hubbub::start(program().with("--rooms-of-user-max=3")).await.unwrap();
    let mut rooms = Vec::new();
    for n in 0..4 {
        let (mut owner, _) = Talk::of(&server, &format!("Owner{n}")).await;
        rooms.extend([owner.room().await, owner.room().await]);
    }
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    // One that is asked for twice is one of the three.
    rooms.insert(1, rooms[0].clone());
    for round in 0..2 {
        let asks = rooms.iter().enumerate();
        let asks = asks.map(|(n, room)| json!({"type": "join", "room": room, "ref": format!("{round}-{n}")}));
        let frames: Vec<_> = asks.flat_map(|ask| frame(0x81, ask.to_string().as_bytes())).collect();
        ann.raw.send_bytes(&frames).await.unwrap();
        for n in 0..rooms.len() {
            // The first three, and they again.
            let answer = ann.answer(&json!(format!("{round}-{n}"))).await;
            assert_eq!(answer["type"], if n < 4 { "ok" } else { "error" }, "{answer}");
        }
    }
    let mut again = Talk::silent(&server).await;
    let welcome = again.ask(json!({"type": "hello", "token": ann_is.token})).await;
    assert_eq!(welcome["rooms"].as_array().unwrap().len(), 3, "{welcome}");
    // Nothing of it is counted for ever.
    ann.done(json!({"type": "leave", "room": rooms[0]})).await;
    ann.done(json!({"type": "join", "room": rooms[7]})).await;
}

#[tokio::test]
async fn a_token_that_ends_is_asked_for_anew() {
    let server = Hubbub::start(program().with("--token-ttl=2s")).await.unwrap();
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let warning = ann.hear("error").await;
    assert_eq!((&warning["code"], &warning["field"]), (&json!("unauthorized"), &json!("token")), "{warning}");
    ann.is_well().await;
    let refused = ann.ask(json!({"type": "hello", "token": person.token})).await;
    assert_eq!(refused["code"], "unauthorized", "{refused}");
}

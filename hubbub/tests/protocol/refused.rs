//! A request that can't be carried out gets its `ref`, a code and a sentence, and the connection stays.

use hubbub_testkit::Hubbub;
use serde_json::{Value, json};

use crate::talk::Talk;
use crate::{program, server};

fn check(what: &str, answer: &Value, code: &str, field: Option<&str>) {
    assert_eq!(answer["type"], "error", "{what}: {answer}");
    assert_eq!(answer["code"], code, "{what}: {answer}");
    assert!(answer["message"].as_str().is_some_and(|text| text.contains(' ')), "{what}: {answer}");
    if let Some(field) = field {
        assert_eq!(answer["field"], field, "{what}: {answer}");
    }
}

/// Sends each request with a `ref`, and expects code and field; then the connection and a witness are well.
async fn all_refused(talk: &mut Talk, witness: &mut Talk, cases: Vec<(Value, &str, Option<&str>)>) {
    for (request, code, field) in cases {
        let mut what = request.to_string();
        what.truncate(200);
        let answer = talk.ask(request).await;
        check(&what, &answer, code, field);
        talk.is_well().await;
        witness.is_well().await;
    }
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let (mut witness, _) = Talk::of(&server, "Bob").await;
    let room = ann.room().await;
    let (long, huge) = ("x".repeat(4_097), "x".repeat(400_000));
    let bad = "bad_request";
    let mut cases = vec![
        (json!({}), bad, Some("type")),
        (json!({"type": "nope"}), bad, Some("type")),
        (json!({"type": huge}), bad, Some("type")),
        (json!({"type": 7}), bad, None),
        (json!({"type": "join"}), bad, Some("room")),
        (json!({"type": "join", "room": 7}), bad, None),
        (json!({"type": "create"}), bad, Some("name")),
        (json!({"type": "create", "name": " "}), bad, Some("name")),
        (json!({"type": "create", "name": "a\u{7}"}), bad, Some("name")),
        (json!({"type": "create", "name": "x".repeat(81)}), "too_large", Some("name")),
        (json!({"type": "create", "name": "x", "topic": "x".repeat(257)}), "too_large", Some("topic")),
        (json!({"type": "create", "name": "x", "key": ""}), bad, Some("key")),
        (json!({"type": "topic", "room": room}), bad, Some("topic")),
        (json!({"type": "kick", "room": room}), bad, Some("user")),
        (json!({"type": "kick", "room": room, "user": "a.b"}), bad, Some("user")),
        (json!({"type": "send", "room": room}), bad, Some("text")),
        (json!({"type": "send", "room": room, "text": ""}), bad, Some("text")),
        (json!({"type": "send", "room": room, "text": long}), "too_large", Some("text")),
        (json!({"type": "send", "room": room, "text": "x", "image": "x"}), bad, Some("image")),
        (json!({"type": "send", "room": room, "image": "https://example.org/a.png"}), bad, Some("image")),
        (
            json!({"type": "send", "room": room, "image": format!("data:image/png;base64,{huge}")}),
            "too_large",
            Some("image"),
        ),
        (json!({"type": "send", "room": room, "text": "x", "key": "x".repeat(65)}), bad, Some("key")),
        (json!({"type": "send", "room": room, "text": "x", "key": "a\0b"}), bad, Some("key")),
        (json!({"type": "send", "room": room, "text": "x", "after": -1}), bad, None),
        (json!({"type": "send", "room": room, "text": "x", "after": 1.5}), bad, None),
        (json!({"type": "send", "room": room, "text": "x", "key": "k", "after": u64::MAX}), "conflict", None),
        (json!({"type": "send", "room": room, "text": "/weather=here"}), "bad_request", None),
        (json!({"type": "history", "room": room}), bad, Some("before")),
        (json!({"type": "history", "room": room, "before": 1, "after": 1}), bad, Some("after")),
        (json!({"type": "history", "room": room, "before": -1}), bad, None),
        (json!({"type": "history", "room": room, "before": 1e40}), bad, None),
        (json!({"type": "history", "room": room, "before": "1"}), bad, None),
        (json!({"type": "history", "room": room, "before": 9, "limit": 0}), bad, Some("limit")),
        (json!({"type": "history", "room": room, "before": 9, "limit": 1_001}), bad, Some("limit")),
        (json!({"type": "history", "room": room, "before": 9, "limit": u64::MAX}), bad, None),
        (json!({"type": "history", "room": room, "before": 9, "kinds": ["nope"]}), bad, Some("kinds")),
        (json!({"type": "open", "room": room, "limit": 201}), bad, Some("limit")),
        (json!({"type": "rooms", "limit": 201}), bad, Some("limit")),
        (json!({"type": "rooms", "cursor": "x"}), bad, Some("cursor")),
        (json!({"type": "rooms", "cursor": huge}), bad, Some("cursor")),
        (json!({"type": "members", "room": room, "limit": 0}), bad, Some("limit")),
        (json!({"type": "members", "room": room, "cursor": "a.b"}), bad, Some("cursor")),
        (json!({"type": "watch"}), bad, Some("directory")),
        (json!({"type": "hello", "rooms": {"a.b": 1}}), bad, Some("rooms")),
        (json!({"type": "hello", "rooms": {"r": -1}}), bad, None),
        (json!({"type": "join", "room": "nowhere"}), "no_such_room", None),
        (json!({"type": "leave", "room": "nowhere"}), "no_such_room", None),
        (json!({"type": "open", "room": "nowhere"}), "no_such_room", None),
        (json!({"type": "send", "room": "nowhere", "text": "x"}), "no_such_room", None),
        (json!({"type": "history", "room": "nowhere", "after": 0}), "no_such_room", None),
        (json!({"type": "members", "room": "nowhere"}), "no_such_room", None),
        (json!({"type": "typing", "room": "nowhere"}), "not_member", None),
        (json!({"type": "kick", "room": room, "user": "nobody"}), "not_member", None),
    ];
    for id in ["", "a.b", "*", ">", "a\0b", "😀", "a b", "../x", &"x".repeat(65)] {
        for type_name in ["join", "leave", "open", "typing", "members"] {
            cases.push((json!({"type": type_name, "room": id}), bad, Some("room")));
        }
        cases.push((json!({"type": "send", "room": id, "text": "x"}), bad, Some("room")));
        cases.push((json!({"type": "history", "room": id, "after": 0}), bad, Some("room")));
    }
    all_refused(&mut ann, &mut witness, cases).await;
}

#[tokio::test]
async fn only_members_and_only_the_owner() {
    let server = server().await;
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let (mut bob, _) = Talk::of(&server, "Bob").await;
    let room = ann.room().await;
    let outside = vec![
        (json!({"type": "send", "room": room, "text": "x"}), "not_member", None),
        (json!({"type": "send", "room": room, "text": "/hello=Bob"}), "not_member", None),
        (json!({"type": "typing", "room": room}), "not_member", None),
        (json!({"type": "leave", "room": room}), "not_member", None),
        (json!({"type": "topic", "room": room, "topic": "x"}), "forbidden", None),
    ];
    all_refused(&mut bob, &mut ann, outside).await;
    bob.done(json!({"type": "join", "room": room})).await;
    let inside = vec![
        (json!({"type": "topic", "room": room, "topic": "x"}), "forbidden", None),
        (json!({"type": "kick", "room": room, "user": ann_is.id.as_str()}), "forbidden", None),
    ];
    all_refused(&mut bob, &mut ann, inside).await;
    let log = ann.done(json!({"type": "history", "room": room, "after": 0})).await;
    assert_eq!(log["entries"].as_array().unwrap().len(), 2, "two joins and nothing else: {log}");
}

#[tokio::test]
async fn junk_is_an_error_without_a_ref() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let objects = r#"{"a":"#.repeat(10_000);
    let long = "x".repeat(400_000);
    let junk = [
        String::new(),
        "hello".into(),
        "null".into(),
        "7".into(),
        "[]".into(),
        "{".into(),
        "\u{0}".into(),
        deep.clone(),
        objects,
        format!(r#"{{"type":{deep}}}"#),
        r#"{"type":"ping","ref":1.5}"#.into(),
        r#"{"type":"ping","ref":{}}"#.into(),
        format!(r#"{{"type":"ping","ref":"{long}"}}"#),
        format!(r#"{{"type":"ping","ref":{}}}"#, "9".repeat(400_000)),
    ];
    for text in junk {
        ann.raw.send_text(text.clone()).await.unwrap();
        let error = ann.hear("error").await;
        check(&text[..text.len().min(80)], &error, "bad_request", None);
        assert_eq!(error.get("ref"), None);
        ann.is_well().await;
    }
    // What is not known is passed over, however deep.
    ann.raw.send_text(format!(r#"{{"x":{deep},"type":"ping","ref":1}}"#)).await.unwrap();
    assert_eq!(ann.answer(&json!(1)).await["type"], "pong");
}

#[tokio::test]
async fn a_ref_of_a_megabyte_is_an_error_where_such_frames_are_allowed() {
    let server = Hubbub::start(program().with("--frame-bytes-max=2MiB")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let text = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(1 << 20));
    ann.raw.send_text(text).await.unwrap();
    check("a long ref", &ann.hear("error").await, "bad_request", Some("ref"));
    ann.is_well().await;
}

#[tokio::test]
async fn a_huge_seq_is_a_place_where_nothing_is() {
    let server = server().await;
    let (mut ann, person) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    for seq in [3, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let page = ann.done(json!({"type": "history", "room": room, "before": seq})).await;
        assert_eq!((page["entries"].as_array().unwrap().len(), &page["more"]), (1, &json!(false)), "{seq}");
        let page = ann.done(json!({"type": "history", "room": room, "after": seq})).await;
        assert_eq!((&page["entries"], &page["more"]), (&json!([]), &json!(false)), "{seq}");
        // Who has seen what is not there has seen another log.
        let mut resumed = Talk::silent(&server).await;
        let hello =
            json!({"type": "hello", "token": person.token, "rooms": {room.as_str(): seq, "nowhere": seq}});
        assert_eq!(resumed.ask(hello).await["type"], "welcome");
        assert_eq!(resumed.hear("reset").await, json!({"type": "reset", "room": room, "head": 1}));
    }
    let page = ann.done(json!({"type": "history", "room": room, "before": 0})).await;
    assert_eq!(page["entries"], json!([]));
}

#[tokio::test]
async fn who_has_not_said_hello_may_only_say_hello() {
    let server = server().await;
    let (mut witness, person) = Talk::of(&server, "Ann").await;
    let mut stranger = Talk::silent(&server).await;
    let code = "unauthorized";
    let mut cases: Vec<_> = [
        "rooms", "watch", "create", "join", "open", "send", "typing", "history", "members",
    ]
    .into_iter()
    .map(|name| {
        let all = json!({"type": name, "directory": true, "name": "x", "room": "r", "text": "x", "after": 0});
        (all, code, None)
    })
    .collect();
    for token in ["", "x", "a.b.c", &"x".repeat(100_000), &format!("{}x", person.token)] {
        cases.push((json!({"type": "hello", "token": token}), code, None));
    }
    cases.push((json!({"type": "hello"}), code, None));
    cases.push((json!({"type": "hello", "token": 7}), "bad_request", None));
    all_refused(&mut stranger, &mut witness, cases).await;
    let welcome = stranger.ask(json!({"type": "hello", "token": person.token})).await;
    assert_eq!(welcome["type"], "welcome");
    assert!(!server.log().contains(&person.token), "a token is in the log");
}

#[tokio::test]
async fn a_connection_stays_with_its_user() {
    let server = server().await;
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let (mut bob, bob_is) = Talk::of(&server, "Bob").await;
    let cases = vec![
        (json!({"type": "hello", "token": bob_is.token}), "forbidden", None),
        (json!({"type": "hello", "token": "wrong"}), "unauthorized", None),
    ];
    all_refused(&mut ann, &mut bob, cases).await;
    let welcome = ann.ask(json!({"type": "hello", "token": ann_is.token})).await;
    assert_eq!((&welcome["type"], &welcome["user"]["name"]), (&json!("welcome"), &json!("Ann")));
}

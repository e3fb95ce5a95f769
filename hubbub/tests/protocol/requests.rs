//! Every request and every event, as two or three people see them.

use hubbub_testkit::{Hubbub, Person, eventually, in_time};
use serde_json::{Value, json};

use crate::plain_http::api;
use crate::talk::{Talk, frame};
use crate::{program, server};

fn seqs(page: &Value) -> Vec<u64> {
    page["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_life_in_a_room() {
    let server = server().await;
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let (mut bob, bob_is) = Talk::of(&server, "Bob").await;
    let ann_shown = json!({"id": ann_is.id.as_str(), "name": "Ann"});
    let bob_shown = json!({"id": bob_is.id.as_str(), "name": "Bob"});

    bob.done(json!({"type": "watch", "directory": true})).await;
    let made = ann.done(json!({"type": "create", "name": "Tea", "topic": "Leaves"})).await;
    let room = made["room"]["id"].as_str().unwrap().to_owned();
    let mut info = json!({"id": room, "name": "Tea", "topic": "Leaves", "owner": ann_is.id.as_str(), "head": 1, "members": 1});
    assert_eq!(made["room"], info);
    let heard = bob.hear("room").await;
    assert_eq!(
        heard,
        json!({"type": "room", "id": room, "name": "Tea", "topic": "Leaves", "owner": ann_is.id.as_str()})
    );
    let listed = bob.done(json!({"type": "rooms"})).await;
    assert_eq!((&listed["rooms"][0]["id"], &listed["rooms"][0]["members"]), (&json!(room), &json!(1)));

    assert_eq!(bob.done(json!({"type": "join", "room": room})).await["seq"], 2);
    assert_eq!(bob.done(json!({"type": "join", "room": room})).await["seq"], 2);
    let joined = ann.hear("join").await;
    let at = joined["at"].clone();
    assert_eq!(
        joined,
        json!({"type": "join", "room": room, "seq": 1, "user": ann_shown, "at": at}),
        "her own"
    );
    let joined = ann.hear("join").await;
    let at = joined["at"].clone();
    assert_eq!(joined, json!({"type": "join", "room": room, "seq": 2, "user": bob_shown, "at": at}));

    bob.raw.send_json(&json!({"type": "typing", "room": room})).await.unwrap();
    assert_eq!(
        ann.hear("typing").await,
        json!({"type": "typing", "room": room, "user": bob_shown, "on": true})
    );

    let sent = bob.done(json!({"type": "send", "room": room, "text": "Hi \"Ann\"\n😀", "key": "k"})).await;
    assert_eq!((&sent["seq"], &sent["durability"]), (&json!(3), &json!("disk")));
    let message = json!({"type": "message", "room": room, "seq": 3, "user": bob_shown, "kind": "text",
        "text": "Hi \"Ann\"\n😀", "at": sent["at"]});
    assert_eq!(ann.hear("message").await, message);
    let mut own = message.clone();
    own["key"] = json!("k");
    assert_eq!(bob.hear("message").await, own, "a sender sees the key");
    ann.done(json!({"type": "send", "room": room, "text": "https://example.org/tea"})).await;
    assert_eq!(bob.hear("message").await["kind"], "link");
    let picture = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
    ann.done(json!({"type": "send", "room": room, "image": picture})).await;
    let shown = bob.hear("message").await;
    assert_eq!(
        (&shown["kind"], &shown["image"], shown.get("text")),
        (&json!("image"), &json!(picture), None)
    );

    assert_eq!(ann.done(json!({"type": "topic", "room": room, "topic": "Cups"})).await["seq"], 6);
    let topic = bob.hear("topic").await;
    let at = topic["at"].clone();
    assert_eq!(
        topic,
        json!({"type": "topic", "room": room, "seq": 6, "user": ann_shown, "topic": "Cups", "at": at})
    );

    info["topic"] = json!("Cups");
    (info["head"], info["members"]) = (json!(6), json!(2));
    let open = bob.done(json!({"type": "open", "room": room, "limit": 4})).await;
    assert_eq!((&open["room"], seqs(&open)), (&info, vec![3, 4, 5, 6]));
    assert_eq!(open["entries"][0], message, "one shape wherever it is seen");
    let mut members = open["members"].as_array().unwrap().clone();
    members.sort_by_key(|member| member["name"].to_string());
    assert_eq!(members[0], json!({"id": ann_is.id.as_str(), "name": "Ann", "online": true}));

    assert_eq!(bob.done(json!({"type": "leave", "room": room})).await["seq"], 7);
    let left = ann.hear("leave").await;
    assert_eq!((&left["user"], &left["seq"], left.get("by")), (&bob_shown, &json!(7), None));
    bob.done(json!({"type": "join", "room": room})).await;
    assert_eq!(ann.done(json!({"type": "kick", "room": room, "user": bob_is.id.as_str()})).await["seq"], 9);
    ann.done(json!({"type": "send", "room": room, "text": "gone"})).await;
    let last = loop {
        let left = bob.hear("leave").await;
        if left["seq"] == 9 {
            break left;
        }
    };
    assert_eq!((&last["by"], &last["user"]["id"]), (&ann_shown, &bob_shown["id"]));
    let after = bob.heard_so_far().await;
    assert!(after.iter().all(|frame| frame["type"] != "message"), "after a kick nothing is sent: {after:?}");
}

#[tokio::test]
async fn history_goes_both_ways_in_pages_and_by_kind() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    for n in 2..=30 {
        let text = if n % 10 == 0 { "https://example.org/" } else { "text" };
        ann.done(json!({"type": "send", "room": room, "text": text})).await;
    }
    let all: Vec<u64> = (1..=30).collect();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut page = ann.done(json!({"type": "history", "room": room, "after": 0, "limit": 7})).await;
    up.extend(seqs(&page));
    while page["more"] == true {
        page = ann.done(json!({"type": "history", "room": room, "after": page["next"], "limit": 7})).await;
        up.extend(seqs(&page));
    }
    assert_eq!((up, page.get("next")), (all.clone(), None));
    let mut page = ann.done(json!({"type": "history", "room": room, "before": 31, "limit": 7})).await;
    down.splice(0..0, seqs(&page));
    while page["more"] == true {
        page = ann.done(json!({"type": "history", "room": room, "before": page["next"], "limit": 7})).await;
        down.splice(0..0, seqs(&page));
    }
    assert_eq!(down, all);
    for (kinds, found) in [
        (json!(["link"]), vec![10, 20, 30]),
        (json!(["join"]), vec![1]),
        (json!(["join", "link"]), vec![1, 10, 20, 30]),
        (json!(["leave", "image", "bot"]), vec![]),
    ] {
        let page = ann.done(json!({"type": "history", "room": room, "after": 0, "kinds": kinds})).await;
        assert_eq!((seqs(&page), &page["more"]), (found, &json!(false)), "{kinds}");
    }
    let page = ann.done(json!({"type": "history", "room": room, "after": 0, "limit": 1_000})).await;
    assert_eq!(seqs(&page), all);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, ann.room().await);
    }
    let mut others = Vec::new();
    for n in 0..4 {
        let (mut talk, person) = Talk::of(&server, &format!("P{n}")).await;
        talk.done(json!({"type": "join", "room": made[0]})).await;
        others.push((talk, person));
    }
    let mut request = json!({"type": "rooms", "limit": 2});
    let mut rooms = Vec::new();
    loop {
        let page = ann.done(request.clone()).await;
        rooms.extend(
            page["rooms"].as_array().unwrap().iter().map(|room| room["id"].as_str().unwrap().to_owned()),
        );
        match page.get("next") {
            Some(next) => request["cursor"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(rooms, made, "the newest first");
    let mut request = json!({"type": "members", "room": made[0], "limit": 2});
    let mut ids = Vec::new();
    loop {
        let page = ann.done(request.clone()).await;
        ids.extend(
            page["members"]
                .as_array()
                .unwrap()
                .iter()
                .map(|member| member["id"].as_str().unwrap().to_owned()),
        );
        match page.get("next") {
            Some(next) => request["cursor"] = next.clone(),
            None => break,
        }
    }
    assert!(ids.len() == 5 && ids.is_sorted(), "{ids:?}");
}

#[tokio::test]
async fn a_request_without_ref_gets_no_ok_but_its_error() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    ann.heard_so_far().await;
    for request in [
        json!({"type": "send", "room": room, "text": "x"}),
        json!({"type": "join", "room": room}),
        json!({"type": "watch", "directory": false}),
        json!({"type": "rooms"}),
    ] {
        ann.raw.send_json(&request).await.unwrap();
    }
    assert_eq!(ann.hear("message").await["seq"], 2);
    let heard = ann.heard_so_far().await;
    assert_eq!(heard, Vec::<Value>::new());
    ann.raw.send_json(&json!({"type": "join", "room": "nowhere"})).await.unwrap();
    let error = ann.hear("error").await;
    assert_eq!((&error["code"], error.get("ref")), (&json!("no_such_room"), None));
    ann.raw.send_text(r#"{"type":"ping","ref":-9223372036854775808}"#).await.unwrap();
    assert_eq!(ann.hear("pong").await["ref"], json!(i64::MIN));
}

#[tokio::test]
async fn what_is_sent_behind_a_hello_finds_it_answered() {
    let server = server().await;
    let (_, person) = Talk::of(&server, "Ann").await;
    for _ in 0..20 {
        let mut talk = Talk::silent(&server).await;
        let all = [
            json!({"type": "ping", "ref": 1}),
            json!({"type": "hello", "ref": 2, "token": person.token}),
            json!({"type": "rooms", "ref": 3}),
        ];
        let frames = all.iter().flat_map(|request| frame(0x81, request.to_string().as_bytes()));
        talk.raw.send_bytes(&frames.collect::<Vec<_>>()).await.unwrap();
        for answer in ["pong", "welcome", "ok"] {
            let frame = in_time("an answer", talk.raw.next_json()).await.unwrap();
            assert_eq!(frame["type"], answer, "{frame}");
        }
    }
}

#[tokio::test]
async fn presence_is_of_users_and_not_of_connections() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let (mut bob, bob_is) = Talk::of(&server, "Bob").await;
    bob.done(json!({"type": "join", "room": room})).await;
    let shown = |online| json!({"type": "presence", "room": room, "user": {"id": bob_is.id.as_str(), "name": "Bob"}, "online": online});
    let second = Talk::again(&server, &bob_is).await;
    drop(bob);
    let connections = async || (server.metric("hubbub_gateway_connections").await.ok()? == 2.0).then_some(());
    eventually("one of two connections is gone", connections).await;
    // What is to be told is told before an entry.
    ann.done(json!({"type": "send", "room": room, "text": "Is he?"})).await;
    let heard = ann.heard_so_far().await;
    assert!(!heard.contains(&shown(false)), "Bob is still there: {heard:?}");
    drop(second);
    let went = ann.hear("presence").await;
    assert_eq!(went, shown(false));
    let _back = Talk::again(&server, &bob_is).await;
    assert_eq!(ann.hear("presence").await, shown(true));
}

#[tokio::test]
async fn who_joins_without_a_connection_is_told_to_be_offline() {
    let server = server().await;
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    assert_eq!(ann.hear("join").await["user"]["id"], ann_is.id.as_str());
    let (_bob, bob_is) = Talk::of(&server, "Bob").await;
    let cyd_is = Person::register(&server, "Cyd").await.unwrap();
    for person in [&bob_is, &cyd_is] {
        let path = format!("/v1/chat/rooms/join/{room}");
        assert_eq!(api(&server, "POST", &path, &person.token, &Value::Null).await.status, 200);
        assert_eq!(ann.hear("join").await["user"]["id"], person.id.as_str());
    }
    let told = ann.hear("presence").await;
    assert_eq!((&told["user"]["id"], &told["online"]), (&json!(cyd_is.id.as_str()), &json!(false)), "{told}");
}

#[tokio::test]
async fn a_large_room_is_told_how_many_are_there() {
    let server = Hubbub::start(program().with("--presence-members-max=1")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let (mut bob, _) = Talk::of(&server, "Bob").await;
    bob.done(json!({"type": "join", "room": room})).await;
    loop {
        let presence = ann.hear("presence").await;
        if presence == json!({"type": "presence", "room": room, "count": 2}) {
            break;
        }
    }
}

#[tokio::test]
async fn typing_is_told_to_others_once_a_second_and_lapses() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let (mut bob, _) = Talk::of(&server, "Bob").await;
    bob.done(json!({"type": "join", "room": room})).await;
    for _ in 0..20 {
        bob.raw.send_json(&json!({"type": "typing", "room": room})).await.unwrap();
    }
    let sent = bob.done(json!({"type": "send", "room": room, "text": "x"})).await;
    let mut told = 0;
    loop {
        let heard = ann.heard_so_far().await;
        told += heard.iter().filter(|frame| frame["type"] == "typing").count();
        if heard.iter().any(|frame| frame["seq"] == sent["seq"]) {
            break;
        }
    }
    assert!((1..=2).contains(&told), "told {told} times");
    let heard = bob.heard_so_far().await;
    assert!(heard.iter().all(|frame| frame["type"] != "typing"), "never to the sender: {heard:?}");
    loop {
        if ann.hear("typing").await["on"] == false {
            break;
        }
    }
}

#[tokio::test]
async fn a_resume_sends_what_was_missed_and_then_what_comes() {
    let server = Hubbub::start(program().with("--resume-entries-max=3")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let (mut bob, bob_is) = Talk::of(&server, "Bob").await;
    bob.done(json!({"type": "join", "room": room})).await;
    drop(bob);
    for n in 3..=6 {
        ann.done(json!({"type": "send", "room": room, "text": n.to_string()})).await;
    }
    let resume = |seen: u64| json!({"type": "hello", "token": bob_is.token, "rooms": {room.as_str(): seen}});
    let mut near = Talk::silent(&server).await;
    let welcome = near.ask(resume(3)).await;
    assert_eq!(welcome["rooms"][0]["head"], 6, "{welcome}");
    for seq in 4..=6 {
        assert_eq!(near.hear("message").await["seq"], seq);
    }
    let mut far = Talk::silent(&server).await;
    far.ask(resume(2)).await;
    assert_eq!(far.hear("behind").await, json!({"type": "behind", "room": room, "after": 2, "head": 6}));
    let mut ahead = Talk::silent(&server).await;
    ahead.ask(resume(60)).await;
    assert_eq!(ahead.hear("reset").await, json!({"type": "reset", "room": room, "head": 6}));
    ann.done(json!({"type": "send", "room": room, "text": "7"})).await;
    for talk in [&mut near, &mut far, &mut ahead] {
        assert_eq!(talk.hear("message").await["seq"], 7);
    }
}

#[tokio::test]
async fn a_room_that_is_made_again_by_who_left_it_is_not_shown_again() {
    let server = server().await;
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let create = json!({"type": "create", "name": "Tea", "key": "once"});
    let room = ann.done(create.clone()).await["room"]["id"].clone();
    ann.hear("join").await;
    ann.done(json!({"type": "leave", "room": room})).await;
    ann.hear("leave").await;
    assert_eq!(ann.done(create).await["room"]["id"], room);
    // What it was led to follow would have come by then, and to one who comes as well.
    let mut bob = Talk::of(&server, "Bob").await.0;
    bob.done(json!({"type": "join", "room": room})).await;
    bob.done(json!({"type": "send", "room": room, "text": "Is she there?"})).await;
    bob.hear("message").await;
    assert_eq!(ann.heard_so_far().await, Vec::<Value>::new());
    let mut again = Talk::again(&server, &ann_is).await;
    bob.done(json!({"type": "send", "room": room, "text": "Or there?"})).await;
    bob.hear("message").await;
    assert_eq!(again.heard_so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn who_joins_and_leaves_in_one_breath_is_not_sent_what_follows() {
    let server = server().await;
    let ann = Person::register(&server, "Ann").await.unwrap();
    let post = async |path: &str, body| {
        let answer = server.post(&format!("/v1/chat/rooms{path}"), Some(&ann.token), &body).await.unwrap();
        serde_json::from_str::<Value>(&answer.text).unwrap()
    };
    for n in 0..20 {
        // Nobody has the room open: she is on no connection.
        let room = post("", json!({"name": "Tea", "topic": ""})).await["id"].clone();
        let bob_is = Person::register(&server, &format!("Bob{n}")).await.unwrap();
        let mut bob = Talk::again(&server, &bob_is).await;
        for what in ["join", "leave"] {
            bob.raw.send_json(&json!({"type": what, "room": room, "ref": what})).await.unwrap();
        }
        for what in ["join", "leave"] {
            assert_eq!(bob.answer(&json!(what)).await["type"], "ok");
        }
        bob.heard_so_far().await;
        let mut again = Talk::again(&server, &bob_is).await;
        post(&format!("/message/{}", room.as_str().unwrap()), json!({"message": "Is he there?"})).await;
        for bob in [&mut bob, &mut again] {
            assert_eq!(bob.heard_so_far().await, Vec::<Value>::new());
        }
    }
}

#[tokio::test]
async fn the_last_room_that_one_may_have_is_made_once_however_often_it_is_asked_for() {
    let server = Hubbub::start(program().with("--rooms-of-user-max=2")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    ann.done(json!({"type": "create", "name": "Tea"})).await;
    let create = json!({"type": "create", "name": "Milk", "key": "once"});
    let room = ann.done(create.clone()).await["room"]["id"].clone();
    assert_eq!(ann.done(create).await["room"]["id"], room);
    assert_eq!(ann.ask(json!({"type": "create", "name": "Sugar"})).await["code"], "forbidden");
}

//! Every row of the table of paths, walked through by two people.

use hubbub_client::raw::Raw;
use hubbub_testkit::{Hubbub, Person};
use serde_json::{Value, json};

use crate::plain_http::{Response, api, ask};
use crate::talk::Talk;
use crate::{program, server};

async fn good(server: &Hubbub, method: &str, path: &str, who: &Person, body: Value) -> Value {
    let answer = api(server, method, path, &who.token, &body).await;
    assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{method} {path}");
    answer.json()
}

fn seqs(page: &Value) -> Vec<u64> {
    page["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn every_path_does_what_the_table_says() {
    let server = server().await;
    let ann = Person::register(&server, "Ann").await.unwrap();
    let bob = Person::register(&server, "Bob").await.unwrap();
    let valid = good(&server, "GET", "/v1/accounts/validate", &ann, Value::Null).await;
    assert_eq!(valid, json!({"user": ann.id.as_str(), "name": "Ann", "type": 1, "roles": ["user"]}));

    let about = json!({"name": "The lobby", "topic": "Say hello"});
    let made = good(&server, "POST", "/v1/chat/rooms", &ann, about).await;
    let id = made["id"].as_str().unwrap();
    let room = format!("/v1/chat/rooms/{id}");
    let shown = good(&server, "GET", &room, &bob, Value::Null).await;
    let mut expected = json!({"id": id, "name": "The lobby", "topic": "Say hello", "owner": ann.id.as_str(), "head": 1, "members": 1});
    assert_eq!(shown, expected);
    let listed = good(&server, "GET", "/v1/chat/rooms", &bob, Value::Null).await;
    assert_eq!((&listed["rooms"][0]["id"], listed.get("next")), (&json!(id), None), "{listed}");
    assert!(listed["rooms"][0]["created_at"].is_u64(), "{listed}");

    let join = format!("/v1/chat/rooms/join/{id}");
    for _ in 0..2 {
        assert_eq!(good(&server, "POST", &join, &bob, Value::Null).await, json!({"id": id}));
    }
    let say = format!("/v1/chat/rooms/message/{id}");
    let sent = good(&server, "POST", &say, &bob, json!({"message": "Hello"})).await;
    assert_eq!(sent, json!({"id": format!("{id}-3"), "seq": 3}));
    let picture = "iVBORw0KGgoAAAANSUhEUgAA";
    assert_eq!(good(&server, "POST", &say, &bob, json!({"image": picture})).await["seq"], 4);
    let link = good(&server, "POST", &say, &ann, json!({"message": "https://example.org/"})).await;
    assert_eq!(link["seq"], 5);
    assert_eq!(
        good(&server, "PUT", &format!("{room}/topic"), &ann, json!({"topic": "Goodbye"})).await["id"],
        id
    );

    let history = format!("{room}/messages");
    let log = good(&server, "GET", &history, &ann, Value::Null).await;
    assert_eq!((seqs(&log), &log["more"], log.get("next")), ((1..=6).collect(), &json!(false), None));
    let types: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| &entry["type"]).collect();
    assert_eq!(types, ["join", "join", "message", "message", "message", "topic"]);
    let said = &log["entries"][2];
    let hello = json!({"type": "message", "room": id, "seq": 3, "user": {"id": bob.id.as_str(), "name": "Bob"},
        "kind": "text", "text": "Hello", "at": said["at"]});
    assert_eq!(said, &hello);
    assert_eq!(log["entries"][3]["image"], format!("data:image/png;base64,{picture}"));
    assert_eq!(
        (&log["entries"][4]["kind"], &log["entries"][5]["topic"]),
        (&json!("link"), &json!("Goodbye"))
    );
    for (query, found, more) in [
        ("?before=3", vec![1, 2], false),
        ("?before=6&limit=2", vec![4, 5], true),
        ("?after=4", vec![5, 6], false),
        ("?after=0&limit=3", vec![1, 2, 3], true),
        ("?kinds=join,topic", vec![1, 2, 6], false),
        ("?after=18446744073709551615", vec![], false),
    ] {
        let page = good(&server, "GET", &format!("{history}{query}"), &bob, Value::Null).await;
        assert_eq!((seqs(&page), &page["more"]), (found, &json!(more)), "{query}");
        assert_eq!(page.get("next").is_some(), more, "{query}: {page}");
    }

    let _talk = Talk::again(&server, &ann).await;
    let members = format!("{room}/members");
    let first = good(&server, "GET", &format!("{members}?limit=1"), &bob, Value::Null).await;
    let next = first["next"].as_str().unwrap();
    let second = good(&server, "GET", &format!("{members}?limit=1&cursor={next}"), &bob, Value::Null).await;
    let mut all = [first["members"][0].clone(), second["members"][0].clone()];
    all.sort_by_key(|member| member["name"].to_string());
    assert_eq!(all[0], json!({"id": ann.id.as_str(), "name": "Ann", "online": true}));
    assert_eq!(all[1], json!({"id": bob.id.as_str(), "name": "Bob", "online": false}));
    assert_eq!(second.get("next"), None);

    let leave = format!("/v1/chat/rooms/leave/{id}");
    assert_eq!(good(&server, "DELETE", &leave, &bob, Value::Null).await, json!({"id": id}));
    good(&server, "POST", &join, &bob, Value::Null).await;
    let kick = format!("{members}/{}", bob.id);
    assert_eq!(good(&server, "DELETE", &kick, &ann, Value::Null).await, json!({"id": id}));
    expected["topic"] = json!("Goodbye");
    expected["head"] = json!(9);
    assert_eq!(good(&server, "GET", &room, &bob, Value::Null).await, expected);
}

#[tokio::test]
async fn a_key_is_one_message_over_both_doors() {
    let server = server().await;
    let (mut ann, ann_is) = Talk::of(&server, "Ann").await;
    let (mut bob, bob_is) = Talk::of(&server, "Bob").await;
    let room = ann.room().await;
    bob.done(json!({"type": "join", "room": room})).await;
    let path = format!("/v1/chat/rooms/message/{room}");
    let over_http = async |who: &Person, key: &str| {
        let lines = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n",
            who.token
        );
        ask(&server, "POST", &path, &lines, r#"{"message":"once"}"#).await.json()["seq"].clone()
    };
    let over_ws = json!({"type": "send", "room": room, "text": "once", "key": "k1"});
    assert_eq!(over_http(&ann_is, "k1").await, 3);
    assert_eq!(over_http(&ann_is, "\"k1\"").await, 3, "in quotes it is the same key");
    let in_body = json!({"message": "once", "key": "k1"});
    assert_eq!(good(&server, "POST", &path, &ann_is, in_body).await["seq"], 3, "in the body too");
    let headers = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: k1\r\n",
        ann_is.token
    );
    let two = ask(&server, "POST", &path, &headers, r#"{"message":"once","key":"k2"}"#).await;
    let problem = two.is_problem("two keys", 400, "bad_request", 602);
    assert_eq!(problem["field"], "key", "{problem}");
    let first = ann.done(over_ws.clone()).await;
    let again = ann.done(over_ws.clone()).await;
    assert_eq!(first["seq"], 3);
    assert_eq!((&first["at"], &first["durability"]), (&again["at"], &json!("disk")));
    assert_eq!(bob.done(over_ws).await["seq"], 4, "another user's key is another key");
    assert_eq!(over_http(&bob_is, "k1").await, 4);
    let log = ann.done(json!({"type": "history", "room": room, "after": 2})).await;
    assert_eq!(seqs(&log), [3, 4]);

    let make = async |key: &str| {
        let lines = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n",
            ann_is.token
        );
        ask(&server, "POST", "/v1/chat/rooms", &lines, r#"{"name":"Twice"}"#).await.json()["id"].clone()
    };
    let made = make("room").await;
    assert_eq!(make("room").await, made);
    let in_body = json!({"name": "Twice", "key": "room"});
    assert_eq!(good(&server, "POST", "/v1/chat/rooms", &ann_is, in_body).await["id"], made);
    let again = ann.done(json!({"type": "create", "name": "Twice", "key": "room"})).await;
    assert_eq!(again["room"]["id"], made);
}

async fn open(server: &Hubbub, path: &str) -> Response {
    let answer = ask(server, "GET", path, "", "").await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer
}

#[tokio::test]
async fn operators_and_the_curious_need_no_token() {
    let server = server().await;
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    ann.done(json!({"type": "send", "room": room, "text": "x"})).await;
    ann.done(json!({"type": "history", "room": room, "after": 0})).await;
    ann.ask(json!({"type": "join", "room": "nowhere"})).await;

    assert_eq!(open(&server, "/healthz").await.json(), json!({"status": "alive"}));
    assert_eq!(open(&server, "/readyz").await.json(), json!({"status": "ready"}));
    let page = open(&server, "/").await;
    assert!(page.header("content-type").starts_with("text/html") && page.body.contains("Hubbub"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let openapi = open(&server, "/openapi.json").await.json();
    for path in ["/v1/accounts", "/v1/chat/rooms/join/{id}", "/v1/chat/rooms/{id}/messages", "/readyz"] {
        assert!(openapi["paths"][path].is_object(), "{path} is not described");
    }
    assert!(open(&server, "/asyncapi.json").await.json()["asyncapi"].is_string());
    assert!(open(&server, "/problems/not_member").await.body.contains("not_member"));

    let metrics = open(&server, "/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "hubbub_gateway_connections 1",
        "hubbub_gateway_failed_requests_total{code=\"no_such_room\",door=\"ws\"} 1",
        "# HELP hubbub_gateway_ack_seconds ",
        "# HELP hubbub_worker_entries_committed_total ",
        "# HELP hubbub_history_reads_total ",
        "# HELP hubbub_store_commit_seconds ",
        "hubbub_store_entries_total 2",
        "# HELP process_resident_memory_bytes ",
        "hubbub_build_info{",
    ] {
        assert!(
            metrics.body.lines().any(|have| have.starts_with(line)),
            "{line} is not in\n{}",
            metrics.body
        );
    }
}

/// Level `http` of the system before this one.
#[tokio::test]
async fn each_request_has_a_line_for_who_asks_for_it_and_no_token_is_in_one() {
    let quiet = server().await;
    let server = Hubbub::start(program().with("--log=http")).await.unwrap();
    for server in [&quiet, &server] {
        let ann = Person::register(server, "Ann").await.unwrap();
        good(server, "GET", "/v1/chat/rooms?limit=3", &ann, Value::Null).await;
        let wrong = json!({"email": "nobody@example.org", "password": "not the one"});
        assert_eq!(api(server, "POST", "/v1/accounts/login", "", &wrong).await.status, 401);
        assert_eq!(ask(server, "GET", &format!("/v1/{}", ann.token), "", "").await.status, 404);
        let url = format!("{}?access_token={}", server.ws_url(), ann.token);
        drop(Raw::connect(&url, None).await.unwrap());
        assert!(!server.log().contains(&ann.token) && !server.log().contains("not the one"));
    }
    assert!(!quiet.log().contains("a request was answered"));
    for parts in [
        ["method=GET", "path=\"/v1/chat/rooms\"", "status=200"],
        ["method=POST", "path=\"/v1/accounts/login\"", "status=401"],
        ["method=GET", "path=\"/v1/…\"", "status=404"],
        ["method=GET", "path=\"/v1/ws\"", "status=101"],
    ] {
        let log = server.log();
        let is_it = |line: &&str| parts.iter().all(|part| line.contains(part));
        let line = log.lines().find(is_it).unwrap_or_else(|| panic!("{parts:?} in {log}"));
        assert!(line.contains("client=127.0.0.1") && line.contains(" ms="), "{line}");
    }
}

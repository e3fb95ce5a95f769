//! Every kind of failure over HTTP: status, problem document, the number of the system that this one replaces.

use hubbub_testkit::{Person, in_time};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::plain_http::{api, ask, read};
use crate::server;
use crate::talk::Talk;

#[tokio::test]
async fn a_failure_is_a_problem_with_the_number_that_old_clients_know() {
    let server = server().await;
    let (mut talk, ann) = Talk::of(&server, "Ann").await;
    let bob = Person::register(&server, "Bob").await.unwrap();
    let id = talk.room().await;
    let room = format!("/v1/chat/rooms/{id}");
    let say = format!("/v1/chat/rooms/message/{id}");
    let history = format!("{room}/messages");
    let account =
        |name: &str, email: &str, password: &str| json!({"name": name, "email": email, "password": password});
    let nothing = Value::Null;
    let (bad, accounts) = ("bad_request", "/v1/accounts");
    let cases: Vec<(&str, &str, Value, u16, &str, u16)> = vec![
        ("POST", accounts, account("Ann", "Ann@example.org", "correct horse"), 409, "conflict", 1004),
        ("POST", accounts, account("", "x@example.org", "correct horse"), 400, bad, 1004),
        ("POST", accounts, account("X", "x", "correct horse"), 400, bad, 1004),
        ("POST", accounts, account("X", "x@example.org", "short"), 400, bad, 1004),
        ("POST", accounts, json!({"name": "X"}), 400, bad, 1004),
        (
            "POST",
            "/v1/accounts/login",
            json!({"email": "ann@example.org", "password": "wrong"}),
            401,
            "unauthorized",
            1001,
        ),
        (
            "POST",
            "/v1/accounts/login",
            json!({"email": "who@example.org", "password": "wrong"}),
            401,
            "unauthorized",
            1001,
        ),
        ("POST", "/v1/chat/rooms", json!({"name": " "}), 400, bad, 500),
        ("POST", "/v1/chat/rooms", json!({"name": "x".repeat(81)}), 413, "too_large", 500),
        ("POST", "/v1/chat/rooms", json!([]), 400, bad, 500),
        ("GET", "/v1/chat/rooms?limit=0", nothing.clone(), 400, bad, 500),
        ("GET", "/v1/chat/rooms?limit=x", nothing.clone(), 400, bad, 500),
        ("GET", "/v1/chat/rooms?cursor=x", nothing.clone(), 400, bad, 500),
        ("GET", "/v1/chat/rooms/nowhere", nothing.clone(), 404, "no_such_room", 600),
        ("GET", "/v1/chat/rooms/a.b", nothing.clone(), 404, "no_such_room", 600),
        ("GET", "/v1/chat/rooms/%00", nothing.clone(), 404, "no_such_room", 600),
        ("GET", "/v1/chat/rooms/%F0%9F%98%80", nothing.clone(), 404, "no_such_room", 600),
        ("GET", "/v1/chat/rooms/%ff", nothing.clone(), 404, "no_such_room", 600),
        ("POST", "/v1/chat/rooms/join/nowhere", nothing.clone(), 404, "no_such_room", 600),
        ("DELETE", "/v1/chat/rooms/leave/*", nothing.clone(), 404, "no_such_room", 600),
        ("POST", "/v1/chat/rooms/message/nowhere", json!({"message": "x"}), 404, "no_such_room", 600),
        ("POST", &say, json!({}), 400, bad, 602),
        ("POST", &say, json!({"message": ""}), 400, bad, 602),
        ("POST", &say, json!({"message": "x".repeat(4_097)}), 413, "too_large", 602),
        ("POST", &say, json!({"image": "not base64"}), 400, bad, 602),
        ("POST", &say, json!({"message": "/weather=X"}), 400, "bad_request", 602),
        ("POST", &say, json!({"message": "x", "after": -1}), 400, bad, 602),
        ("GET", "/v1/chat/rooms/nowhere/messages", nothing.clone(), 404, "no_such_room", 600),
        ("GET", &format!("{history}?before=-1"), nothing.clone(), 400, bad, 604),
        ("GET", &format!("{history}?before=99999999999999999999"), nothing.clone(), 400, bad, 604),
        ("GET", &format!("{history}?before=1&after=1"), nothing.clone(), 400, bad, 604),
        ("GET", &format!("{history}?kinds=nope"), nothing.clone(), 400, bad, 604),
        ("GET", &format!("{room}/members?cursor=a.b"), nothing.clone(), 400, bad, 500),
        ("DELETE", &format!("{room}/members/nobody"), nothing.clone(), 403, "not_member", 500),
        ("GET", "/nowhere", nothing.clone(), 404, bad, 500),
        ("PATCH", "/v1/chat/rooms", nothing.clone(), 405, bad, 500),
    ]
    .into_iter()
    .map(|(method, path, body, status, code, error)| {
        (method, &*path.to_owned().leak(), body, status, code, error)
    })
    .collect();
    for (method, path, body, status, code, error) in cases {
        let answer = api(&server, method, path, &ann.token, &body).await;
        answer.is_problem(&format!("{method} {path} {body}"), status, code, error);
    }
    let outside = [
        ("POST", say.clone(), json!({"message": "x"}), "not_member", 602),
        ("DELETE", format!("/v1/chat/rooms/leave/{id}"), nothing.clone(), "not_member", 500),
        ("PUT", format!("{room}/topic"), json!({"topic": "x"}), "forbidden", 500),
        ("DELETE", format!("{room}/members/{}", ann.id), nothing.clone(), "forbidden", 500),
    ];
    for (method, path, body, code, error) in outside {
        let answer = api(&server, method, &path, &bob.token, &body).await;
        answer.is_problem(&format!("{method} {path}"), 403, code, error);
    }
    talk.is_well().await;
}

#[tokio::test]
async fn without_a_valid_token_there_is_a_challenge() {
    let server = server().await;
    let paths = [
        ("GET", "/v1/accounts/validate"),
        ("POST", "/v1/chat/rooms"),
        ("GET", "/v1/chat/rooms"),
        ("GET", "/v1/chat/rooms/r"),
        ("PUT", "/v1/chat/rooms/r/topic"),
        ("POST", "/v1/chat/rooms/join/r"),
        ("DELETE", "/v1/chat/rooms/leave/r"),
        ("POST", "/v1/chat/rooms/message/r"),
        ("GET", "/v1/chat/rooms/r/messages"),
        ("GET", "/v1/chat/rooms/r/members"),
        ("DELETE", "/v1/chat/rooms/r/members/u"),
    ];
    for (method, path) in paths {
        for line in [
            "",
            "Authorization: Bearer wrong\r\n",
            "Authorization: Basic YTpi\r\n",
            "Authorization: Bearer \r\n",
        ] {
            let lines = format!("{line}Content-Type: application/json\r\n");
            let answer = ask(&server, method, path, &lines, "{}").await;
            answer.is_problem(&format!("{method} {path} {line}"), 401, "unauthorized", 1000);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_body_must_be_json_and_small_enough() {
    let server = server().await;
    let (mut talk, ann) = Talk::of(&server, "Ann").await;
    let say = format!("/v1/chat/rooms/message/{}", talk.room().await);
    let token = format!("Authorization: Bearer {}\r\n", ann.token);
    let lines = format!("{token}Content-Type: application/json\r\n");
    let deep = "[".repeat(10_000);
    for (what, lines, body, status, code) in [
        ("no media type", token.as_str(), r#"{"message":"x"}"#, 415, "bad_request"),
        ("not JSON", &lines, "message=x", 400, "bad_request"),
        ("cut short", &lines, r#"{"message":"#, 400, "bad_request"),
        ("10,000 deep", &lines, &deep, 400, "bad_request"),
        ("too large", &lines, &format!("\"{}\"", "x".repeat(512 * 1024)), 413, "too_large"),
    ] {
        ask(&server, "POST", &say, lines, body).await.is_problem(what, status, code, 602);
    }
    let small = format!("\"{}\"", "x".repeat(16 * 1024));
    let answer = ask(&server, "POST", "/v1/accounts", &lines, &small).await;
    answer.is_problem("too large for an account", 413, "too_large", 1004);
    let claim = format!("POST {say} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 2147483648\r\n\r\n");
    crate::plain_http::exchange(&server, claim.as_bytes()).await.is_problem(
        "a claim of 2 GB",
        413,
        "too_large",
        602,
    );
    // Who waits to be told to go on is told that, and no more, nor `100 Continue` before it.
    for (token, status) in [(token.as_str(), 413), ("", 401)] {
        let waits = format!(
            "POST {say} HTTP/1.1\r\nHost: x\r\n{token}Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n"
        );
        assert_eq!(crate::plain_http::exchange(&server, waits.as_bytes()).await.status, status);
    }
    talk.is_well().await;
}

/// A client that writes all of its body before it reads has the answer, which a reset would have lost.
#[tokio::test]
async fn who_is_refused_while_they_write_has_the_answer() {
    let server = server().await;
    let (mut talk, ann) = Talk::of(&server, "Ann").await;
    let say = format!("/v1/chat/rooms/message/{}", talk.room().await);
    let token = format!("Authorization: Bearer {}\r\n", ann.token);
    for (token, bytes, status) in [
        (token.as_str(), 600_000, 413),
        (&token, 3_000_000, 413),
        (&token, 30_000_000, 413),
        ("", 300_000, 401),
        ("", 3_000_000, 401),
    ] {
        let picture = format!("{{\"image\":\"{}\"}}", "A".repeat(bytes));
        let lines = format!("{token}Content-Type: application/json\r\n");
        let (len, host) = (picture.len(), server.address());
        let head = format!("POST {say} HTTP/1.1\r\nHost: {host}\r\n{lines}");
        let declared = format!("{head}Content-Length: {len}\r\n\r\n{picture}");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n{picture}\r\n0\r\n\r\n");
        for request in [declared, chunked] {
            let mut socket = TcpStream::connect(host).await.unwrap();
            in_time("all is written", socket.write_all(request.as_bytes())).await.unwrap();
            let answer = in_time("an answer", read(&mut socket)).await;
            assert_eq!(answer.status, status, "{bytes}: {answer:?}");
            // What was read to its end is followed by the next request.
            let next = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
            in_time("the next is written", socket.write_all(next.as_bytes())).await.unwrap();
            assert_eq!(in_time("an answer", read(&mut socket)).await.status, 200, "{bytes}");
        }
    }
    talk.is_well().await;
}

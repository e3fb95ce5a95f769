//! A token that was called back is none, whatever becomes of the server.

use std::io::Write;
use std::net::TcpStream;

use hubbub_testkit::{Person, eventually};
use serde_json::json;

use crate::common::server;

#[tokio::test]
async fn who_logged_out_is_out_after_kill_9() {
    let mut server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let bob = Person::register(&server, "bob").await.unwrap();
    let out = server.post("/v1/accounts/logout", Some(&ann.token), &json!({})).await.unwrap();
    assert_eq!(out.status, 200, "{out:?}");
    for _ in 0..2 {
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        for (person, status) in [(&ann, 401), (&bob, 200)] {
            let asked = server.get("/v1/accounts/validate", Some(&person.token)).await.unwrap();
            assert_eq!(asked.status, status, "{asked:?}");
        }
    }
}

#[tokio::test]
async fn who_hangs_up_while_they_log_out_is_out_all_the_same() {
    let server = server().await;
    let mut people = Vec::new();
    for n in 0..6 {
        people.push(Person::register(&server, &format!("person{n}")).await.unwrap());
    }
    for Person { token, .. } in &people {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        let head = "POST /v1/accounts/logout HTTP/1.1\r\nhost: chat\r\ncontent-length: 0\r\n";
        socket.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    }
    for person in &people {
        eventually("the token is refused", async || {
            let asked = server.get("/v1/accounts/validate", Some(&person.token)).await.unwrap();
            (asked.status == 401).then_some(())
        })
        .await;
    }
}

//! A token that was called back is none, whatever becomes of the server.

use hubbub_testkit::Person;
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

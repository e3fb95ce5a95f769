//! A token that is called back at one gateway is no token at any.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hubbub_client::{Client, Error, Options};
use hubbub_core::ports::bus::Subject;
use hubbub_testkit::end_of;
use serde_json::json;

use crate::world::{Watcher, World};

#[tokio::test]
async fn a_token_called_back_at_one_gateway_is_refused_at_all() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &b, &[&ann]).await;
    let (_here, mut here) = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    b.learns(&ann.id, true).await;
    let (_there, mut there) = b.connect(&ann).await;
    assert_eq!(b.ask(&ann, "GET", "/v1/accounts/validate").await.0, 200);

    let (status, told) = a.ask(&ann, "POST", "/v1/accounts/logout").await;
    assert_eq!(status, 200, "{told}");
    assert!(told["until"].as_u64().is_some_and(|until| until > 0), "{told}");
    for events in [&mut here, &mut there] {
        assert_eq!(end_of(events).await, ("revoked".to_owned(), Some(4401)));
    }
    for door in [&a, &b] {
        for (method, path) in
            [("GET", "/v1/accounts/validate"), ("GET", "/v1/chat/rooms"), ("POST", "/v1/accounts/logout")]
        {
            let (status, problem) = door.ask(&ann, method, path).await;
            assert_eq!((status, &problem["error"]), (401, &json!(1000)), "{method} {path}");
        }
        let options = Options { token: ann.token.clone(), ..Options::new(door.url()) };
        assert!(matches!(Client::connect(options).await, Err(Error::Refused(_))));
    }
    // Her rooms hear of it, though it was the server that closed.
    eve.sees(&ann, false).await;
    assert!(eve.client.ping().await.is_ok(), "another one's token is as good as before");
}

#[tokio::test]
async fn a_connection_that_renewed_its_token_is_not_the_old_ones() {
    let world = World::start().await;
    let [a] = world.gateways(["a"]).await;
    let mut ann = world.person("ann").await;
    let (client, mut events) = a.connect(&ann).await;
    let fresh = loop {
        let token = world.log_in("ann").await;
        // Tokens of one second are the same.
        match token == ann.token {
            true => tokio::time::sleep(Duration::from_millis(200)).await,
            false => break token,
        }
    };
    client.set_token(fresh.clone()).await.unwrap();
    client.ping().await.unwrap();
    let (_old, mut old) = a.connect(&ann).await;
    assert_eq!(a.ask(&ann, "POST", "/v1/accounts/logout").await.0, 200);
    assert_eq!(end_of(&mut old).await.1, Some(4401));
    client.ping().await.unwrap();
    ann.token = fresh;
    assert_eq!(a.ask(&ann, "POST", "/v1/accounts/logout").await.0, 200);
    assert_eq!(end_of(&mut events).await.1, Some(4401));
}

#[tokio::test]
async fn what_could_not_be_told_or_was_lost_is_read() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    for (name, is_away) in [("ann", false), ("bob", true)] {
        let person = world.person(name).await;
        let (_here, mut here) = a.connect(&person).await;
        let (_there, mut there) = b.connect(&person).await;
        match is_away {
            true => a.line.is_away.store(true, SeqCst),
            false => a.line.lose(Subject::Control),
        }
        assert_eq!(a.ask(&person, "POST", "/v1/accounts/logout").await.0, 200);
        assert_eq!(end_of(&mut here).await.1, Some(4401));
        assert_eq!(a.ask(&person, "GET", "/v1/accounts/validate").await.0, 401);
        assert_eq!(b.ask(&person, "GET", "/v1/accounts/validate").await.0, 200, "it was not told");
        assert_eq!(end_of(&mut there).await, ("revoked".to_owned(), Some(4401)));
        assert_eq!(b.ask(&person, "GET", "/v1/accounts/validate").await.0, 401);
        a.line.is_away.store(false, SeqCst);
        a.line.lose_no_more();
    }
    let cyd = world.person("cyd").await;
    assert_eq!(b.ask(&cyd, "POST", "/v1/accounts/logout").await.0, 200);
    let late = world.gateway("late").await;
    assert_eq!(late.ask(&cyd, "GET", "/v1/accounts/validate").await.0, 401, "who begins knows it");
}

//! A token that is called back at one gateway is no token at any.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hubbub_client::{Client, Error, Options};
use hubbub_core::ports::bus::{Bus, Subject};
use hubbub_testkit::end_of;
use serde_json::json;

use crate::world::{Door, Watcher, World, until};

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
async fn it_is_said_again_for_the_bus_may_lose_it() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let ann = world.person("ann").await;
    let (_there, mut there) = b.connect(&ann).await;
    a.line.lose(Subject::Control);
    assert_eq!(a.ask(&ann, "POST", "/v1/accounts/logout").await.0, 200);
    assert_eq!(b.ask(&ann, "GET", "/v1/accounts/validate").await.0, 200, "it was lost");
    a.line.lose_no_more();
    assert_eq!(end_of(&mut there).await.1, Some(4401));
    assert_eq!(b.ask(&ann, "GET", "/v1/accounts/validate").await.0, 401);
}

#[tokio::test]
async fn what_could_not_be_said_was_not_done_and_may_be_asked_again() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let ann = world.person("ann").await;
    let (_there, mut there) = b.connect(&ann).await;
    a.line.is_away.store(true, SeqCst);
    assert_eq!(a.ask(&ann, "POST", "/v1/accounts/logout").await.0, 503);
    a.line.is_away.store(false, SeqCst);
    assert_eq!(a.ask(&ann, "POST", "/v1/accounts/logout").await.0, 200);
    assert_eq!(end_of(&mut there).await.1, Some(4401));
}

/// One that heard nothing for longer than it is said again, and one that was not there yet.
#[tokio::test]
async fn a_gateway_that_was_away_learns_of_it_from_another() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let ann = world.person("ann").await;
    let (_there, mut there) = b.connect(&ann).await;
    b.line.is_cut.store(true, SeqCst);
    let said = Arc::new(AtomicUsize::new(0));
    let count = said.clone();
    let counter = Arc::new(move |_| _ = count.fetch_add(1, SeqCst));
    let _counts = world.bus.listen(Subject::Control, counter).await.unwrap();
    assert_eq!(a.ask(&ann, "POST", "/v1/accounts/logout").await.0, 200);
    let refuses = async |door: &Door| door.ask(&ann, "GET", "/v1/accounts/validate").await.0 == 401;
    until("it was said for the last time", async || said.load(SeqCst) == 3).await;
    assert!(!refuses(&b).await, "it heard of it");
    b.line.is_cut.store(false, SeqCst);
    assert_eq!(end_of(&mut there).await, ("revoked".to_owned(), Some(4401)));
    assert!(refuses(&b).await);
    let [c] = world.gateways(["c"]).await;
    until("the new one knows", async || refuses(&c).await).await;
}

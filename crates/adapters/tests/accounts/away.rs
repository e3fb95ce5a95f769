//! An account service that fails: nobody is let in, nobody is refused, and it is not asked for long.

use std::sync::Arc;

use hubbub_adapters::accounts::HttpOptions;

use super::server::{Doing, start_junk};
use super::*;

const PAUSE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_token_is_no_answer() {
    let elsewhere = Server::start(Doing::Answer(200, ANA.into())).await;
    let (junk, _running) = start_junk().await;
    let failures = [
        ("trouble", Doing::Answer(500, r#"{"error":500}"#.into())),
        ("trouble", Doing::Answer(200, "<html>".into())),
        ("trouble", Doing::Answer(404, "not here".into())),
        ("trouble", Doing::Redirect(format!("{}/v1/accounts/validate", elsewhere.url))),
        ("failed", Doing::Close),
        ("failed", Doing::Header(200_000, ANA.into())),
        ("too_large", Doing::Answer(200, format!("{ANA}{}", " ".repeat(64 * 1_024)))),
    ];
    for (outcome, doing) in failures {
        let server = Server::start(doing).await;
        let (accounts, metrics) = counted(|| asking(&server, AuthServerOptions::default()));
        let answer = validate(&accounts, "t").await;
        assert!(is_unavailable(&answer), "{outcome}: {answer:?}");
        let line = format!(r#"hubbub_accounts_calls_total{{outcome="{outcome}"}} 1"#);
        assert!(metrics.render().contains(&line), "{line} in {}", metrics.render());
        server.answers(200, ANA);
        assert!(validate(&accounts, "t").await.is_ok(), "{outcome}: a failure is not kept");
    }
    assert_eq!(elsewhere.calls(), 0, "redirects are not followed");
    let nobody = {
        let server = Server::start(Doing::Close).await;
        server.url.clone()
    };
    for base in [&junk, &nobody] {
        let accounts = AuthServer::new(base, AuthServerOptions::default()).unwrap();
        assert!(is_unavailable(&validate(&accounts, "t").await));
    }
}

#[tokio::test]
async fn an_answer_of_the_largest_size_is_taken() {
    let body = format!("{ANA:1000}");
    let server = Server::start(Doing::Answer(200, body)).await;
    for (body_bytes_max, is_ok) in [(1_000, true), (999, false)] {
        let http = HttpOptions { body_bytes_max, ..Default::default() };
        let accounts = asking(&server, AuthServerOptions { http, ..Default::default() });
        assert_eq!(validate(&accounts, "t").await.is_ok(), is_ok);
    }
}

#[tokio::test]
async fn a_service_that_hangs_is_unavailable_when_the_time_is_over() {
    let server = Server::start(Doing::Hang).await;
    let (accounts, metrics) = counted(|| asking(&server, AuthServerOptions::default()));
    let timeout = HttpOptions::default().timeout;
    let began = tokio::time::Instant::now();
    let token = secret("t");
    let mut answer = accounts.validate(&token);
    tokio::select! { _ = &mut answer => panic!("an answer"), () = server.arrived(1) => {} }
    tokio::time::pause();
    let nearly = timeout.saturating_sub(began.elapsed()) - Duration::from_millis(2);
    tokio::time::advance(nearly).await;
    tokio::select! { biased; _ = &mut answer => panic!("too early"), () = std::future::ready(()) => {} }
    tokio::time::advance(Duration::from_millis(4)).await;
    // The clock stands still where nobody waits for it, so nothing but the deadline can have come.
    assert!(is_unavailable(&answer.await));
    let took = began.elapsed();
    assert!(took >= timeout && took < timeout + Duration::from_secs(1), "{took:?}");
    tokio::time::resume();
    assert!(metrics.render().contains(r#"hubbub_accounts_calls_total{outcome="timed_out"} 1"#));
    server.answers(200, ANA);
    assert!(validate(&accounts, "t").await.is_ok(), "the place is free again");
}

#[tokio::test]
async fn a_service_that_fails_is_not_asked_for_a_while_and_then_by_one() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let options = AuthServerOptions { valid_ttl: Duration::from_secs(60), ..Default::default() };
    let (accounts, metrics) = counted(|| Arc::new(asking(&server, options)));
    let is_open = || metrics.render().contains("\nhubbub_accounts_breaker_open 1\n");
    assert!(validate(&*accounts, "kept").await.is_ok());
    server.answers(503, "");
    for failure in 0..5 {
        assert!(!is_open());
        assert!(is_unavailable(&validate(&*accounts, &format!("a{failure}")).await));
    }
    assert!(is_open());
    for token in 0..20 {
        assert!(is_unavailable(&validate(&*accounts, &format!("b{token}")).await));
    }
    assert_eq!(server.calls(), 6, "it is left alone");
    assert!(metrics.render().contains(r#"hubbub_accounts_unasked_total{why="breaker"} 20"#));
    assert!(validate(&*accounts, "kept").await.is_ok(), "what is known counts");

    later(PAUSE).await;
    assert!(is_unavailable(&validate(&*accounts, "c").await));
    assert_eq!(server.calls(), 7, "one tries");
    assert!(is_unavailable(&validate(&*accounts, "c").await));
    assert_eq!(server.calls(), 7, "and fails");

    let gate = server.holds(ANA);
    later(PAUSE).await;
    let trying = tokio::spawn({
        let accounts = accounts.clone();
        async move { validate(&*accounts, "d").await }
    });
    server.arrived(8).await;
    assert!(is_unavailable(&validate(&*accounts, "e").await), "only one");
    gate.add_permits(10);
    assert!(trying.await.unwrap().is_ok());
    assert!(!is_open());
    assert!(validate(&*accounts, "e").await.is_ok());
    assert_eq!(server.calls(), 9);
}

#[tokio::test]
async fn refusals_are_answers_and_open_no_breaker() {
    let server = Server::start(Doing::Answer(401, String::new())).await;
    let accounts = asking(&server, AuthServerOptions::default());
    for token in 0..20 {
        assert_eq!(validate(&accounts, &token.to_string()).await, Err(AccountsError::InvalidToken));
    }
    assert_eq!(server.calls(), 20);
}

#[tokio::test]
async fn what_is_answered_about_one_token_opens_no_breaker_for_others() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let accounts = asking(&server, AuthServerOptions::default());
    let too_large = format!("{ANA}{}", " ".repeat(64 * 1_024));
    for (n, (status, body)) in [
        (200, r#"{"user":"a.b","name":"A","type":1,"roles":["user"]}"#),
        (200, r#"{"user":"a","name":"A","type":"1","roles":["user"]}"#),
        (200, &too_large),
        (400, "<html>Request Header Or Cookie Too Large</html>"),
        (404, "not here"),
    ]
    .into_iter()
    .enumerate()
    {
        server.answers(status, body);
        for _ in 0..5 {
            assert!(is_unavailable(&validate(&accounts, "theirs").await), "{status} {body:.40}");
        }
        server.answers(200, ANA);
        assert!(validate(&accounts, &format!("mine{n}")).await.is_ok(), "{status} {body:.40}");
    }
    for status in [429, 500] {
        let accounts = asking(&server, AuthServerOptions::default());
        server.answers(status, "");
        for _ in 0..5 {
            assert!(is_unavailable(&validate(&accounts, "theirs").await));
        }
        server.answers(200, ANA);
        assert!(is_unavailable(&validate(&accounts, "mine").await), "{status} tells how the service is");
    }
}

#[test]
fn a_wrong_address_is_told_without_quoting_it() {
    for bad in ["accounts.example.org", "https://ana:hunter2@accounts.example.org", "ftp://hunter2"] {
        let error = AuthServer::new(bad, AuthServerOptions::default()).err().unwrap();
        assert!(error.to_string().starts_with("AUTH_SERVER must ") && !error.to_string().contains("hunter2"));
    }
}

//! An account service that answers: how often it is asked, and what is kept.

use std::sync::Arc;

use hubbub_adapters::accounts::HttpOptions;
use hubbub_core::ids::Millis;
use hubbub_core::ports::accounts::Role;
use tokio::task::JoinSet;

use super::server::Doing;
use super::*;

#[tokio::test]
async fn the_service_is_asked_as_the_seed_asked_it() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let accounts = AuthServer::new(&format!("{}/base/", server.url), AuthServerOptions::default()).unwrap();
    let account = validate(&accounts, "t0ken").await.unwrap();
    assert_eq!(
        (account.user.id.as_str(), &*account.user.name, account.roles),
        ("ana", "Ana", vec![Role::User])
    );
    assert_eq!(server.seen(), [("/base/v1/accounts/validate".into(), "Bearer t0ken".into())]);
    assert!(accounts.built_in().is_none());
}

#[tokio::test]
async fn what_can_not_be_a_token_is_not_sent() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let accounts = asking(&server, AuthServerOptions::default());
    for bad in ["", "a b", "a\r\nHost: elsewhere", "é", &"a".repeat(10_000)] {
        assert_eq!(validate(&accounts, bad).await, Err(AccountsError::InvalidToken), "{bad:?}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_hundred_who_ask_about_one_token_make_one_call() {
    let server = Server::start(Doing::Hang).await;
    let gate = server.holds(ANA);
    let (accounts, metrics) = counted(|| Arc::new(asking(&server, AuthServerOptions::default())));
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let accounts = accounts.clone();
        asking.spawn(async move { validate(&*accounts, "one").await });
    }
    // All have been polled by then, for they are older than the server's part in it.
    server.arrived(1).await;
    gate.add_permits(100);
    for answer in asking.join_all().await {
        assert_eq!(answer.unwrap().user.id.as_str(), "ana");
    }
    assert_eq!(server.calls(), 1);
    assert!(metrics.render().contains(r#"hubbub_accounts_cache_hits_total{answer="shared"} 99"#));
}

#[tokio::test]
async fn who_leaves_takes_the_answer_from_nobody() {
    let server = Server::start(Doing::Hang).await;
    let gate = server.holds(ANA);
    let accounts = Arc::new(asking(&server, AuthServerOptions::default()));
    let mut tasks: Vec<_> = (0..2)
        .map(|_| {
            let accounts = accounts.clone();
            tokio::spawn(async move { validate(&*accounts, "one").await })
        })
        .collect();
    server.arrived(1).await;
    let (second, first) = (tasks.pop().unwrap(), tasks.pop().unwrap());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert!(second.await.unwrap().is_ok());
    // And if all leave, the answer is kept for who comes.
    let third = tokio::spawn({
        let accounts = accounts.clone();
        async move { validate(&*accounts, "two").await }
    });
    server.arrived(2).await;
    third.abort();
    gate.add_permits(1);
    assert!(validate(&*accounts, "two").await.is_ok());
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_valid_token_is_asked_about_again_after_a_while() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let accounts = asking(&server, AuthServerOptions::default());
    for _ in 0..3 {
        assert!(validate(&accounts, "t").await.is_ok());
        later(Duration::from_secs(8)).await;
    }
    assert_eq!(server.calls(), 1);
    // Called back: that is seen when the time is over.
    server.answers(401, "");
    later(Duration::from_secs(6)).await;
    assert_eq!(validate(&accounts, "t").await, Err(AccountsError::InvalidToken));
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_refused_token_is_asked_about_again_soon() {
    let server = Server::start(Doing::Answer(400, r#"{"error":1000}"#.into())).await;
    let (accounts, metrics) = counted(|| asking(&server, AuthServerOptions::default()));
    for _ in 0..3 {
        assert_eq!(validate(&accounts, "t").await, Err(AccountsError::InvalidToken));
    }
    assert_eq!(server.calls(), 1);
    assert!(metrics.render().contains(r#"hubbub_accounts_cache_hits_total{answer="refused"} 2"#));
    server.answers(200, ANA);
    later(Duration::from_secs(5)).await;
    assert!(validate(&accounts, "t").await.is_ok());
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_the_token_lasts() {
    let end = since_1970() + 20;
    let told = ANA.replace('}', &format!(r#","exp":{end}}}"#));
    let server = Server::start(Doing::Answer(200, told)).await;
    let accounts = asking(&server, AuthServerOptions::default());
    assert_eq!(validate(&accounts, "t").await.unwrap().expires_at, Millis(end * 1_000));
    assert!(validate(&accounts, "t").await.is_ok());
    later(Duration::from_secs(20)).await;
    assert!(validate(&accounts, "t").await.is_ok());
    assert_eq!(server.calls(), 2);
    // The token itself may tell: {"exp":1}, and it is over whatever the service says.
    server.answers(200, ANA);
    assert_eq!(validate(&accounts, "e30.eyJleHAiOjF9.x").await, Err(AccountsError::InvalidToken));
    // And who tells nothing has an hour.
    let hour = validate(&accounts, "opaque").await.unwrap().expires_at.0 / 1_000 - since_1970();
    assert!((3_590..=3_600).contains(&hour), "{hour}");
}

#[tokio::test]
async fn so_many_answers_are_kept_and_no_more() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let accounts = asking(&server, AuthServerOptions { cached_max: 3, ..Default::default() });
    for token in 0..10 {
        assert!(validate(&accounts, &format!("good{token}")).await.is_ok());
    }
    for token in 7..10 {
        assert!(validate(&accounts, &format!("good{token}")).await.is_ok());
    }
    assert_eq!(server.calls(), 10, "the last three are kept");
    assert!(validate(&accounts, "good6").await.is_ok());
    assert_eq!(server.calls(), 11, "the others are not");
    server.answers(401, "");
    for token in 0..10 {
        assert!(validate(&accounts, &format!("bad{token}")).await.is_err());
    }
    assert!(validate(&accounts, "good6").await.is_ok(), "a flood of bad ones pushes out no good one");
    assert_eq!(server.calls(), 21);
    assert!(validate(&accounts, "bad9").await.is_err());
    assert_eq!(server.calls(), 21, "of the bad ones the last are kept");
    assert!(validate(&accounts, "bad0").await.is_err());
    assert_eq!(server.calls(), 22, "and the others are not");
}

#[tokio::test]
async fn so_many_calls_run_at_once_and_so_many_tokens_wait() {
    let server = Server::start(Doing::Hang).await;
    let gate = server.holds(ANA);
    let http = HttpOptions { calls_max: 2, ..Default::default() };
    let options = AuthServerOptions { http, asked_max: 6, ..Default::default() };
    let accounts = Arc::new(asking(&server, options));
    let mut asking = JoinSet::new();
    for token in 0..6 {
        let accounts = accounts.clone();
        asking.spawn(async move { validate(&*accounts, &token.to_string()).await });
    }
    server.arrived(2).await;
    assert!(is_unavailable(&validate(&*accounts, "one_too_many").await));
    gate.add_permits(6);
    assert!(asking.join_all().await.iter().all(Result::is_ok));
    assert_eq!((server.calls(), server.most()), (6, 2));
    gate.add_permits(1);
    assert!(validate(&*accounts, "one_too_many").await.is_ok());
}

#[tokio::test]
async fn a_connection_is_kept_and_made_anew_when_it_was_closed() {
    let server = Server::start(Doing::Answer(200, ANA.into())).await;
    let accounts = asking(&server, AuthServerOptions::default());
    for token in 0..5 {
        assert!(validate(&accounts, &format!("a{token}")).await.is_ok());
    }
    assert_eq!((server.calls(), server.connections()), (5, 1));
    server.close_connections();
    assert!(validate(&accounts, "b").await.is_ok());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_closes_just_then_costs_no_answer() {
    let server = Server::start(Doing::OnceAConnection(ANA.into())).await;
    let accounts = asking(&server, AuthServerOptions::default());
    for token in 0..3 {
        assert!(validate(&accounts, &token.to_string()).await.is_ok());
    }
    assert_eq!((server.calls(), server.connections()), (5, 3), "each but the first was sent twice");
}

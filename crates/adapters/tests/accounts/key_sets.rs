//! Tokens that are checked by a set of keys behind an address: when it is fetched, and what if it can't be.

use std::sync::Arc;

use futures_util::FutureExt;
use hubbub_adapters::accounts::{Jwt, JwtKeys, JwtOptions};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::keys::{Issuer, claims};
use super::server::Doing;
use super::*;

/// Longer than a fetch is kept from following another.
const REFETCH: Duration = Duration::from_secs(10);
/// As old as a set gets.
const REFRESH: Duration = Duration::from_secs(600);

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

async fn start(keys: &[Value]) -> Server {
    Server::start(Doing::Answer(200, set(keys))).await
}

fn of(server: &Server) -> Jwt {
    Jwt::new(JwtKeys::Jwks(format!("{}/keys", server.url)), JwtOptions::default()).unwrap()
}

#[tokio::test]
async fn a_set_is_fetched_once_for_all_of_its_keys() {
    let issuers = [("e", Issuer::p256()), ("d", Issuer::ed25519()), ("r", Issuer::rsa())];
    let mut keys: Vec<_> = issuers.iter().map(|(kid, issuer)| issuer.jwk(Some(kid))).collect();
    keys.push(json!({"kty": "new", "kid": "unknown"}));
    keys.push(json!("no key"));
    let server = start(&keys).await;
    let accounts = of(&server);
    for (kid, issuer) in &issuers {
        assert_eq!(validate(&accounts, &issuer.token(Some(kid))).await.unwrap().user.id.as_str(), "ana");
    }
    assert_eq!(validate(&accounts, &issuers[0].1.token(Some("d"))).await, Err(AccountsError::InvalidToken));
    assert_eq!(server.seen(), [("/keys".into(), String::new())], "once, and without a token");
}

#[tokio::test]
async fn a_hundred_first_tokens_make_one_fetch() {
    let issuer = Issuer::p256();
    let server = start(&[]).await;
    let gate = server.holds(&set(&[issuer.jwk(Some("a"))]));
    let (accounts, metrics) = counted(|| Arc::new(of(&server)));
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let (accounts, token) = (accounts.clone(), issuer.token(Some("a")));
        asking.spawn(async move { validate(&*accounts, &token).await });
    }
    server.arrived(1).await;
    gate.add_permits(100);
    assert!(asking.join_all().await.iter().all(Result::is_ok));
    assert_eq!(server.calls(), 1);
    let text = metrics.render();
    assert!(text.contains(r#"hubbub_accounts_checks_total{outcome="valid"} 100"#), "{text}");
    assert!(text.contains(r#"hubbub_accounts_key_fetches_total{outcome="fetched"} 1"#), "{text}");
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_asks_for_it() {
    let (old, new) = (Issuer::p256(), Issuer::ed25519());
    let server = start(&[old.jwk(Some("old"))]).await;
    let accounts = of(&server);
    assert!(validate(&accounts, &old.token(Some("old"))).await.is_ok());
    server.answers(200, &set(&[old.jwk(Some("old")), new.jwk(Some("new"))]));
    assert_eq!(validate(&accounts, &new.token(Some("new"))).await, Err(AccountsError::InvalidToken));
    assert_eq!(server.calls(), 1, "not so soon");
    later(REFETCH).await;
    assert!(validate(&accounts, &new.token(Some("new"))).await.is_ok());
    assert!(validate(&accounts, &old.token(Some("old"))).await.is_ok());
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn made_up_keys_make_one_fetch_in_a_while() {
    let issuer = Issuer::p256();
    let server = start(&[issuer.jwk(Some("a"))]).await;
    let accounts = of(&server);
    for round in 1..=3 {
        for kid in 0..20 {
            let token = issuer.token(Some(&format!("made up {kid}")));
            assert_eq!(validate(&accounts, &token).await, Err(AccountsError::InvalidToken));
        }
        assert_eq!(server.calls(), round);
        later(REFETCH).await;
    }
}

#[tokio::test]
async fn the_last_good_set_counts_while_the_address_is_away() {
    let (known, new) = (Issuer::p256(), Issuer::p256());
    for failure in [
        Doing::Answer(500, String::new()),
        Doing::Answer(200, "<html>".into()),
        Doing::Answer(200, set(&[])),
        Doing::Answer(200, set(&[json!({"kty": "oct", "kid": "known", "k": "AAAA"})])),
        Doing::Answer(200, " ".repeat(100_000)),
        Doing::Redirect("/elsewhere".into()),
        Doing::Close,
    ] {
        let server = start(&[known.jwk(Some("known"))]).await;
        let accounts = of(&server);
        assert!(validate(&accounts, &known.token(Some("known"))).await.is_ok());
        server.doing(failure);
        later(REFRESH).await;
        // Fetches because the set is old, in vain.
        assert!(validate(&accounts, &known.token(Some("known"))).await.is_ok());
        assert!(is_unavailable(&validate(&accounts, &new.token(Some("new"))).await), "it may be a new key");
        assert!(validate(&accounts, &known.token(Some("known"))).await.is_ok());
        server.answers(200, &set(&[known.jwk(Some("known")), new.jwk(Some("new"))]));
        later(REFETCH).await;
        assert!(validate(&accounts, &new.token(Some("new"))).await.is_ok());
    }
}

#[tokio::test]
async fn without_a_set_nobody_is_let_in_or_refused() {
    let issuer = Issuer::p256();
    let server = Server::start(Doing::Answer(503, String::new())).await;
    let accounts = of(&server);
    for _ in 0..5 {
        assert!(is_unavailable(&validate(&accounts, &issuer.token(Some("a"))).await));
    }
    assert_eq!(server.calls(), 1, "at once, without asking each time");
    server.answers(200, &set(&[issuer.jwk(Some("a"))]));
    later(REFETCH).await;
    assert!(validate(&accounts, &issuer.token(Some("a"))).await.is_ok());
}

#[tokio::test]
async fn a_key_that_was_withdrawn_goes_when_the_set_is_old() {
    let (old, new) = (Issuer::p256(), Issuer::p256());
    let server = start(&[old.jwk(Some("old"))]).await;
    let accounts = of(&server);
    assert!(validate(&accounts, &old.token(Some("old"))).await.is_ok());
    server.answers(200, &set(&[new.jwk(Some("new"))]));
    later(REFRESH).await;
    // Two at once: who comes while the set is fetched waits for it, too.
    let (old, new_token) = (secret(&old.token(Some("old"))), new.token(Some("new")));
    let both = tokio::join!(accounts.validate(&old), accounts.validate(&old));
    assert_eq!(both, (Err(AccountsError::InvalidToken), Err(AccountsError::InvalidToken)));
    assert!(validate(&accounts, &new_token).await.is_ok());
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn known_keys_wait_once_for_an_address_that_is_away_and_then_no_more() {
    let issuer = Issuer::p256();
    let server = start(&[issuer.jwk(Some("a"))]).await;
    let accounts = of(&server);
    let token = secret(&issuer.token(Some("a")));
    assert!(accounts.validate(&token).await.is_ok());
    server.doing(Doing::Hang);
    later(REFRESH).await;
    let mut answer = accounts.validate(&token);
    tokio::select! { _ = &mut answer => panic!("an answer"), () = server.arrived(2) => {} }
    later(JwtOptions::default().jwks.http.timeout).await;
    assert!(answer.await.is_ok(), "the old set counts");
    later(REFETCH).await;
    let at_once = accounts.validate(&token).now_or_never();
    assert!(at_once.is_some_and(|answer| answer.is_ok()));
    server.arrived(3).await;
}

#[tokio::test]
async fn a_set_of_a_hanging_address_is_unavailable_in_time() {
    let issuer = Issuer::p256();
    let server = Server::start(Doing::Hang).await;
    let accounts = of(&server);
    let token = secret(&issuer.token(Some("a")));
    let mut answer = accounts.validate(&token);
    tokio::select! { _ = &mut answer => panic!("an answer"), () = server.arrived(1) => {} }
    later(JwtOptions::default().jwks.http.timeout).await;
    assert!(is_unavailable(&answer.await));
}

#[tokio::test]
async fn a_token_without_a_key_name_means_the_only_key() {
    let (one, two) = (Issuer::p256(), Issuer::p256());
    let server = start(&[one.jwk(None)]).await;
    let accounts = of(&server);
    assert!(validate(&accounts, &one.token(None)).await.is_ok());
    assert_eq!(validate(&accounts, &two.token(None)).await, Err(AccountsError::InvalidToken));
    let server = start(&[one.jwk(Some("1")), two.jwk(Some("2"))]).await;
    let accounts = of(&server);
    assert!(validate(&accounts, &one.token(Some("1"))).await.is_ok());
    assert_eq!(validate(&accounts, &one.token(None)).await, Err(AccountsError::InvalidToken));
}

#[tokio::test]
async fn a_key_of_a_set_is_no_secret_to_sign_with() {
    let issuer = Issuer::p256();
    let server = start(&[issuer.jwk(Some("a"))]).await;
    let accounts = of(&server);
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("a".into());
    let forge =
        |key: &[u8]| jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(key)).unwrap();
    for forged in [forge(issuer.pem.as_bytes()), forge(b"")] {
        assert_eq!(validate(&accounts, &forged).await, Err(AccountsError::InvalidToken));
    }
    assert_eq!(server.calls(), 0, "no key of a set has that algorithm, so none is looked for");
    for rubbish in ["", "a.b.c", "e30.e30.x", "no token"] {
        assert_eq!(validate(&accounts, rubbish).await, Err(AccountsError::InvalidToken));
    }
    assert_eq!(server.calls(), 0);
}

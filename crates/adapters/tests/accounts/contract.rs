//! The contract suite, on accounts that are made and logged in to at one place and checked at another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hubbub_adapters::accounts::{BuiltIn, BuiltInOptions, Jwt, JwtKeys, JwtOptions};
use hubbub_core::contract::accounts;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{AccountRow, AccountStore, AccountStoreError, BuiltInAccounts};

use super::server::Doing;
use super::*;

/// As little of a store as the accounts need, with a key that can be told.
struct Rows {
    key: &'static str,
    rows: Mutex<HashMap<String, AccountRow>>,
}

impl Rows {
    fn with(key: &'static str) -> Arc<Self> {
        Arc::new(Self { key, rows: Mutex::default() })
    }
}

impl AccountStore for Rows {
    fn insert(&self, account: AccountRow) -> PortFuture<'_, Result<(), AccountStoreError>> {
        self.rows.lock().unwrap().insert(account.email.clone(), account);
        Box::pin(std::future::ready(Ok(())))
    }

    fn by_email(&self, email: String) -> PortFuture<'_, Result<Option<AccountRow>, AccountStoreError>> {
        Box::pin(std::future::ready(Ok(self.rows.lock().unwrap().get(&email).cloned())))
    }

    fn shared_secret(
        &self,
        _: &'static str,
        _: Vec<u8>,
    ) -> PortFuture<'_, Result<Vec<u8>, AccountStoreError>> {
        Box::pin(std::future::ready(Ok(self.key.into())))
    }
}

const KEY: &str = "a key of 32 bytes, as text: 1234";
const OTHER_KEY: &str = "a key of 32 bytes, as text: 5678";

/// Registers and logs in with the one, checks with the other.
struct Through {
    made: Arc<BuiltIn>,
    checked: Box<dyn Accounts>,
    _server: Option<Server>,
}

impl Accounts for Through {
    fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>> {
        self.checked.validate(token)
    }

    fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
        self.made.built_in()
    }
}

async fn made(store: &Arc<Rows>, ttl: Duration) -> Arc<BuiltIn> {
    let options = BuiltInOptions { token_ttl: ttl, ..Default::default() };
    Arc::new(BuiltIn::open(store.clone(), options).await.unwrap())
}

async fn asked(store: &Arc<Rows>, ttl: Duration) -> Through {
    let made = made(store, ttl).await;
    let server = Server::start(Doing::Validate(made.clone())).await;
    let checked = Box::new(asking(&server, AuthServerOptions::default()));
    Through { made, checked, _server: Some(server) }
}

async fn checked(store: &Arc<Rows>, ttl: Duration) -> Through {
    let us = || Some("hubbub".to_owned());
    // The suite wants a token refused at its end exactly.
    let options = JwtOptions { issuer: us(), audience: us(), leeway: Duration::ZERO, ..Default::default() };
    let checked = Box::new(Jwt::new(JwtKeys::Secret(secret(store.key)), options).unwrap());
    Through { made: made(store, ttl).await, checked, _server: None }
}

macro_rules! on_accounts {
    ($open:ident) => {
        mod $open {
            use super::*;

            const HOUR: Duration = Duration::from_secs(3_600);

            #[tokio::test]
            async fn a_token_stands_for_who_logged_in() {
                accounts::a_token_stands_for_who_logged_in(&$open(&Rows::with(KEY), HOUR).await).await;
            }

            #[tokio::test]
            async fn an_expired_token_is_refused() {
                accounts::an_expired_token_is_refused(&$open(&Rows::with(KEY), Duration::ZERO).await).await;
            }

            #[tokio::test]
            async fn a_token_of_another_key_is_refused() {
                let here = $open(&Rows::with(KEY), HOUR).await;
                let elsewhere = $open(&Rows::with(OTHER_KEY), HOUR).await;
                accounts::a_token_of_another_key_is_refused(&here, &elsewhere).await;
            }

            #[tokio::test]
            async fn a_token_counts_on_every_node() {
                let store = Rows::with(KEY);
                let (one, other) = ($open(&store, HOUR).await, $open(&store, HOUR).await);
                accounts::a_token_counts_on_every_node(&one, &other).await;
            }

            #[tokio::test]
            async fn an_algorithm_of_the_callers_choice_is_refused() {
                accounts::an_algorithm_of_the_callers_choice_is_refused(&$open(&Rows::with(KEY), HOUR).await)
                    .await;
            }

            #[tokio::test]
            async fn a_tampered_token_is_refused() {
                accounts::a_tampered_token_is_refused(&$open(&Rows::with(KEY), HOUR).await).await;
            }

            #[tokio::test]
            async fn nothing_secret_is_printed() {
                accounts::nothing_secret_is_printed(&$open(&Rows::with(KEY), HOUR).await).await;
            }
        }
    };
}

on_accounts!(asked);
on_accounts!(checked);

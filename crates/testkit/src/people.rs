//! People with accounts.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use hubbub_client::raw::Raw;
use hubbub_client::{Client, Event, Events, Options};
use hubbub_core::ids::UserId;
use serde_json::json;

use crate::{Hubbub, in_time, request};

const PASSWORD: &str = "correct horse battery staple";

/// Someone with an account.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub id: UserId,
    /// What others see.
    pub name: String,
    /// Their access token.
    pub token: String,
    url: String,
}

impl Person {
    /// Registers over HTTP and logs in.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register(server: &Hubbub, name: &str) -> anyhow::Result<Self> {
        Self::register_at(server.address(), name).await
    }

    /// The same at an address, behind which there may be several servers; there they connect as well.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register_at(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let post = async |path, body| request(address, "POST", path, None, Some(body)).await;
        let email = format!("{name}@example.org");
        let account = json!({"name": name, "email": email, "password": PASSWORD});
        let made = post("/v1/accounts", &account).await?;
        ensure!(made.status == 201, "registering {name}: {made:?}");
        let login = json!({"email": email, "password": PASSWORD});
        let answer = post("/v1/accounts/login", &login).await?;
        ensure!(answer.status == 200, "logging in {name}: {answer:?}");
        let id = made.json()["id"].as_str().context("no id in the new account")?.to_owned();
        Ok(Self {
            id: UserId::parse(&id)?,
            name: name.into(),
            token: answer.json()["token"].as_str().context("no token in the answer")?.into(),
            url: format!("ws://{address}/v1/ws"),
        })
    }

    /// Someone whose account is of another service.
    pub fn from_elsewhere(server: &Hubbub, id: UserId, name: &str, token: String) -> Self {
        Self { id, name: name.into(), token, url: server.ws_url() }
    }

    /// The usual options of a client that does not connect again.
    pub fn options(&self) -> Options {
        Options { token: self.token.clone(), ..Options::new(&self.url) }
    }

    /// Connects once.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(&self) -> Result<(Client, Events), hubbub_client::Error> {
        Client::connect(self.options()).await
    }

    /// A socket on which nothing was said yet.
    ///
    /// # Errors
    /// As [`Raw::connect`].
    pub async fn raw(&self) -> Result<Raw, hubbub_client::Error> {
        Raw::connect(&self.url, None).await
    }
}

/// The reason of the `bye` and the close code that end a connection.
///
/// # Panics
/// When it does not end in time.
pub async fn end_of(events: &mut Events) -> (String, Option<u16>) {
    let mut reason = String::new();
    let ended = async {
        loop {
            match events.next().await {
                Some(Event::Bye(bye)) => reason = bye.reason,
                Some(Event::Disconnected(disconnected)) => return disconnected.code,
                Some(_) => {}
                None => return None,
            }
        }
    };
    let code = in_time("the connection is closed", ended).await;
    (reason, code)
}

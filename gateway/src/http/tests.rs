//! The router as a whole, with no other tier behind it: what can be told without one.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, header};
use hubbub_adapters::bus::LocalBus;
use hubbub_core::ids::{LogId, Millis, Partitions, User, UserId};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{Account, Accounts, AccountsError, BuiltInAccounts, Role, Secret};
use hubbub_core::ports::revocations::{Revocation, Revocations};
use hubbub_core::ports::store::{StoreError, Stored};
use serde_json::Value;
use tower_service::Service;

use super::problem::Problem;
use super::*;
use crate::Ports;
use crate::config::{Config, Origins};

mod assets;
mod asyncapi;
mod documented;
mod refused;

/// A token of one word is its user; `bot` has another role, `away` finds the service away.
struct ByName;

impl Accounts for ByName {
    fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>> {
        let account = match token.reveal() {
            "away" => Err(AccountsError::Unavailable { inside: "inside".into() }),
            "bad" => Err(AccountsError::InvalidToken),
            name => {
                let user = User { id: UserId::parse(name).unwrap(), name: name.into() };
                let role = if name == "bot" { Role::Bot } else { Role::User };
                Ok(Account { user, roles: vec![role], expires_at: Millis(u64::MAX) })
            }
        };
        Box::pin(std::future::ready(account))
    }

    fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
        None
    }
}

/// A store that is away.
struct NotKept;

impl Revocations for NotKept {
    fn put_revocation(&self, _: Revocation) -> PortFuture<'_, Stored<()>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable { inside: "away".into() })))
    }

    fn revocations(&self, _: Millis) -> PortFuture<'_, Stored<Vec<Revocation>>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable { inside: "away".into() })))
    }
}

pub(crate) fn gateway(config: Config, partitions: Partitions) -> Arc<Gateway> {
    let bus = Arc::new(LocalBus::default());
    let ports = Ports {
        bus,
        accounts: Arc::new(ByName),
        partitions,
        log: LogId(1),
        banned: Arc::default(),
        revoked: Arc::default(),
        revocations: Arc::new(NotKept),
        cluster: None,
    };
    Gateway::new(config, ports)
}

pub(crate) fn state(config: Config) -> HttpState {
    HttpState {
        gateway: gateway(config, Partitions::new(1).unwrap()),
        health: Arc::new(Readiness::default),
        metrics: Arc::new(|| "hubbub_up 1\n".into()),
    }
}

/// Nobody serves the bus: what passes all checks is `unavailable`, soon.
fn config() -> Config {
    Config { action_timeout: Duration::from_millis(10), ..Config::default() }
}

async fn ask(router: &Router, request: Request<Body>) -> Response {
    router.clone().call(request).await.unwrap()
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

/// The problem that a response is; panics if it is anything else or lacks what every answer has.
async fn problem(response: Response) -> (HeaderMap, Problem) {
    let (status, headers) = (response.status(), response.headers().clone());
    assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{status}");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let problem: Problem = serde_json::from_value(json(response).await).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == StatusCode::UNAUTHORIZED);
    assert_eq!(headers.contains_key(header::RETRY_AFTER), problem.retry_after_ms.is_some());
    (headers, problem)
}

fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

fn as_ann(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(header::AUTHORIZATION, "Bearer ann".parse().unwrap());
    request
}

fn with_json(mut request: Request<Body>, json: impl Into<Body>) -> Request<Body> {
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    *request.body_mut() = json.into();
    request
}

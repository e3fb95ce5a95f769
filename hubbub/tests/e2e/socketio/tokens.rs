//! A socket and its token: these clients can't be asked for another one, so the token is looked at again.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hubbub_client::raw::Raw;
use hubbub_testkit::{Hubbub, Person, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::clients::{NAMESPACE, closed, packet, socket};
use crate::common::{program, server};

/// A service that knows one user, and takes every token or none.
#[derive(Clone, Default)]
struct Service {
    asked: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
}

async fn validate(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    service.asked.fetch_add(1, Ordering::SeqCst);
    match service.refuses.load(Ordering::SeqCst) {
        true => (StatusCode::UNAUTHORIZED, Json(json!({"error": 1_000}))),
        false => (StatusCode::OK, Json(json!({"user": "ann", "name": "Ann", "type": 1, "roles": ["user"]}))),
    }
}

async fn disconnected(raw: &mut Raw) {
    packet(raw, &format!("41{NAMESPACE},")).await;
    assert_eq!(closed(raw).await, Some(4401));
}

#[tokio::test]
async fn a_token_whose_time_is_over_is_taken_on_as_long_as_its_service_takes_it() {
    let service = Service::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("--auth-server=http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/accounts/validate", get(validate)).with_state(service.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let start = program().with(&url).with("--auth-server-cache=0s").with("--token-ttl=1s");
    let server = Hubbub::start(start).await.unwrap();
    let mut raw = socket(&server, 4, "opaque").await;
    let asked = service.asked.load(Ordering::SeqCst);
    eventually("it is asked again, and again", async || {
        (service.asked.load(Ordering::SeqCst) >= asked + 2).then_some(())
    })
    .await;
    // Still in, by its first token.
    raw.send_text(format!("42{NAMESPACE},1[\"chatrooms\"]")).await.unwrap();
    packet(&mut raw, &format!("43{NAMESPACE},1[{{\"error\":0")).await;
    service.refuses.store(true, Ordering::SeqCst);
    disconnected(&mut raw).await;
}

#[tokio::test]
async fn a_token_that_is_called_back_ends_its_sockets() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut sockets = [socket(&server, 3, &ann.token).await, socket(&server, 4, &ann.token).await];
    let out = server.post("/v1/accounts/logout", Some(&ann.token), &json!({})).await.unwrap();
    assert_eq!(out.status, 200, "{out:?}");
    for raw in &mut sockets {
        disconnected(raw).await;
    }
}

//! What every tier answers by HTTP: is it alive, is it ready, how is it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hubbub_gateway::error::Failure;
use hubbub_gateway::http::problem;
use hubbub_gateway::tls::{Tls, TlsListener};
use hubbub_node::health::{self, Health};
use hubbub_node::telemetry::Metrics;
use tokio::net::TcpListener;

use super::Node;

#[derive(Clone)]
struct Asked {
    health: Health,
    metrics: Arc<Metrics>,
}

/// What is said of other paths.
#[derive(Clone, Copy)]
pub(super) enum Others {
    /// They are not there.
    Absent,
    /// They will be soon.
    NotYet,
}

impl Others {
    fn answer(self) -> Response {
        match self {
            Self::Absent => StatusCode::NOT_FOUND.into_response(),
            Self::NotYet => {
                // As a gateway that can't do it just now: with when to try again.
                problem::response(&Failure::Unavailable)
            }
        }
    }
}

/// Takes the port.
pub(crate) async fn bind(interface: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(interface, port);
    TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))
}

/// Answers until dropped. Every other path is not there: for ever, or before a gateway serves, when clients are to come again.
pub(super) async fn answer(
    listener: TcpListener,
    tls: Option<Tls>,
    node: &Node,
    others: Others,
) -> anyhow::Result<()> {
    let asked = Asked { health: node.health.clone(), metrics: node.metrics.clone() };
    let router = Router::new()
        .route("/healthz", get(async || Json(health::alive())))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(move || async move { others.answer() })
        .with_state(asked);
    match tls {
        None => axum::serve(listener, router).await,
        Some(tls) => axum::serve(TlsListener::new(listener, tls), router).await,
    }
    .context("the HTTP door ended")
}

async fn ready(State(asked): State<Asked>) -> impl IntoResponse {
    let readiness = asked.health.readiness();
    let status = StatusCode::from_u16(readiness.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, Json(readiness.to_json()))
}

async fn metrics(State(asked): State<Asked>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], asked.metrics.render())
}

//! What every tier answers by HTTP: is it alive, is it ready, how is it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use hubbub_node::health::{self, Health};
use hubbub_node::telemetry::Metrics;
use tokio::net::TcpListener;

use super::Node;

#[derive(Clone)]
struct Asked {
    health: Health,
    metrics: Arc<Metrics>,
}

/// Takes the port.
pub(super) async fn bind(interface: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(interface, port);
    TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))
}

/// Answers until dropped.
pub(super) async fn answer(listener: TcpListener, node: &Node) -> anyhow::Result<()> {
    let asked = Asked { health: node.health.clone(), metrics: node.metrics.clone() };
    let router = Router::new()
        .route("/healthz", get(async || Json(health::alive())))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(asked);
    axum::serve(listener, router).await.context("the HTTP door ended")
}

async fn ready(State(asked): State<Asked>) -> impl IntoResponse {
    let readiness = asked.health.readiness();
    let status = StatusCode::from_u16(readiness.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, Json(readiness.to_json()))
}

async fn metrics(State(asked): State<Asked>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], asked.metrics.render())
}

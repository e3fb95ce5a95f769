//! What operators ask: is it alive, is it ready, how is it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;

/// What is in the way of work, as the process sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Name of the part and a sentence for the operator; empty when all is well.
    pub unmet: Vec<(&'static str, String)>,
    /// What is not well and yet in nobody's way, likewise.
    pub trouble: Vec<(&'static str, String)>,
}

/// Whether the process lives, or is ready for work.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `alive`, `ready` or `not ready`.
    #[schema(value_type = String, example = "ready")]
    status: &'static str,
    /// What is in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unmet: Vec<Unmet>,
    /// What is not well and yet in nobody's way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    trouble: Vec<Unmet>,
}

/// Something that is not well.
#[derive(Serialize, ToSchema)]
pub struct Unmet {
    /// Which part.
    #[schema(value_type = String, example = "store")]
    condition: &'static str,
    /// A sentence for the operator.
    #[schema(example = "the disk is full")]
    reason: String,
}

/// Whether the process lives. It depends on nothing: a restart would not bring back what others lost.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "It lives", body = Status)))]
pub async fn alive() -> Json<Status> {
    Json(Status { status: "alive", unmet: Vec::new(), trouble: Vec::new() })
}

/// Whether the process may be sent work.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses((status = 200, description = "It may", body = Status),
        (status = 503, description = "It may not, and why", body = Status)))]
pub async fn ready(State(state): State<HttpState>) -> (StatusCode, Json<Status>) {
    let Readiness { mut unmet, trouble } = (state.health)();
    unmet.extend(state.gateway.refusal().map(|refusal| ("gateway", state.gateway.says_why(refusal))));
    let shown = |list: Vec<_>| -> Vec<_> {
        list.into_iter().map(|(condition, reason)| Unmet { condition, reason }).collect()
    };
    let (unmet, trouble) = (shown(unmet), shown(trouble));
    match unmet.is_empty() {
        true => (StatusCode::OK, Json(Status { status: "ready", unmet, trouble })),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(Status { status: "not ready", unmet, trouble })),
    }
}

/// All metrics, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")))]
pub async fn metrics(State(state): State<HttpState>) -> Response {
    let text = (state.metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

//! What all answers have in common, put on in one place: nothing leaves the door without it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::fault::{Attempt, Fault, attempt_of, unreadable};
use super::{HttpState, cors, problem};

/// Carries a request out for whoever may ask, and finishes its answer.
pub async fn render(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let origin = cors::admitted(&state.gateway.config.origins, request.headers());
    let attempt = attempt_of(request.uri().path());
    let mut response = match origin.is_some() && cors::is_preflight(&request) {
        true => cors::preflight(),
        false => next.run(request).await,
    };
    finish(attempt, &mut response);
    cors::admit(response.headers_mut(), &state.gateway.config.origins, origin);
    response
}

/// Turns a failure into a problem document and counts it, and adds the headers that every answer has.
pub fn finish(attempt: Attempt, response: &mut Response) {
    if let Some(fault) = fault_of(response) {
        problem::write(&fault, fault.kind().status, attempt, response);
    }
    protect(response.headers_mut());
}

/// The fault of a handler or an extractor, or the one that stands for a plain refusal of the router.
fn fault_of(response: &mut Response) -> Option<Fault> {
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        return Some(fault);
    }
    let status = response.status();
    let plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|ct| ct.as_bytes().starts_with(b"text/plain"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED => Some(Fault::MethodNotAllowed),
        _ if !plain => None,
        StatusCode::NOT_FOUND => Some(Fault::NoSuchPath),
        _ if status.is_client_error() => Some(unreadable("the request can't be read")),
        _ if status.is_server_error() => Some(Fault::Internal),
        _ => None,
    }
}

/// What a browser may make of an answer: nothing that the handler did not allow.
pub fn protect(headers: &mut HeaderMap) {
    const ALWAYS: [(HeaderName, &str); 2] =
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::REFERRER_POLICY, "no-referrer")];
    const UNLESS_SET: [(HeaderName, &str); 2] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in UNLESS_SET {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

//! What all answers have in common, put on in one place: nothing leaves the door without it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};

use super::problem::{Attempt, Fault, unreadable};
use super::{HttpState, cors};
use crate::metrics;

/// Carries a request out, turns a failure into a problem document and counts it, and adds the headers that every answer
/// has.
pub async fn render(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let origin = cors::admitted(&state.gateway.config.origins, request.headers());
    let uri = request.uri().clone();
    let mut response = match origin.is_some() && cors::is_preflight(&request) {
        true => cors::preflight(),
        false => next.run(request).await,
    };
    if let Some(fault) = fault_of(&mut response) {
        response = problem_of(&fault, &uri, response);
    }
    protect(response.headers_mut());
    cors::admit(response.headers_mut(), &state.gateway.config.origins, origin);
    response
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

fn problem_of(fault: &Fault, uri: &Uri, response: Response) -> Response {
    let problem = fault.problem(Attempt::of(uri.path()));
    let kind = fault.kind();
    ::metrics::counter!(metrics::FAILED, "code" => kind.code.as_str(), "door" => "http").increment(1);
    // A struct of strings and numbers: writing it to memory can't fail.
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    // The router's `Allow` stays.
    let (mut parts, _) = response.into_parts();
    parts.status = kind.status;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(challenge) = fault.challenge() {
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = fault.retry_after() {
        parts.headers.insert(header::RETRY_AFTER, whole_seconds(after).into());
    }
    if *fault == Fault::BodyTooSlow {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Response::from_parts(parts, Body::from(json))
}

/// Rounded up: who comes a fraction too early is refused again.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// What a browser may make of an answer: nothing that the handler did not allow.
fn protect(headers: &mut HeaderMap) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up() {
        let waits = [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)];
        for (ms, seconds) in waits {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
    }
}

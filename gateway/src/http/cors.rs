//! Pages of which other origins may use the API from a browser. Of the same origin they may without being asked.
//!
//! Tokens come in a header and never in a cookie, so credentials in the sense of the browser are not allowed, nor needed.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::config::Origins;

const METHODS: &str = "GET, POST, PUT, DELETE";
const HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, traceparent";
const EXPOSED: &str = "Retry-After, WWW-Authenticate, ETag";
/// Seconds for which a browser may remember the answer to a preflight.
const MAX_AGE: &str = "600";

/// The request's `Origin`, if it is another one that may use the API.
pub fn admitted(origins: &Origins, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    match origins {
        Origins::Same => None,
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::These(list) => {
            let listed = list.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
            listed.then(|| origin.clone())
        }
    }
}

/// Whether a browser asks if it may send a request, rather than sending it.
pub fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of an admitted origin.
pub fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    response
}

/// Tells the browser of an admitted origin that its page may read the answer; and caches, that answers differ.
pub fn admit(headers: &mut HeaderMap, origins: &Origins, origin: Option<HeaderValue>) {
    if matches!(origins, Origins::These(_)) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

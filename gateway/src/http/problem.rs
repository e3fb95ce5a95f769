//! A [fault](super::fault) as a problem document (RFC 9457), and as a whole response.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::fault::{Attempt, Fault};
use super::render;
use crate::error::Failure;
use crate::metrics;

/// Where a problem's `type` begins.
const TYPES: &str = "/problems/";

/// What went wrong, as a problem document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of problem: a URI reference that never changes.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not_member")]
    pub type_uri: String,
    /// The kind of problem, for a person.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This problem, for a person.
    pub detail: String,
    /// The protocol's error code, the same as over the WebSocket.
    #[schema(example = "not_member")]
    pub code: String,
    /// The number that the system which Hubbub replaces gave such an error: 500 unknown, 600 invalid chatroom, 602
    /// message can't be sent, 604 history can't be retrieved, 1000 invalid access token, 1001 invalid credentials, 1002
    /// role missing, 1003 account service away, 1004 account service refused.
    #[schema(example = 602)]
    pub error: u16,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When to try again, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// A failure of a request that does not pass the router, such as the WebSocket's upgrade, as a whole response.
pub fn response(failure: &Failure) -> Response {
    let fault = Fault::from(failure.clone());
    response_as(failure, fault.kind().status)
}

/// A failure as a whole response with a status that says more than its own.
pub fn response_as(failure: &Failure, status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    write(&Fault::from(failure.clone()), status, Attempt::Other, &mut response);
    render::protect(response.headers_mut());
    response
}

/// Writes the document over a response, and counts it. Other headers that the response has stay.
pub fn write(fault: &Fault, status: StatusCode, attempt: Attempt, response: &mut Response) {
    let code = fault.kind().code.as_str();
    ::metrics::counter!(metrics::FAILED, "code" => code, "door" => "http").increment(1);
    let problem = Problem { status: status.as_u16(), ..fault.problem(attempt) };
    // Strings and numbers under string keys: writing them to memory can't fail.
    *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(challenge) = fault.challenge() {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = fault.retry_after() {
        headers.insert(header::RETRY_AFTER, whole_seconds(after).into());
    }
    if *fault == Fault::BodyTooSlow {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Rounded up: who comes a fraction too early is refused again.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

impl Fault {
    /// The document.
    pub fn problem(&self, attempt: Attempt) -> Problem {
        let kind = self.kind();
        let field = match self {
            Self::Failed(failure) => failure.field(),
            _ => None,
        };
        Problem {
            type_uri: format!("{TYPES}{}", kind.name),
            title: kind.title.into(),
            status: kind.status.as_u16(),
            detail: self.detail().into_owned(),
            code: kind.code.as_str().into(),
            error: self.seed_number(attempt),
            field: field.map(Into::into),
            retry_after_ms: self.retry_after().map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        }
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

//! Problems.
use axum::body::Body;
use http::Response;

use crate::error::Failure;

/// A failure as a response.
pub fn response(failure: &Failure) -> Response<Body> {
    let mut response = Response::new(Body::from(failure.message().into_owned()));
    *response.status_mut() = http::StatusCode::from_u16(failure.code().http_status())
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

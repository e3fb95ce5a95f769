//! A request's body: JSON of a bounded size that comes in bounded time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hubbub_wire::object;
use serde::de::DeserializeOwned;

use super::HttpState;
use super::caller::LetIn;
use super::fault::{Fault, bad_field, unreadable};

/// Bytes of a body that has no picture in it.
pub const SMALL_BYTES_MAX: usize = 16 * 1024;
/// How long the whole body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A body of up to [`SMALL_BYTES_MAX`] bytes.
pub struct Small<T>(pub T);

/// A body that may carry a picture: as large as a frame of the WebSocket may be.
pub struct Large<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Small<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        read_json(request, SMALL_BYTES_MAX).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<HttpState> for Large<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Fault> {
        read_json(request, state.gateway.config.frame_bytes_max).await.map(Self)
    }
}

/// Measured with the body of a 256 KiB picture (348,178 bytes), release, four rounds of 2,000: serde_json 49 to 58 µs,
/// simd-json 47 to 64 µs. No difference, so the one that needs no mutable copy and is everywhere else.
async fn read_json<T: DeserializeOwned>(request: Request, max: usize) -> Result<T, Fault> {
    if !says_json(request.headers()) {
        return Err(Fault::NotJson);
    }
    let let_in = request.extensions().get::<LetIn>().cloned();
    let bytes = whole(request, max).await?;
    // Looked at again: the body may have taken long, and who was banned meanwhile must not say anything any more.
    if let Some(let_in) = let_in {
        let_in.still()?;
    }
    object::read_bytes(&bytes).map_err(|unread| match unread.field {
        Some(field) => bad_field(field, unread.message),
        None => unreadable(format!("the body {}", unread.message)),
    })
}

/// The bytes of a body of up to `max`.
///
/// # Errors
/// When it is larger, too slow, or cut short.
pub async fn whole(request: Request, max: usize) -> Result<Bytes, Fault> {
    if declared_len(request.headers()).is_some_and(|len| len > max) {
        return Err(Fault::BodyTooLarge(max));
    }
    let whole = collect(request.into_body(), max);
    tokio::time::timeout(BODY_TIMEOUT, whole).await.map_err(|_| Fault::BodyTooSlow)?
}

fn says_json(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn declared_len(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(mut body: Body, max: usize) -> Result<Bytes, Fault> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| unreadable("the body ended before its end"))?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > max - kept.len() {
            return Err(Fault::BodyTooLarge(max));
        }
        kept.extend_from_slice(data);
    }
    Ok(kept.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(content_type: &str, body: impl Into<Body>) -> Request {
        http::Request::post("/").header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap()
    }

    async fn read(request: Request, max: usize) -> Result<serde_json::Value, Fault> {
        read_json(request, max).await
    }

    #[tokio::test]
    async fn a_body_up_to_its_limit_is_read_and_one_byte_more_is_not() {
        let text = format!("{{\"x\":\"{}\"}}", "x".repeat(92));
        assert!(read(post("application/json; charset=utf-8", text.clone()), 100).await.is_ok());
        assert_eq!(read(post("application/json", text), 99).await, Err(Fault::BodyTooLarge(99)));
        let endless =
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'['; 64])));
        let body = Body::from_stream(endless);
        assert_eq!(read(post("application/json", body), 100).await, Err(Fault::BodyTooLarge(100)));
    }

    #[tokio::test]
    async fn a_claim_of_two_gigabytes_is_refused_unread() {
        let mut request = post(
            "application/json",
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()),
        );
        request.headers_mut().insert(header::CONTENT_LENGTH, "2147483648".parse().unwrap());
        assert_eq!(read(request, 100).await, Err(Fault::BodyTooLarge(100)));
    }

    #[tokio::test]
    async fn who_waits_to_go_on_is_not_told_to_send_too_much() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut request = post("application/json", never);
        request.headers_mut().insert(header::CONTENT_LENGTH, 101.into());
        request.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());
        assert_eq!(read(request, 100).await, Err(Fault::BodyTooLarge(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(post("application/json", never), 100).await, Err(Fault::BodyTooSlow));
    }

    #[tokio::test]
    async fn what_is_not_json_is_refused() {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "json"] {
            assert_eq!(read(post(content_type, "{}"), 100).await, Err(Fault::NotJson), "{content_type}");
        }
        let deep = "[".repeat(10_000);
        for text in [&b""[..], b"[]", b"{", b"\xff\xfe", b"\"\xc3\x28\"", deep.as_bytes()] {
            let problem = read(post("application/json", text.to_vec()), 20_000).await.unwrap_err();
            assert_eq!(problem.kind().status, 400, "{text:?}");
        }
    }
}

//! What is left of a request's body when the request is answered: it is read and thrown away for a while.
//!
//! Closed instead, the connection is reset as soon as more of it comes, and the answer is lost with it: a client that is still
//! writing is told nothing but that. As Nginx's `lingering_close`, with its times.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// How long in all, how long nothing may come, and how much.
const LINGER_MAX: Duration = Duration::from_secs(30);
const SILENCE_MAX: Duration = Duration::from_secs(5);
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A body of which nobody need read all. Must be dropped within a tokio runtime.
struct Lingering(Option<Incoming>);

/// Has what is left of its body read and thrown away when whoever answers it drops it.
pub(crate) fn linger(request: Request<Incoming>) -> Request<Body> {
    // Who waits to be told to go on has nothing on its way, and is not to be told that.
    let waits = request.headers().contains_key(header::EXPECT);
    request.map(|incoming| match (incoming.is_end_stream(), waits) {
        (true, _) => Body::empty(),
        (false, true) => Body::new(incoming),
        (false, false) => Body::new(Lingering(Some(incoming))),
    })
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.0 else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take().filter(|rest| !rest.is_end_stream()) {
            tokio::spawn(timeout(LINGER_MAX, throw_away(rest)));
        }
    }
}

async fn throw_away(mut rest: Incoming) {
    let mut bytes = 0;
    while bytes < BYTES_MAX
        && let Ok(Some(Ok(frame))) = timeout(SILENCE_MAX, rest.frame()).await
    {
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

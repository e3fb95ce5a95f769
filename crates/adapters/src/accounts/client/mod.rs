//! A small HTTP client for one address: GET over kept connections, with a bound on everything.
//!
//! - *Time*: a whole call, from waiting for a place to the last byte of the answer, has one deadline.
//! - *Number*: only so many calls run at once, over at most as many kept connections.
//! - *Size*: an answer's head (64 KiB, seen when at most twice as much was read) and its body have limits, and beyond them the
//!   connection is closed.
//! - *Reach*: redirects are not followed and no proxy is used, so a token goes to the address it is meant for and no other.
//!
//! A call is made a second time, within its deadline, if the connection ended before an answer began: the other side may
//! have closed a kept connection at that moment, and a GET may be repeated.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hubbub_core::ports::accounts::Secret;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::option::BadOption;

mod tls;
pub mod url;

/// Longest timeout: beyond it a deadline might not be a moment any more.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1_024;

/// What may be set of a client.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long a call may take in all: up to a day. Default 3 s, which leaves an action with its 5 s time to answer.
    pub timeout: Duration,
    /// Calls at once, each with a connection; 0 counts as 1. Default 64.
    pub calls_max: usize,
    /// Largest body of an answer, in bytes. Default 64 KiB.
    pub body_bytes_max: usize,
    /// How long a connection is kept without a call. Default 4 s, for Node's HTTP server closes after 5 s.
    pub idle_timeout: Duration,
    /// Certificates to trust beside the machine's, in PEM. Default none.
    pub extra_roots_pem: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
            calls_max: 64,
            body_bytes_max: 64 * 1_024,
            idle_timeout: Duration::from_secs(4),
            extra_roots_pem: None,
        }
    }
}

/// Why a call has no answer. Says nothing of what was sent or received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No place among the calls came free in time.
    #[error("too many calls were waiting")]
    Busy,
    /// The deadline came.
    #[error("no answer in time")]
    TimedOut,
    /// More than is taken.
    #[error("the answer is too large")]
    TooLarge,
    /// The connection could not be made or broke.
    #[error("{0}")]
    Failed(String),
}

/// What was answered.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Calls one address.
pub struct HttpClient {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    places: Semaphore,
    timeout: Duration,
    body_bytes_max: usize,
}

impl HttpClient {
    /// A client that has not called yet.
    ///
    /// # Errors
    /// Certificates that can't be read, or none at all for https.
    pub fn new(url: Uri, options: &HttpOptions) -> Result<Self, BadOption> {
        let tls = match url.scheme_str() {
            Some("https") => tls::https(options.extra_roots_pem.as_deref())?,
            _ => tls::none()?,
        };
        let calls_max = options.calls_max.clamp(1, Semaphore::MAX_PERMITS);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(calls_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector.wrap_connector(tcp));
        let (timeout, body_bytes_max) = (options.timeout.min(TIMEOUT_MAX), options.body_bytes_max);
        Ok(Self { url, client, places: Semaphore::new(calls_max), timeout, body_bytes_max })
    }

    /// GET, with a bearer token if there is one.
    ///
    /// # Errors
    /// All of [`CallError`].
    ///
    /// # Cancel safety
    /// A call that is dropped gives its place back and closes its connection.
    pub async fn get(&self, bearer: Option<&Secret>) -> Result<Answer, CallError> {
        let request = self.request(bearer)?;
        let deadline = Instant::now() + self.timeout;
        let place = timeout_at(deadline, self.places.acquire()).await.map_err(|_| CallError::Busy)?;
        let answer = timeout_at(deadline, self.exchange(request)).await.map_err(|_| CallError::TimedOut)?;
        drop(place);
        answer
    }

    fn request(&self, bearer: Option<&Secret>) -> Result<Request<Empty<Bytes>>, CallError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("hubbub/", env!("CARGO_PKG_VERSION"))));
        if let Some(token) = bearer {
            let header = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut header = header.map_err(|_| CallError::Failed("not a header".into()))?;
            // Then its `Debug` says only that it is there.
            header.set_sensitive(true);
            headers.insert(AUTHORIZATION, header);
        }
        Ok(request)
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<Answer, CallError> {
        let response = match self.client.request(request.clone()).await {
            Err(error) if ended_before_an_answer(&error) => self.client.request(request).await,
            other => other,
        };
        let (head, body) = response.map_err(|error| CallError::Failed(chain(&error)))?.into_parts();
        let body = self.read(Response::from_parts(head.clone(), body)).await?;
        Ok(Answer { status: head.status, body })
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, CallError> {
        match Limited::new(response.into_body(), self.body_bytes_max).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(CallError::TooLarge),
            Err(error) => Err(CallError::Failed(chain(&*error))),
        }
    }
}

fn ended_before_an_answer(error: &ClientError) -> bool {
    let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    !error.is_connect() && hyper.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
}

/// What an error says, and what is behind it: the library's own words stop at "client error".
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

//! A small server of HTTP that does what a test tells it to.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{Request, Response};
use http_body_util::Full;
use hubbub_core::ports::accounts::Accounts;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the server does with a request.
#[derive(Clone)]
pub enum Doing {
    /// Answers with a status and a body.
    Answer(u16, String),
    /// The same, with a header of so many bytes.
    Header(usize, String),
    /// Sends on to another address.
    Redirect(String),
    /// Takes the request and never answers.
    Hang,
    /// Answers when it is released.
    Hold(Arc<Semaphore>, String),
    /// Closes the connection.
    Close,
    /// Answers the first request of a connection, and closes it at the second.
    OnceAConnection(String),
    /// Repeats the request's token in status, body and `Location`.
    Echo(u16),
    /// Answers as an account service with these accounts.
    Validate(Arc<dyn Accounts>),
}

pub struct Server {
    pub url: String,
    shared: Arc<Shared>,
    /// Ends the server when it is dropped.
    _running: JoinSet<()>,
}

struct Shared {
    doing: Mutex<Doing>,
    calls: AtomicUsize,
    connections: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    arrived: Notify,
    close: Notify,
    seen: Mutex<Vec<(String, String)>>,
}

impl Server {
    pub async fn start(doing: Doing) -> Self {
        Self::start_with(doing, None).await
    }

    pub async fn start_with(doing: Doing, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let shared = Arc::new(Shared {
            doing: Mutex::new(doing),
            calls: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            arrived: Notify::new(),
            close: Notify::new(),
            seen: Mutex::default(),
        });
        let mut running = JoinSet::new();
        running.spawn(accept(listener, tls, shared.clone()));
        Self { url, shared, _running: running }
    }

    pub fn doing(&self, doing: Doing) {
        *self.shared.doing.lock().unwrap() = doing;
    }

    pub fn answers(&self, status: u16, body: &str) {
        self.doing(Doing::Answer(status, body.into()));
    }

    /// From now on answers wait; the permits of what is returned let them go.
    pub fn holds(&self, body: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.doing(Doing::Hold(gate.clone(), body.into()));
        gate
    }

    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Most requests that were there at once.
    pub fn most(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// Path and `Authorization` of each request.
    pub fn seen(&self) -> Vec<(String, String)> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests have come in all.
    pub async fn arrived(&self, count: usize) {
        loop {
            let next = self.shared.arrived.notified();
            if self.calls() >= count {
                return;
            }
            next.await;
        }
    }

    /// Closes all connections, without a word.
    pub fn close_connections(&self) {
        self.shared.close.notify_waiters();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, shared).await;
                    }
                }
                None => serve(stream, shared).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let (close, requests) = (shared.clone(), AtomicUsize::new(0));
    let service = service_fn(move |request| {
        let (shared, is_first) = (shared.clone(), requests.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            let now = shared.now.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most.fetch_max(now, Ordering::SeqCst);
            let answer = answer(&shared, request, is_first).await;
            shared.now.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = close.close.notified() => {}
    }
}

async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
    is_first: bool,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let header = request.headers().get(AUTHORIZATION).map(|header| header.to_str().unwrap().to_owned());
    let header = header.unwrap_or_default();
    shared.seen.lock().unwrap().push((request.uri().to_string(), header.clone()));
    shared.calls.fetch_add(1, Ordering::SeqCst);
    shared.arrived.notify_waiters();
    let doing = shared.doing.lock().unwrap().clone();
    let token = header.strip_prefix("Bearer ").unwrap_or_default();
    match doing {
        Doing::Answer(status, body) => Ok(plain(status, body)),
        Doing::Header(bytes, body) => {
            let mut answer = plain(200, body);
            answer.headers_mut().insert("x-long", "x".repeat(bytes).parse().unwrap());
            Ok(answer)
        }
        Doing::Redirect(to) => Ok(redirect(307, &to, String::new())),
        Doing::Hang => std::future::pending().await,
        Doing::Hold(gate, body) => {
            gate.acquire().await.unwrap().forget();
            Ok(plain(200, body))
        }
        Doing::OnceAConnection(body) if is_first => Ok(plain(200, body)),
        Doing::Close | Doing::OnceAConnection(_) => Err("closed"),
        Doing::Echo(status) => Ok(redirect(status, token, format!(r#"{{"user":"{token} {token}""#))),
        Doing::Validate(accounts) => Ok(verdict(&*accounts, token).await),
    }
}

/// As the gateway answers.
async fn verdict(accounts: &dyn Accounts, token: &str) -> Response<Full<Bytes>> {
    let token = hubbub_core::ports::accounts::Secret::new(token.into());
    match accounts.validate(&token).await {
        Ok(account) => {
            let (user, roles) = (account.user, account.roles);
            let exp = account.expires_at.0 / 1_000;
            let body = serde_json::json!({"user": user.id, "name": user.name, "type": 1, "roles": roles, "exp": exp});
            plain(200, body.to_string())
        }
        Err(_) => plain(401, r#"{"error":1000}"#.into()),
    }
}

fn plain(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

fn redirect(status: u16, to: &str, body: String) -> Response<Full<Bytes>> {
    let mut answer = plain(status, body);
    answer.headers_mut().insert(LOCATION, to.parse().unwrap());
    answer
}

/// A server that answers bytes which are no HTTP.
pub async fn start_junk() -> (String, JoinSet<Result<Infallible, std::io::Error>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut running = JoinSet::new();
    running.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut head = [0; 1_024];
            _ = stream.read(&mut head).await?;
            stream.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await?;
        }
    });
    (url, running)
}

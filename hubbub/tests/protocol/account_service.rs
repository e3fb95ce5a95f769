//! An account service that is slow, wrong or away, as people at a running server feel it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hubbub_testkit::{Hubbub, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::plain_http::api;
use crate::program;
use crate::talk::Talk;

/// What the service does with whoever asks.
#[derive(Clone)]
enum Doing {
    /// It knows every token that is asked about: the user is called as the token.
    Knows,
    Says(u16, String),
    Hangs,
}

#[derive(Clone)]
struct Stub {
    address: SocketAddr,
    doing: Arc<Mutex<Doing>>,
    calls: Arc<AtomicUsize>,
    running: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Stub {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let doing = Arc::new(Mutex::new(Doing::Knows));
        let stub = Self { address, doing, calls: Arc::default(), running: Arc::default() };
        let router = Router::new().fallback(answer).with_state(stub.clone());
        let running = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        *stub.running.lock().unwrap() = Some(running);
        stub
    }

    async fn server(&self, more: &[&str]) -> Hubbub {
        let start = program().with(&format!("--auth-server=http://{}", self.address));
        Hubbub::start(more.iter().fold(start, |start, flag| start.with(flag))).await.unwrap()
    }

    fn does(&self, doing: Doing) {
        *self.doing.lock().unwrap() = doing;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn answer(State(stub): State<Stub>, uri: Uri, headers: HeaderMap) -> Response {
    stub.calls.fetch_add(1, Ordering::SeqCst);
    let token =
        headers.get(header::AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
    let doing = stub.doing.lock().unwrap().clone();
    assert_eq!(uri.path(), "/v1/accounts/validate", "as the seed asked it");
    match doing {
        Doing::Knows => {
            let user = token.strip_prefix("Bearer ").unwrap_or_default();
            let known = json!({"user": user, "name": user, "type": 1, "roles": ["user"]});
            (StatusCode::OK, known.to_string()).into_response()
        }
        Doing::Says(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Doing::Hangs => std::future::pending().await,
    }
}

async fn hello(server: &Hubbub, token: &str) -> (Talk, Value) {
    let mut talk = Talk::silent(server).await;
    let answer = talk.ask(json!({"type": "hello", "token": token})).await;
    (talk, answer)
}

#[tokio::test]
async fn a_wrong_answer_lets_nobody_in_and_a_refusal_is_one() {
    let stub = Stub::start().await;
    let server = stub.server(&[]).await;
    let account = |kind: u8, roles: &[&str]| {
        json!({"user": "ann", "name": "Ann", "type": kind, "roles": roles}).to_string()
    };
    for (n, (status, body, expected, code, error)) in [
        (200, account(1, &["user"]), 200, "welcome", 0),
        (200, account(1, &["admin"]), 403, "forbidden", 1002),
        (200, account(3, &["user"]), 403, "forbidden", 1002),
        (200, account(1, &["bot"]), 403, "forbidden", 1002),
        (200, json!({"error": 1000}).to_string(), 401, "unauthorized", 1000),
        (401, String::new(), 401, "unauthorized", 1000),
        (200, "<html>".into(), 503, "unavailable", 1003),
        (200, json!({"name": "Ann"}).to_string(), 503, "unavailable", 1003),
        (200, account(1, &["user"]).replace("\"ann\"", "\"a.b\""), 503, "unavailable", 1003),
        (500, account(1, &["user"]), 503, "unavailable", 1003),
    ]
    .into_iter()
    .enumerate()
    {
        // A success in between: after some failures in a row the service would not be asked.
        stub.does(Doing::Knows);
        assert_eq!(
            api(&server, "GET", "/v1/chat/rooms", &format!("good{n}"), &Value::Null).await.status,
            200
        );
        stub.does(Doing::Says(status, body.clone()));
        // Another token each time: answers are kept.
        let token = format!("t{n}");
        let answer = api(&server, "GET", "/v1/chat/rooms", &token, &Value::Null).await;
        assert_eq!(answer.status, expected, "{status} {body}: {answer:?}");
        if expected != 200 {
            assert_eq!(answer.json()["error"], error, "{status} {body}: {answer:?}");
        }
        let (_talk, said) = hello(&server, &token).await;
        assert!(said["code"] == code || said["type"] == code, "{status} {body}: {said}");
    }
    assert!(server.get("/healthz", None).await.is_ok_and(|answer| answer.status == 200));
}

#[tokio::test]
async fn a_service_that_hangs_holds_up_only_those_it_does_not_know() {
    let stub = Stub::start().await;
    let server = stub.server(&["--accounts-timeout=500ms"]).await;
    let (mut ann, welcome) = hello(&server, "ann").await;
    assert_eq!(welcome["type"], "welcome");
    let room = ann.room().await;
    stub.does(Doing::Hangs);
    let calls = stub.calls();
    let asks =
        (0..40).map(|_| async { api(&server, "GET", "/v1/chat/rooms", "bob", &Value::Null).await.status });
    let began = Instant::now();
    let said = {
        let asked = futures_util::future::join_all(asks);
        tokio::pin!(asked);
        // Meanwhile those who are known go on, and come in.
        let others = async {
            ann.done(json!({"type": "send", "room": room, "text": "still here"})).await;
            assert_eq!(hello(&server, "ann").await.1["type"], "welcome");
        };
        tokio::join!(asked, others).0
    };
    assert_eq!((said, stub.calls()), (vec![503; 40], calls + 1), "one call for all who have the same token");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    // After some failures in a row it is not asked at all, and is found again when it is well.
    for token in 0..6 {
        assert_eq!(
            api(&server, "GET", "/v1/chat/rooms", &format!("t{token}"), &Value::Null).await.status,
            503
        );
    }
    let asked = stub.calls();
    assert_eq!(api(&server, "GET", "/v1/chat/rooms", "cyd", &Value::Null).await.status, 503);
    assert_eq!((stub.calls(), server.metric("hubbub_accounts_breaker_open").await.unwrap()), (asked, 1.0));
    stub.does(Doing::Knows);
    let is_back = async || {
        (api(&server, "GET", "/v1/chat/rooms", "cyd", &Value::Null).await.status == 200).then_some(())
    };
    eventually("the service is asked again", is_back).await;
}

#[tokio::test]
async fn a_connection_stays_while_the_service_is_away_until_its_token_is_asked_for() {
    let stub = Stub::start().await;
    let server = stub.server(&["--token-ttl=2s", "--auth-server-cache=0ms"]).await;
    let (mut ann, _) = hello(&server, "ann").await;
    let room = ann.room().await;
    let running = stub.running.lock().unwrap().take().unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    ann.done(json!({"type": "send", "room": room, "text": "still here"})).await;

    // Its time is over: the connection is asked, can't be answered for, and is kept for the minute that it has.
    let asked = ann.hear("error").await;
    assert_eq!((&asked["code"], &asked["field"]), (&json!("unauthorized"), &json!("token")), "{asked}");
    let again = ann.ask(json!({"type": "hello", "token": "ann"})).await;
    assert_eq!(again["code"], "unavailable", "{again}");
    ann.done(json!({"type": "send", "room": room, "text": "and still here"})).await;

    // The service is back, under the same address.
    let listener = TcpListener::bind(stub.address).await.unwrap();
    let router = Router::new().fallback(answer).with_state(stub.clone());
    let _running = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    eventually("the token is renewed", async || {
        let again = ann.ask(json!({"type": "hello", "token": "ann"})).await;
        (again["type"] == "welcome").then_some(())
    })
    .await;
    ann.done(json!({"type": "send", "room": room, "text": "known again"})).await;
}

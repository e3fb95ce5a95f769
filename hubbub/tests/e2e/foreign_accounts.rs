//! Accounts of another service: its tokens let people in, and its absence lets nobody in and throws nobody out.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONNECTION};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use hubbub_client::Client;
use hubbub_core::code::Code;
use hubbub_core::ids::{RoomId, UserId};
use hubbub_testkit::{Hubbub, Person};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::common::{connect, program};

/// What the tokens begin with that the service knows; the rest is the user's id.
const TOKEN: &str = "opaque-token-of-";
const ISSUER: &str = "https://accounts.example.org";

/// Another service, with accounts and keys.
struct Service {
    url: String,
    is_ill: Arc<AtomicBool>,
    running: JoinHandle<()>,
}

type Answered = (StatusCode, [(HeaderName, &'static str); 1], Json<Value>);

impl Service {
    /// With these keys at `/keys`.
    async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let is_ill = Arc::new(AtomicBool::new(false));
        let router = Router::new()
            .route("/v1/accounts/validate", get(validate))
            .route("/keys", get(async move || answer(StatusCode::OK, keys)))
            .with_state(is_ill.clone());
        let running = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, is_ill, running }
    }

    /// Its port is closed when this returns.
    async fn end(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }
}

async fn validate(State(is_ill): State<Arc<AtomicBool>>, headers: HeaderMap) -> Answered {
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
    let user = header.strip_prefix("Bearer ").and_then(|token| token.strip_prefix(TOKEN));
    match user {
        _ if is_ill.load(Ordering::SeqCst) => answer(StatusCode::SERVICE_UNAVAILABLE, json!({})),
        Some(user) => {
            answer(StatusCode::OK, json!({"user": user, "name": user, "type": 1, "roles": ["user"]}))
        }
        None => answer(StatusCode::UNAUTHORIZED, json!({"error": 1_000})),
    }
}

/// No connection is kept, or it would answer on one after its end.
fn answer(status: StatusCode, body: Value) -> Answered {
    (status, [(CONNECTION, "close")], Json(body))
}

/// Who signs tokens.
struct Issuer {
    signs: EncodingKey,
    pem: String,
}

impl Issuer {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { signs: EncodingKey::from_ec_der(&key.serialize_der()), pem: key.public_key_pem() }
    }

    fn keys(&self) -> Value {
        let key = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.signs, Algorithm::ES256).unwrap();
        json!({"keys": [key]})
    }

    fn token(&self, user: &str, audience: &str) -> String {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
        let claims =
            json!({"sub": user, "name": user, "roles": ["user"], "iss": ISSUER, "aud": audience, "exp": end});
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.signs).unwrap()
    }
}

async fn started(flags: &[String]) -> Hubbub {
    Hubbub::start(flags.iter().fold(program(), |start, flag| start.with(flag))).await.unwrap()
}

fn person(server: &Hubbub, user: &str, token: String) -> Person {
    Person::from_elsewhere(server, UserId::parse(user).unwrap(), user, token)
}

/// With a token that the service has to be asked about.
fn asked_about(server: &Hubbub, user: &str) -> Person {
    person(server, user, format!("{TOKEN}{user}"))
}

/// Why somebody is not let in.
async fn refusal(person: &Person) -> Option<Code> {
    person.connect().await.err().and_then(|error| error.code())
}

async fn room_of(client: &Client) -> RoomId {
    client.create("the room", "").await.unwrap().id
}

async fn says(client: &Client, room: &RoomId, text: &str) -> u64 {
    client.send_text(room, text, None).await.unwrap().seq().unwrap().0
}

#[tokio::test]
async fn another_service_is_asked_and_while_it_is_away_nobody_comes_in_and_nobody_is_thrown_out() {
    let service = Service::start(json!({})).await;
    let server = started(&[format!("--auth-server={}/", service.url)]).await;
    for path in ["/v1/accounts", "/v1/accounts/login"] {
        let answer = server.post(path, None, &json!({})).await.unwrap();
        let problem = answer.json()["type"].to_string();
        assert!(answer.status == 404 && problem.contains("accounts_elsewhere"), "{path}: {answer:?}");
    }

    let ana = connect(&asked_about(&server, "ana")).await;
    let room = room_of(&ana).await;
    assert_eq!(says(&ana, &room, "hello").await, 2);
    let guest = person(&server, "eve", "a token of nobody".into());
    assert_eq!(refusal(&guest).await, Some(Code::Unauthorized));

    service.is_ill.store(true, Ordering::SeqCst);
    assert_eq!(refusal(&asked_about(&server, "bob")).await, Some(Code::Unavailable));
    service.is_ill.store(false, Ordering::SeqCst);
    let bob = connect(&asked_about(&server, "bob")).await;
    bob.join(&room).await.unwrap();

    service.end().await;
    let cyd = asked_about(&server, "cyd");
    assert_eq!(refusal(&cyd).await, Some(Code::Unavailable));
    let answer = server.get("/v1/chat/rooms", Some(&cyd.token)).await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!(1_003)));
    assert_eq!(says(&bob, &room, "still here").await, 4);
    connect(&asked_about(&server, "ana")).await;
    assert!(!server.log().contains(TOKEN), "a token is in the log");
}

#[tokio::test]
async fn a_token_is_checked_by_the_keys_behind_an_address() {
    let issuer = Issuer::new();
    let service = Service::start(issuer.keys()).await;
    let flags = [
        format!("--jwks-url={}/keys", service.url),
        format!("--jwt-issuer={ISSUER}"),
        "--jwt-audience=hubbub".into(),
    ];
    let server = started(&flags).await;
    let ana = connect(&person(&server, "ana", issuer.token("ana", "hubbub"))).await;
    let room = room_of(&ana).await;
    assert_eq!(says(&ana, &room, "hello").await, 2);
    for token in [issuer.token("eve", "others"), Issuer::new().token("eve", "hubbub")] {
        assert_eq!(refusal(&person(&server, "eve", token)).await, Some(Code::Unauthorized));
    }

    service.end().await;
    let bob = connect(&person(&server, "bob", issuer.token("bob", "hubbub"))).await;
    bob.join(&room).await.unwrap();
    assert_eq!(says(&bob, &room, "by a key that is known").await, 4);
}

#[tokio::test]
async fn a_token_is_checked_by_the_key_in_a_file() {
    let issuer = Issuer::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, &issuer.pem).unwrap();
    let flags = [format!("--jwt-key-file={}", file.display()), "--jwt-audience=hubbub".into()];
    let server = started(&flags).await;
    let ana = connect(&person(&server, "ana", issuer.token("ana", "hubbub"))).await;
    assert_eq!(says(&ana, &room_of(&ana).await, "hello").await, 2);
    let forged = person(&server, "ana", Issuer::new().token("ana", "hubbub"));
    assert_eq!(refusal(&forged).await, Some(Code::Unauthorized));
}

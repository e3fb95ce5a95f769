//! The HTTP table with all tiers behind it, in one process.

#![allow(clippy::unwrap_used, reason = "a test that can't go on is to fail")]

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, header};
use hubbub_adapters::accounts::{BuiltIn, BuiltInOptions};
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_adapters::store::embedded::{EmbeddedStore, Options};
use hubbub_core::ids::{Millis, NodeId, Partitions, UserId};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::store::Store;
use hubbub_gateway::admin::{self, credentials::Credentials};
use hubbub_gateway::config::Config;
use hubbub_gateway::http::{ClientAddress, HttpState, Readiness, router};
use hubbub_gateway::{Gateway, Ports};
use hubbub_node::revoked::token_id;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// Everything behind the router; the tiers end and the folder goes when it is dropped.
struct Chat {
    router: Router,
    gateway: Arc<Gateway>,
    store: Arc<EmbeddedStore>,
    folder: PathBuf,
    end: CancellationToken,
}

impl Chat {
    async fn start(config: Config) -> Self {
        let folder = std::env::temp_dir().join(format!("hubbub-http-{}", uuid::Uuid::new_v4()));
        let store = Arc::new(EmbeddedStore::open(&folder, Options::default()).unwrap());
        let accounts = BuiltIn::open(store.clone(), BuiltInOptions::default()).await.unwrap();
        let partitions = Partitions::new(2).unwrap();
        let (bus, end) = (Arc::new(LocalBus::default()), CancellationToken::new());
        let leases = Arc::new(LocalLeases::default());
        let ports = hubbub_room_worker::Ports { bus: bus.clone(), store: store.clone(), leases };
        let worker = hubbub_room_worker::Config::new(NodeId::parse("test").unwrap(), partitions);
        tokio::spawn(hubbub_room_worker::serve(ports, worker, end.clone()));
        let history = hubbub_history_service::Config::new(partitions);
        tokio::spawn(hubbub_history_service::serve(bus.clone(), store.clone(), history, end.clone()));
        let gateway = Gateway::new(
            config,
            Ports {
                bus,
                accounts: Arc::new(accounts),
                partitions,
                log: store.log_id(),
                banned: Arc::default(),
                revoked: Arc::default(),
                revocations: store.clone(),
                cluster: None,
            },
        );
        let state = HttpState {
            gateway: gateway.clone(),
            health: Arc::new(Readiness::default),
            metrics: Arc::new(String::new),
        };
        Self { router: router(state), gateway, store, folder, end }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.ask_with_key(token, method, path, body, None).await
    }

    async fn ask_with_key(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = body.map_or(Body::empty(), |json| Body::from(json.to_string()));
        let response = self.router.clone().call(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// Posts a body between whose halves something happens.
    async fn post_slowly(
        &self,
        token: &str,
        path: &str,
        body: Value,
        meanwhile: impl FnOnce() + Send + 'static,
    ) -> u16 {
        let text = body.to_string();
        let (first, rest) = text.split_at(text.len() / 2);
        let (first, rest) = (Bytes::from(first.to_owned()), Bytes::from(rest.to_owned()));
        let rest = stream::once(async move {
            meanwhile();
            Ok::<_, Infallible>(rest)
        });
        let request = Request::builder().method("POST").uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
        self.router.clone().call(request.body(body).unwrap()).await.unwrap().status().as_u16()
    }

    /// A new account's id and token.
    async fn person(&self, name: &str) -> (String, String) {
        let email = format!("{name}@example.org");
        let account = json!({"name": name, "email": email, "password": "correct horse"});
        let (status, made) = self.ask("", "POST", "/v1/accounts", Some(account)).await;
        assert_eq!(status, 201, "{made}");
        let login = json!({"email": email, "password": "correct horse"});
        let (status, given) = self.ask("", "POST", "/v1/accounts/login", Some(login)).await;
        assert_eq!(status, 200, "{given}");
        (made["id"].as_str().unwrap().into(), given["token"].as_str().unwrap().into())
    }

    async fn room(&self, token: &str, name: &str) -> String {
        let (status, made) = self.ask(token, "POST", "/v1/chat/rooms", Some(json!({"name": name}))).await;
        assert_eq!(status, 200, "{made}");
        made["id"].as_str().unwrap().into()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.end.cancel();
        // The store may still close: what it leaves is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn two_strangers_meet_talk_and_read_it_all() {
    let chat = Chat::start(Config::default()).await;
    let ((ann_id, ann), (bob_id, bob)) = (chat.person("ann").await, chat.person("bob").await);
    let (status, who) = chat.ask(&ann, "GET", "/v1/accounts/validate", None).await;
    assert_eq!((status, who), (200, json!({"user": ann_id, "name": "ann", "type": 1, "roles": ["user"]})));

    let room = chat.room(&ann, "The lobby").await;
    let message = format!("/v1/chat/rooms/message/{room}");
    let (status, refused) = chat.ask(&bob, "POST", &message, Some(json!({"message": "hi"}))).await;
    assert_eq!((status, &refused["code"], &refused["error"]), (403, &json!("not_member"), &json!(602)));
    let join = format!("/v1/chat/rooms/join/{room}");
    for _ in 0..2 {
        assert_eq!(chat.ask(&bob, "POST", &join, None).await, (200, json!({"id": room})));
    }
    let (_, sent) = chat.ask(&bob, "POST", &message, Some(json!({"message": "hi"}))).await;
    assert_eq!(sent, json!({"id": format!("{room}-3"), "seq": 3}), "a second join made no entry");
    let picture = json!({"image": "iVBORw0KGgoAAAANSUhEUgAA"});
    let (status, _) = chat.ask(&ann, "POST", &message, Some(picture)).await;
    assert_eq!(status, 200);

    let (_, page) = chat.ask(&bob, "GET", &format!("/v1/chat/rooms/{room}/messages"), None).await;
    let types: Vec<_> =
        page["entries"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["join", "join", "message", "message"]);
    assert_eq!(page["entries"][3]["image"], "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA");
    assert_eq!(page["more"], false);
    let query = format!("/v1/chat/rooms/{room}/messages?kinds=text&after=0&limit=1");
    let (_, page) = chat.ask(&ann, "GET", &query, None).await;
    assert_eq!((page["entries"].as_array().unwrap().len(), &page["entries"][0]["text"]), (1, &json!("hi")));

    let (_, shown) = chat.ask(&bob, "GET", &format!("/v1/chat/rooms/{room}"), None).await;
    let expected =
        json!({"id": room, "name": "The lobby", "topic": "", "owner": ann_id, "head": 4, "members": 2});
    assert_eq!(shown, expected);
    let (_, members) = chat.ask(&bob, "GET", &format!("/v1/chat/rooms/{room}/members"), None).await;
    let ids: Vec<_> =
        members["members"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [ann_id.as_str(), bob_id.as_str()]);
    assert_eq!(members["members"][0]["online"], false, "nobody has a socket");
    let leave = format!("/v1/chat/rooms/leave/{room}");
    assert_eq!(chat.ask(&bob, "DELETE", &leave, None).await, (200, json!({"id": room})));
    assert_eq!(chat.ask(&bob, "DELETE", &leave, None).await.1["code"], "not_member");
}

#[tokio::test]
async fn a_repeat_makes_no_second_message_and_no_second_room() {
    let chat = Chat::start(Config::default()).await;
    let (_, ann) = chat.person("ann").await;
    let make = Some(json!({"name": "Once"}));
    let first = chat.ask_with_key(&ann, "POST", "/v1/chat/rooms", make.clone(), Some("r-1")).await;
    let again = chat.ask_with_key(&ann, "POST", "/v1/chat/rooms", make, Some("\"r-1\"")).await;
    assert_eq!(first, again);
    let message = format!("/v1/chat/rooms/message/{}", first.1["id"].as_str().unwrap());
    let say = Some(json!({"message": "once", "after": 1}));
    let first = chat.ask_with_key(&ann, "POST", &message, say.clone(), Some("m-1")).await;
    let again = chat.ask_with_key(&ann, "POST", &message, say, Some("m-1")).await;
    assert_eq!((first.0, &first), (200, &again));
    let beyond = Some(json!({"message": "x", "after": 99}));
    let (status, problem) = chat.ask_with_key(&ann, "POST", &message, beyond, Some("m-2")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")));
}

#[tokio::test]
async fn only_the_owner_sets_the_topic_and_removes_members() {
    let chat = Chat::start(Config::default()).await;
    let ((_, ann), (bob_id, bob)) = (chat.person("ann").await, chat.person("bob").await);
    let room = chat.room(&ann, "Hers").await;
    chat.ask(&bob, "POST", &format!("/v1/chat/rooms/join/{room}"), None).await;
    let (topic, member) =
        (format!("/v1/chat/rooms/{room}/topic"), format!("/v1/chat/rooms/{room}/members/{bob_id}"));
    let set = Some(json!({"topic": "tea"}));
    assert_eq!(chat.ask(&bob, "PUT", &topic, set.clone()).await.0, 403);
    assert_eq!(chat.ask(&bob, "DELETE", &member, None).await.0, 403);
    assert_eq!(chat.ask(&ann, "PUT", &topic, set).await, (200, json!({"id": room})));
    assert_eq!(chat.ask(&ann, "DELETE", &member, None).await, (200, json!({"id": room})));
    let (_, shown) = chat.ask(&bob, "GET", &format!("/v1/chat/rooms/{room}"), None).await;
    assert_eq!(
        (&shown["topic"], &shown["members"]),
        (&json!("tea"), &json!(1)),
        "who is removed may still read"
    );
}

#[tokio::test]
async fn who_is_banned_or_whose_token_is_called_back_while_a_body_comes_is_refused() {
    let chat = Chat::start(Config::default()).await;
    let ((_, ann), (bob_id, bob), (_, cyd)) =
        (chat.person("ann").await, chat.person("bob").await, chat.person("cyd").await);
    let room = chat.room(&ann, "The lobby").await;
    for token in [&bob, &cyd] {
        assert_eq!(chat.ask(token, "POST", &format!("/v1/chat/rooms/join/{room}"), None).await.0, 200);
    }
    let (message, rooms) = (format!("/v1/chat/rooms/message/{room}"), "/v1/chat/rooms");
    let (hi, den) = (json!({"message": "hi"}), json!({"name": "A den"}));
    assert_eq!(chat.post_slowly(&bob, &message, hi.clone(), || ()).await, 200, "slow is not refused");

    let bob_id = UserId::parse(&bob_id).unwrap();
    for (path, body) in [(&*message, &hi), (rooms, &den)] {
        let (gateway, id) = (chat.gateway.clone(), bob_id.clone());
        let banned = chat.post_slowly(&bob, path, body.clone(), move || gateway.banned.ban(id)).await;
        assert_eq!(banned, 403, "{path}");
        chat.gateway.banned.lift(&bob_id);
    }
    let (gateway, token) = (chat.gateway.clone(), token_id(&Secret::new(cyd.clone())));
    let revoke = move || gateway.revoked.add(token, Millis(u64::MAX));
    assert_eq!(chat.post_slowly(&cyd, &message, hi, revoke).await, 401);

    let (_, page) = chat.ask(&ann, "GET", &format!("/v1/chat/rooms/{room}/messages?kinds=text"), None).await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 1, "{page}");
    let (_, listed) = chat.ask(&ann, "GET", rooms, None).await;
    assert_eq!(listed["rooms"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn the_directory_is_read_in_pages() {
    let chat = Chat::start(Config::default()).await;
    let (_, ann) = chat.person("ann").await;
    for n in 0..5 {
        chat.room(&ann, &format!("room {n}")).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = chat.ask(&ann, "GET", &format!("/v1/chat/rooms?limit=2{cursor}"), None).await;
        assert_eq!(status, 200, "{page}");
        names
            .extend(page["rooms"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names, ["room 4", "room 3", "room 2", "room 1", "room 0"]);
    let (status, problem) = chat.ask(&ann, "GET", "/v1/chat/rooms?cursor=%FFnope", None).await;
    assert_eq!((status, &problem["field"]), (400, &json!("cursor")));
}

#[tokio::test]
async fn one_may_be_in_so_many_rooms_and_join_those_again() {
    let chat = Chat::start(Config { rooms_of_user_max: 2, ..Config::default() }).await;
    let ((_, ann), (_, bob)) = (chat.person("ann").await, chat.person("bob").await);
    let (first, _) = (chat.room(&ann, "one").await, chat.room(&ann, "two").await);
    let third = chat.room(&bob, "three").await;
    let (status, problem) = chat.ask(&ann, "POST", "/v1/chat/rooms", Some(json!({"name": "more"}))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    assert_eq!(chat.ask(&ann, "POST", &format!("/v1/chat/rooms/join/{third}"), None).await.0, 403);
    assert_eq!(chat.ask(&ann, "POST", &format!("/v1/chat/rooms/join/{first}"), None).await.0, 200);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_the_seeds_number() {
    let chat = Chat::start(Config::default()).await;
    let (_, ann) = chat.person("ann").await;
    for (method, path) in [
        ("GET", "/v1/chat/rooms/nosuch"),
        ("GET", "/v1/chat/rooms/nosuch/messages"),
        ("GET", "/v1/chat/rooms/nosuch/members"),
        ("POST", "/v1/chat/rooms/join/nosuch"),
        ("DELETE", "/v1/chat/rooms/leave/nosuch"),
    ] {
        let (status, problem) = chat.ask(&ann, method, path, None).await;
        assert_eq!(
            (status, &problem["code"], &problem["error"]),
            (404, &json!("no_such_room"), &json!(600)),
            "{path}"
        );
    }
    let room = chat.room(&ann, "Here").await;
    let (status, problem) = chat
        .ask(&ann, "POST", &format!("/v1/chat/rooms/message/{room}"), Some(json!({"message": "/stock=X"})))
        .await;
    assert_eq!((status, &problem["code"], &problem["error"]), (503, &json!("unavailable"), &json!(602)));
    let wrong = json!({"email": "ann@example.org", "password": "wrong horse"});
    let (status, problem) = chat.ask("", "POST", "/v1/accounts/login", Some(wrong)).await;
    assert_eq!((status, &problem["error"]), (401, &json!(1001)));
    let again = json!({"name": "Ann", "email": "ANN@example.org", "password": "correct horse"});
    let (status, problem) = chat.ask("", "POST", "/v1/accounts", Some(again)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")));
}

#[tokio::test]
async fn who_guesses_an_operators_credential_is_slowed_down_at_all_addresses_of_a_network() {
    let chat = Chat::start(Config::default()).await;
    let known = Secret::new(format!("ann.{}", "0".repeat(32)));
    let ports = admin::Ports {
        leases: Arc::new(LocalLeases::default()),
        bans: chat.store.clone(),
        reported: Arc::default(),
    };
    let router = admin::router(chat.gateway.clone(), ports, Credentials::parse(&known).unwrap());
    let ask = async |from: String, credential: &str| {
        let request = Request::get("/v1/admin/bans").header("authorization", format!("Bearer {credential}"));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(ClientAddress(from.parse().unwrap())));
        router.clone().call(request).await.unwrap().status().as_u16()
    };
    let mut slowed_down = false;
    for n in 0..30 {
        slowed_down |= ask(format!("2001:db8:0:1::{n:x}"), &format!("ann.{n:032}1")).await == 429;
    }
    assert!(slowed_down, "thirty guesses of one network");
    assert_eq!(ask("2001:db8:0:2::1".into(), known.reveal()).await, 200);
}

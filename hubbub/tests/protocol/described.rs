//! The HTTP API is what its OpenAPI description says, and the description is what it does: each documented answer is seen, and
//! every answer that is seen is documented, with its content type and its schema.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_testkit::{Hubbub, Operator, Person, fits, in_time};
use serde_json::{Value, json};

use crate::plain_http::{Response, ask};
use crate::program;

/// An answer that is documented and can't be brought about from outside.
const UNSEEN: [(&str, &str, &str); 1] = [
    // The ids of two rooms would have to be the same, and those are made from who asks and their key.
    ("post", "/v1/chat/rooms", "409"),
];

/// The description, and what of it was seen.
struct Described {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

impl Described {
    async fn by(server: &Hubbub) -> Self {
        let document = server.get("/openapi.json", None).await.unwrap().json();
        Self { document, seen: BTreeSet::new() }
    }

    /// Takes note of an answer, which must be one of those described.
    fn see(&mut self, method: &str, path: &str, answer: &Response) {
        let (method, status) = (method.to_lowercase(), answer.status.to_string());
        let what = format!("{method} {path}: {answer:?}");
        let described = &self.document["paths"][path][&method]["responses"][&status];
        assert!(described.is_object(), "not described: {what}");
        match described["content"].as_object() {
            None => assert_eq!(answer.body, "", "a body that is not described: {what}"),
            Some(content) => {
                let kind = answer.header("content-type");
                let found = content
                    .iter()
                    .find(|(described, _)| kind.split(';').next() == described.split(';').next());
                let (_, content) = found.unwrap_or_else(|| panic!("{kind} is not described: {what}"));
                if kind.ends_with("json") {
                    let fits = fits(&self.document, &content["schema"], &answer.json());
                    fits.unwrap_or_else(|why| panic!("{why}: {what}"));
                }
            }
        }
        self.seen.insert((method, path.into(), status));
    }

    fn unseen(&self) -> BTreeSet<(&str, &str, &str)> {
        let mut unseen = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    if !self.seen.contains(&(method.clone(), path.clone(), status.clone())) {
                        unseen.insert((method.as_str(), path.as_str(), status.as_str()));
                    }
                }
            }
        }
        unseen
    }

    /// Every operation, method first.
    fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
            let path = path.clone();
            methods.into_iter().map(move |method| (method, path.clone()))
        };
        paths.iter().flat_map(of).collect()
    }
}

/// What is put into a path, and a body that fits.
struct Sample {
    room: String,
    user: String,
}

impl Sample {
    fn path(&self, path: &str) -> String {
        let path = path
            .replace("/assets/{name}", "/assets/app.js")
            .replace("/problems/{name}", "/problems/not_member");
        path.replace("{id}", &self.room).replace("{user}", &self.user)
    }

    fn body(method: &str, path: &str) -> Value {
        match (method, path) {
            ("post", "/v1/accounts") => {
                json!({"name": "Ann", "email": "a@example.org", "password": "correct horse"})
            }
            ("post", "/v1/accounts/login") => json!({"email": "a@example.org", "password": "wrong horse"}),
            ("post", "/v1/chat/rooms") => json!({"name": "Here"}),
            ("post", "/v1/chat/rooms/message/{id}") => json!({"message": "hello"}),
            ("put", _) => json!({"topic": "hello"}),
            _ => Value::Null,
        }
    }
}

fn lines(token: &str, more: &str) -> String {
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    format!("{token}Content-Type: application/json\r\n{more}")
}

fn text(body: &Value) -> String {
    if body.is_null() { String::new() } else { body.to_string() }
}

/// Goes through every operation once.
async fn walk(
    described: &mut Described,
    server: &Hubbub,
    sample: &Sample,
    token: &str,
    more: &str,
    is_wanted: impl Fn(&str, &str) -> bool,
) -> BTreeMap<(String, String), u16> {
    let mut statuses = BTreeMap::new();
    for (method, path) in described.operations().into_iter().filter(|(method, path)| is_wanted(method, path))
    {
        let body = text(&Sample::body(&method, &path));
        let answer =
            ask(server, &method.to_uppercase(), &sample.path(&path), &lines(token, more), &body).await;
        described.see(&method, &path, &answer);
        statuses.insert((method, path), answer.status);
    }
    statuses
}

fn needs_token(path: &str) -> bool {
    path.starts_with("/v1/") && !matches!(path, "/v1/accounts" | "/v1/accounts/login")
}

#[tokio::test]
async fn each_documented_answer_is_seen_and_no_other() {
    let server = Hubbub::start(program()).await.unwrap();
    let mut described = Described::by(&server).await;
    let ann = Person::register(&server, "Ann").await.unwrap();
    let bob = Person::register(&server, "Bob").await.unwrap();
    let lines_of_ann = lines(&ann.token, "");

    let made = ask(&server, "POST", "/v1/chat/rooms", &lines_of_ann, r#"{"name":"Here"}"#).await;
    let room = made.json()["id"].as_str().unwrap().to_owned();
    let sample = Sample { room: room.clone(), user: bob.id.to_string() };
    // Bodies that do not come, in good time: each takes 20 s.
    let slow: Vec<_> =
        described.operations().into_iter().filter(|(m, p)| !Sample::body(m, p).is_null()).collect();
    let slow = slow.into_iter().map(|(method, path)| {
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n{lines_of_ann}\r\n{{",
            method.to_uppercase(),
            sample.path(&path)
        );
        let address = server.address();
        tokio::spawn(
            async move { (method, path, crate::plain_http::exchange_at(address, head.as_bytes()).await) },
        )
    });
    let slow: Vec<_> = slow.collect();

    // As one who may, who is known already, who is a member, and at last one who is gone.
    let join = format!("/v1/chat/rooms/join/{room}");
    ask(&server, "POST", &join, &lines(&bob.token, ""), "").await;
    ask(&server, "POST", "/v1/accounts", &lines("", ""), &text(&Sample::body("post", "/v1/accounts"))).await;
    let is_early = |method: &str, path: &str| !path.ends_with("logout") && method != "delete";
    walk(&mut described, &server, &sample, &ann.token, "", is_early).await;
    walk(&mut described, &server, &sample, &ann.token, "If-None-Match: *\r\n", |_, path| {
        !path.starts_with("/v1/")
    })
    .await;
    walk(&mut described, &server, &sample, &ann.token, "", |method, _| method == "delete").await;
    walk(&mut described, &server, &sample, "", "", |_, path| needs_token(path)).await;
    let nowhere = Sample { room: "nowhere".into(), user: "nobody".into() };
    walk(&mut described, &server, &nowhere, &ann.token, "", |_, path| path.contains("{id}")).await;
    for path in ["/assets/{name}", "/problems/{name}"] {
        let answer = ask(&server, "GET", &path.replace("{name}", "nothing"), "", "").await;
        described.see("get", path, &answer);
    }
    for (method, path) in described.operations() {
        let (concrete, body) = (sample.path(&path), Sample::body(&method, &path));
        if !body.is_null() {
            let method = method.to_uppercase();
            let no_json = format!("Authorization: Bearer {}\r\n", ann.token);
            for (lines, body) in [
                (no_json.as_str(), text(&body)),
                (&lines_of_ann, "{}".into()),
                (&lines_of_ann, format!("{{\"name\": \"{}\"}}", "x".repeat(600 * 1024))),
            ] {
                let answer = ask(&server, &method, &concrete, lines, &body).await;
                described.see(&method, &path, &answer);
            }
        }
        if method == "get"
            && ["/v1/chat/rooms", "/v1/chat/rooms/{id}/members", "/v1/chat/rooms/{id}/messages"]
                .contains(&&*path)
        {
            let answer = ask(&server, "GET", &format!("{concrete}?limit=0"), &lines_of_ann, "").await;
            described.see("get", &path, &answer);
        }
    }
    for (method, path, body) in [
        (
            "POST",
            "/v1/accounts",
            json!({"name": "Cyd", "email": "cyd@example.org", "password": "correct horse"}),
        ),
        ("POST", "/v1/accounts/login", json!({"email": "cyd@example.org", "password": "correct horse"})),
        ("POST", "/v1/chat/rooms/message/{id}", json!({"message": "x", "after": 1_000_000})),
        ("POST", "/v1/chat/rooms/message/{id}", json!({"message": "/hello=Ann"})),
        ("PUT", "/v1/chat/rooms/{id}/topic", json!({"topic": "t"})),
    ] {
        // Ann left; she comes back.
        ask(&server, "POST", &join, &lines_of_ann, "").await;
        let with_key = lines(&ann.token, "Idempotency-Key: k\r\n");
        let answer = ask(&server, method, &sample.path(path), &with_key, &body.to_string()).await;
        described.see(method, path, &answer);
    }
    // One who is no member, and not the owner.
    ask(&server, "DELETE", &format!("/v1/chat/rooms/leave/{room}"), &lines(&bob.token, ""), "").await;
    walk(&mut described, &server, &sample, &bob.token, "", |method, path| {
        path.contains("{id}") && method != "get" && !path.contains("join")
    })
    .await;
    walk(&mut described, &server, &sample, &bob.token, "", |_, path| path.ends_with("logout")).await;

    without_a_role(&mut described, &sample).await;
    banned(&mut described, &sample).await;
    too_quick(&mut described).await;
    not_now(&mut described, &sample).await;
    for waiting in slow {
        let (method, path, answer) = in_time("a body that does not come is given up", waiting).await.unwrap();
        described.see(&method, &path, &answer);
    }
    assert_eq!(described.unseen(), BTreeSet::from(UNSEEN), "documented, and not seen");
}

const SECRET: &str = "a secret of at least thirty-two bytes";

fn token_of_another_service(roles: &[&str]) -> String {
    let claims = json!({"sub": "ann", "name": "Ann", "roles": roles, "exp": 4_000_000_000_u64});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// With accounts of another service: some may not chat, and nobody can register here.
async fn without_a_role(described: &mut Described, sample: &Sample) {
    let server = Hubbub::start(program().with(&format!("--jwt-secret={SECRET}"))).await.unwrap();
    let (guest, ann) = (token_of_another_service(&[]), token_of_another_service(&["user"]));
    walk(described, &server, sample, &guest, "", |_, path| needs_token(path)).await;
    walk(described, &server, sample, &ann, "", |_, path| path.starts_with("/v1/accounts")).await;
}

/// As one who was banned by an operator.
async fn banned(described: &mut Described, sample: &Sample) {
    let credential = Operator::new_credential("ops");
    let flags = Operator::flags(&credential);
    let server = Hubbub::start(flags.iter().fold(program(), |start, flag| start.with(flag))).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
    operator.json(&["ban", ann.id.as_str()]).await;
    let statuses = walk(described, &server, sample, &ann.token, "", |_, path| needs_token(path)).await;
    assert!(statuses.values().all(|status| *status == 403), "{statuses:?}");
    let login = json!({"email": "ann@example.org", "password": "correct horse battery staple"});
    let answer = ask(&server, "POST", "/v1/accounts/login", &lines("", ""), &login.to_string()).await;
    described.see("post", "/v1/accounts/login", &answer);
}

/// With limits that are reached at once.
async fn too_quick(described: &mut Described) {
    let limits = ["sends", "reads", "logins", "registrations"].map(|what| format!("--{what}-per-second=1"));
    let server = Hubbub::start(limits.iter().fold(program(), |start, flag| start.with(flag))).await.unwrap();
    let sample = Sample { room: "nowhere".into(), user: "nobody".into() };
    let mut people = Vec::new();
    for name in ["Ann", "Bob", "Cyd"] {
        people.push(Person::register(&server, name).await.unwrap());
    }
    let is_limited = |path: &str| path.starts_with("/v1/") && path != "/v1/accounts/logout";
    for _ in 0..100 {
        walk(described, &server, &sample, &people[0].token, "", |_, path| is_limited(path)).await;
        if !described.unseen().iter().any(|(_, path, status)| *status == "429" && is_limited(path)) {
            break;
        }
    }
    // A place may be free again at just that moment; who got it is logged out, and another one tries.
    for person in &people {
        let read = |_: &str, path: &str| path == "/v1/bots/commands";
        while walk(described, &server, &sample, &person.token, "", read).await.values().any(|s| *s != 429) {}
        walk(described, &server, &sample, &person.token, "", |_, path| path.ends_with("logout")).await;
    }
}

/// While the account service is away; and of a cluster's gateway that has reached nothing yet.
async fn not_now(described: &mut Described, sample: &Sample) {
    let nobody = format!("--auth-server=http://127.0.0.1:{}", Hubbub::free_port().unwrap());
    let server = Hubbub::start(program().with(&nobody)).await.unwrap();
    walk(described, &server, sample, "t", "", |_, path| needs_token(path)).await;
    let starting = program().as_tier("gateway").with("--nats=127.0.0.1:1").with("--cql=127.0.0.1:1");
    let starting = Hubbub::start_unready(starting).await.unwrap();
    walk(described, &starting, sample, "", "", |method, path| {
        path == "/readyz" || method == "post" && path.starts_with("/v1/accounts")
    })
    .await;
}

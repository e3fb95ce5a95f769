//! The description of the HTTP API against the router, and the pages about it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::*;

/// The contract's table.
const TABLE: [(&str, &str); 26] = [
    ("get", "/"),
    ("get", "/api"),
    ("get", "/assets/{name}"),
    ("get", "/asyncapi-socketio.json"),
    ("get", "/asyncapi.json"),
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/problems/{name}"),
    ("get", "/readyz"),
    ("get", "/status"),
    ("get", "/v1/accounts"),
    ("post", "/v1/accounts"),
    ("post", "/v1/accounts/login"),
    ("post", "/v1/accounts/logout"),
    ("get", "/v1/accounts/validate"),
    ("get", "/v1/bots/commands"),
    ("get", "/v1/chat/rooms"),
    ("post", "/v1/chat/rooms"),
    ("post", "/v1/chat/rooms/join/{id}"),
    ("delete", "/v1/chat/rooms/leave/{id}"),
    ("post", "/v1/chat/rooms/message/{id}"),
    ("get", "/v1/chat/rooms/{id}"),
    ("get", "/v1/chat/rooms/{id}/members"),
    ("get", "/v1/chat/rooms/{id}/messages"),
    ("put", "/v1/chat/rooms/{id}/topic"),
];
const REMOVE: (&str, &str) = ("delete", "/v1/chat/rooms/{id}/members/{user}");

async fn openapi(router: &Router) -> Value {
    json(ask(router, request("GET", "/openapi.json")).await).await
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| (method, path.clone(), operation))
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test]
async fn the_description_and_the_router_have_the_same_routes() {
    let router = router(state(config()));
    let document = openapi(&router).await;
    let mut described: Vec<_> = operations(&document).into_iter().map(|(m, p, _)| (m, p)).collect();
    let mut table: Vec<_> =
        TABLE.iter().chain([&REMOVE]).map(|(m, p)| (m.to_string(), p.to_string())).collect();
    described.sort();
    table.sort();
    assert_eq!(described, table);
    for path in document["paths"].as_object().unwrap().keys() {
        let concrete = path
            .replace("assets/{name}", "assets/app.js")
            .replace("{id}", "r")
            .replace("{user}", "u")
            .replace("{name}", "not_member");
        for method in ["get", "post", "put", "delete", "patch"] {
            let there = table.contains(&(method.into(), path.clone()));
            let answer = ask(&router, request(&method.to_uppercase(), &concrete)).await;
            assert_eq!(answer.status() != 405, there, "{method} {path}: {}", answer.status());
            assert!(!there || answer.status() != 404 || path.starts_with("/v1/"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_problem_is_described_with_an_example_of_its_status() {
    let document = openapi(&router(state(config()))).await;
    assert_eq!(document["openapi"], "3.1.0");
    asyncapi::assert_refs_lead_somewhere(&document);
    for (method, path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        if path.starts_with("/v1/chat") {
            for status in ["200", "401", "403", "429", "503"] {
                assert!(responses.contains_key(status), "{method} {path} lacks {status}");
            }
        }
        for (status, response) in responses {
            let Some(content) = response["content"].get("application/problem+json") else { continue };
            assert_eq!(content["schema"]["$ref"], "#/components/schemas/Problem");
            for example in content["examples"].as_object().unwrap().values() {
                let problem: Problem = serde_json::from_value(example["value"].clone()).unwrap();
                assert_eq!(problem.status.to_string(), *status, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_description_that_is_known_is_not_sent_again() {
    let router = router(state(config()));
    let descriptions = ["/openapi.json", "/asyncapi.json", "/asyncapi-socketio.json"];
    for path in descriptions.into_iter().chain(["/", "/status", "/assets/app.js", "/api"]) {
        let first = ask(&router, request("GET", path)).await;
        let mut again = request("GET", path);
        again.headers_mut().insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let again = ask(&router, again).await;
        assert_eq!(again.status(), 304, "{path}");
        assert!(to_bytes(again.into_body(), 1).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_page_about_the_api_has_no_script_and_its_policy_names_its_style() {
    let router = router(state(config()));
    for path in ["/api", "/problems/rate_limited"] {
        let mut asked = request("GET", path);
        asked.headers_mut().insert(header::HOST, "chat.example:8080".parse().unwrap());
        let page = ask(&router, asked).await;
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let html = String::from_utf8(to_bytes(page.into_body(), usize::MAX).await.unwrap().into()).unwrap();
        let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap();
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains(&format!("'sha256-{hash}'")),
            "{policy}"
        );
        assert!(!html.contains("<script") && !html.contains(" style=") && !html.contains(" onclick"));
        assert!(path != "/api" || html.contains("http://chat.example:8080/v1/accounts"));
    }
}

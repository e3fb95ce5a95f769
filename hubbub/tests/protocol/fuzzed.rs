//! Requests that a fuzzer makes up from the OpenAPI description: none is answered with a 5xx, none in a way that is not described,
//! and no token is as good as another.

use std::process::Command;

use hubbub_testkit::{Hubbub, Person, cache};
use serde_json::json;

use crate::program;

/// What counts as a failure. That a description can't say all that is refused ("a text or an image, not both") does not.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,unsupported_method,ignored_auth,use_after_free,ensure_resource_availability";

#[tokio::test]
async fn no_request_is_answered_by_a_5xx_or_in_a_way_that_is_not_described() {
    let fuzzer = cache().unwrap().join("http-fuzzer/venv/bin/schemathesis");
    let missing = "deploy/local/install-http-fuzzer installs it";
    assert!(fuzzer.exists(), "no {}: {missing}", fuzzer.display());
    let rates =
        ["sends", "reads", "logins", "registrations"].map(|what| format!("--{what}-per-second=100000"));
    let server = Hubbub::start(rates.iter().fold(program(), |start, rate| start.with(rate))).await.unwrap();
    let ann = Person::register(&server, "Ann").await.unwrap();
    let made = server.post("/v1/chat/rooms", Some(&ann.token), &json!({"name": "The lobby"})).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("fuzzer.toml");
    std::fs::write(&settings, format!("[parameters]\n\"path.id\" = {}\n", made.json()["id"])).unwrap();

    // The seed may be another one at any time; this one makes a failure come again.
    let seed = std::env::var("HUBBUB_SEED").unwrap_or_else(|_| "7".into());
    let mut run = Command::new(fuzzer);
    run.current_dir(folder.path()).arg("--config-file").arg(&settings);
    run.args(["run", &format!("http://{}/openapi.json", server.address()), "--seed", &seed, "--no-color"]);
    run.args(["--header", &format!("Authorization: Bearer {}", ann.token), "--checks", CHECKS]);
    run.args(["--max-examples", "8", "--workers", "2", "--phases", "examples,coverage,fuzzing,stateful"]);
    // It would call its own token back.
    run.args(["--exclude-path", "/v1/accounts/logout"]);
    let ran = tokio::task::spawn_blocking(move || run.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let cases = said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
    assert!(cases.is_some_and(|cases| cases > 300), "too little was tried: {said}");
}

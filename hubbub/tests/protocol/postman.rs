//! The Postman collection is the one that the description makes.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_collection_is_that_of_the_description_and_not_an_older_one() {
    let made = Command::new(env!("CARGO_BIN_EXE_hubbub")).env_clear().arg("postman").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hubbub.postman_collection.json");
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(kept == made, "stale: cargo run -- postman >docs/hubbub.postman_collection.json");

    let collection: Value = serde_json::from_str(&made).unwrap();
    let requests: Vec<_> = collection["item"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|folder| folder["item"].as_array().unwrap())
        .collect();
    assert!(requests.len() > 20, "{}", requests.len());
    for request in requests {
        let name = &request["name"];
        assert!(name.as_str().is_some_and(|name| !name.is_empty()), "{request}");
        assert!(
            request["response"].as_array().is_some_and(|answers| !answers.is_empty()),
            "{name} has no example"
        );
        let (method, body) = (&request["request"]["method"], &request["request"]["body"]["raw"]);
        if let Some(body) = body.as_str() {
            let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{name}: {body}"));
            assert!(body.as_object().is_some_and(|body| !body.is_empty()), "{name}: {body}");
        }
        assert!(body.is_string() || method != "PUT", "{name} has no body");
    }
}

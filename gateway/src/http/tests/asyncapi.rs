//! The hand-kept description of the WebSocket against what the code knows.

use std::collections::BTreeSet;

use hubbub_core::code::Code;
use hubbub_wire::native::request;

use super::*;

const CODE: &str = include_str!("../../../../crates/wire/src/native/request.rs");

pub fn document() -> Value {
    serde_json::from_str(include_str!("../asyncapi.json")).unwrap()
}

/// Every `$ref` of a document leads somewhere.
pub fn assert_refs_lead_somewhere(document: &Value) {
    let mut left = vec![document];
    while let Some(value) = left.pop() {
        if let Some(path) = value.get("$ref").and_then(Value::as_str) {
            let pointer = path.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path} leads nowhere");
        }
        match value {
            Value::Object(fields) => left.extend(fields.values()),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_description_is_whole() {
    let document = document();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_refs_lead_somewhere(&document);
    let messages = &document["components"]["messages"];
    assert_eq!(names(messages), names(&document["channels"]["socket"]["messages"]));
    let said = serde_json::to_string(&document["operations"]).unwrap();
    for name in names(messages) {
        assert!(said.contains(&format!("messages/{name}\"")), "{name} is in no operation");
    }
}

#[test]
fn each_request_that_the_code_reads_is_described_and_no_other() {
    let table = CODE.split("fn parse_type").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    let arms = table.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
    let known: BTreeSet<_> = arms.map(|(name, _)| name).collect();
    let document = document();
    let mut described = names(&document["operations"]);
    assert!(described.remove("events"));
    assert_eq!(described, known);
    assert!(known.contains("send") && known.len() >= 14, "{known:?}");
}

#[test]
fn each_example_of_a_request_is_one() {
    let document = document();
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        if name.ends_with("Request") {
            for example in message["examples"].as_array().unwrap() {
                let text = example["payload"].to_string();
                assert!(request::parse(&text).request.is_ok(), "{text}");
            }
        }
    }
}

#[test]
fn the_codes_and_limits_are_those_of_the_table() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schemas["Code"]["enum"], serde_json::json!(codes));
    assert_eq!(schemas["Name"]["maxLength"], hubbub_core::limits::NAME_CHARS_MAX);
    assert_eq!(schemas["Topic"]["maxLength"], hubbub_core::limits::TOPIC_CHARS_MAX);
    assert_eq!(schemas["Image"]["maxLength"], hubbub_core::limits::IMAGE_URL_BYTES_MAX);
    assert_eq!(schemas["Key"]["maxLength"], hubbub_core::ids::KEY_BYTES_MAX);
    let send = &document["components"]["messages"]["sendRequest"]["payload"]["properties"];
    assert_eq!(send["text"]["maxLength"], hubbub_core::limits::TEXT_CHARS_MAX);
}

//! The hand-kept descriptions of the sockets against what the code knows.

use std::collections::BTreeSet;

use hubbub_core::code::Code;
use hubbub_wire::native::request;
use hubbub_wire::socketio::request as socketio;

use super::*;

const CODE: &str = include_str!("../../../../crates/wire/src/native/request.rs");
const CODE_OF_SOCKETIO: &str = include_str!("../../../../crates/wire/src/socketio/request.rs");

pub fn document() -> Value {
    serde_json::from_str(include_str!("../asyncapi.json")).unwrap()
}

fn of_socketio() -> Value {
    serde_json::from_str(include_str!("../asyncapi-socketio.json")).unwrap()
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
fn the_descriptions_are_whole() {
    for (document, channel) in [(document(), "socket"), (of_socketio(), "namespace")] {
        assert_eq!(document["asyncapi"], "3.0.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_refs_lead_somewhere(&document);
        let messages = &document["components"]["messages"];
        assert_eq!(names(messages), names(&document["channels"][channel]["messages"]));
        let said = serde_json::to_string(&document["operations"]).unwrap();
        for name in names(messages) {
            assert!(said.contains(&format!("messages/{name}\"")), "{name} is in no operation");
        }
    }
}

#[test]
fn each_request_that_the_code_reads_is_described_and_no_other() {
    for (document, code, function, least) in
        [(document(), CODE, "fn parse_type", 14), (of_socketio(), CODE_OF_SOCKETIO, "fn parse_fields", 8)]
    {
        let table = code.split(function).nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
        let arms = table.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
        let known: BTreeSet<_> = arms.map(|(name, _)| name).collect();
        let mut described = names(&document["operations"]);
        assert!(described.remove("events"));
        assert_eq!(described, known);
        assert!(known.contains("leave") && known.len() >= least, "{known:?}");
    }
}

/// The payloads of examples of requests, with the names of those.
fn examples_of_requests(document: &Value) -> Vec<(&str, &Value)> {
    let messages = document["components"]["messages"].as_object().unwrap().iter();
    let requests = messages.filter_map(|(name, message)| Some((name.strip_suffix("Request")?, message)));
    let examples = requests.flat_map(|(name, message)| {
        message["examples"].as_array().unwrap().iter().map(move |example| (name, &example["payload"]))
    });
    examples.collect()
}

#[test]
fn each_example_of_a_request_is_one() {
    for (_, payload) in examples_of_requests(&document()) {
        assert!(request::parse(&payload.to_string()).request.is_ok(), "{payload}");
    }
    for (name, payload) in examples_of_requests(&of_socketio()) {
        let event = serde_json::json!([name, payload]).to_string();
        assert!(socketio::parse(&event).unwrap().1.is_ok(), "{event}");
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

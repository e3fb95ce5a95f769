//! What the server says over the WebSocket, by the names that its description has.

use std::sync::LazyLock;

use hubbub_testkit::fits;
use serde_json::Value;

static SOCKET: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../gateway/src/http/asyncapi.json")).unwrap());

/// The messages of the WebSocket's description that a frame of the server is, by their names.
pub fn messages_of(frame: &Value) -> Vec<&'static str> {
    let messages = SOCKET["components"]["messages"].as_object().unwrap();
    let ours = messages.iter().filter(|(name, _)| !name.ends_with("Request"));
    let fitting = ours.filter(|(_, message)| fits(&SOCKET, &message["payload"], frame).is_ok());
    fitting.map(|(name, _)| name.as_str()).collect()
}

/// All that the server may say over the WebSocket, by name.
pub fn all_messages() -> Vec<&'static str> {
    let messages = SOCKET["components"]["messages"].as_object().unwrap();
    messages.keys().map(String::as_str).filter(|name| !name.ends_with("Request")).collect()
}

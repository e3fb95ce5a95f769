//! A JSON object from outside becomes a struct; or it is said which of its fields is wrong, in words for a person.
//!
//! serde alone takes an array for a struct as well, by the order of its fields, which is nobody's business; and what it says of a wrong
//! field is for whoever wrote the struct.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Fields that may be named.
const FIELDS: [&str; 26] = [
    "type",
    "ref",
    "token",
    "rooms",
    "log",
    "client",
    "name",
    "topic",
    "key",
    "room",
    "user",
    "cursor",
    "limit",
    "text",
    "image",
    "after",
    "before",
    "kinds",
    "on",
    "directory",
    "email",
    "password",
    "message",
    "chatroom",
    "skip",
    "status",
];

/// Why it is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The field that is wrong, if it is one.
    pub field: Option<&'static str>,
    /// A sentence for a person, without the object's own name.
    pub message: String,
}

/// Reads a text that may be borrowed from.
///
/// # Errors
/// When it is no JSON, no object, or has a field that is wrong.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unread> {
    check(text.as_bytes())?;
    serde_json::from_str(text).map_err(|_| explain::<T>(text.as_bytes()))
}

/// Reads bytes, which are kept by nobody.
///
/// # Errors
/// As [`read`].
pub fn read_bytes<T: DeserializeOwned>(json: &[u8]) -> Result<T, Unread> {
    check(json)?;
    serde_json::from_slice(json).map_err(|_| explain::<T>(json))
}

fn check(json: &[u8]) -> Result<(), Unread> {
    match json.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err(Unread { field: None, message: "must be a JSON object".into() }),
    }
}

/// Reads it once more, for what is wrong.
fn explain<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Unread {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let (path, error) = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => (error.path().to_string(), error.into_inner()),
        Ok(_) => match reader.end() {
            Err(error) => (String::new(), error),
            Ok(()) => return Unread { field: None, message: "can't be read".into() },
        },
    };
    if !error.is_data() {
        return Unread { field: None, message: format!("is no JSON: {error}") };
    }
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(&*said, |(said, _)| said);
    let named = |name: &str| FIELDS.into_iter().find(|field| *field == name);
    let in_ticks = |start: &str| Some(named(said.strip_prefix(start)?.strip_suffix('`')?));
    if let Some(field) = in_ticks("missing field `") {
        return Unread { field, message: format!("{} is missing", field.unwrap_or("a field")) };
    }
    if let Some(field) = in_ticks("duplicate field `") {
        return Unread { field, message: format!("{} stands there twice", field.unwrap_or("a field")) };
    }
    if let Some((_, known)) =
        said.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", expected "))
    {
        return Unread {
            field: None,
            message: format!("has a field that is not known here; it takes {known}"),
        };
    }
    let field = path.split(['.', '[']).next().and_then(named);
    let name = field.unwrap_or("a field");
    let message = match said.split_once(": ").and_then(|(_, what)| what.split_once(", expected ")) {
        Some((found, wanted)) => {
            format!("{name} must be {}, not {}", wanted_in_words(wanted), found_in_words(found))
        }
        None => format!("{name} {said}"),
    };
    Unread { field, message }
}

fn wanted_in_words(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "a borrowed string" | "str" => "a string",
        "a map" => "an object",
        "a sequence" => "a list",
        wanted if wanted.starts_with("struct ") => "an object",
        wanted => wanted,
    }
}

fn found_in_words(found: &str) -> String {
    match found {
        "map" => "an object".into(),
        "sequence" => "a list".into(),
        // What it says may be long, or a secret in the wrong field.
        found if found.starts_with("string ") => "a string".into(),
        found => found.replace('`', ""),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::HashMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is looked at why they can't be read")]
    struct Fields<'a> {
        #[serde(rename = "ref", borrow)]
        reference: Option<&'a RawValue>,
        #[serde(borrow)]
        name: Cow<'a, str>,
        limit: Option<u32>,
        rooms: Option<HashMap<String, u64>>,
        kinds: Option<Vec<String>>,
        on: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(rename = "limit")]
        _limit: Option<u32>,
        #[serde(rename = "on")]
        _on: Option<bool>,
    }

    #[test]
    fn what_takes_no_other_field_says_which_it_takes() {
        let unread = read::<Strict>(r#"{"limit":1,"limmit":2}"#).unwrap_err();
        assert_eq!(unread.message, "has a field that is not known here; it takes `limit` or `on`");
    }

    #[test]
    fn a_wrong_field_is_named_in_words() {
        for (json, field, message) in [
            (
                r#"{"limit":1.0,"name":"x"}"#,
                Some("limit"),
                "limit must be a whole number, not floating point 1.0",
            ),
            (r#"{"limit":-1,"name":"x"}"#, Some("limit"), "limit must be a whole number, not integer -1"),
            (r#"{"ref":7,"name":"x","limit":[]}"#, Some("limit"), "limit must be a whole number, not a list"),
            (r#"{"name":7}"#, Some("name"), "name must be a string, not integer 7"),
            (r#"{"name":null}"#, Some("name"), "name must be a string, not null"),
            (r#"{"ref":{"a":1}}"#, Some("name"), "name is missing"),
            (r#"{"name":"x","name":"y"}"#, Some("name"), "name stands there twice"),
            (
                r#"{"name":"x","rooms":{"r":"1"}}"#,
                Some("rooms"),
                "rooms must be a whole number, not a string",
            ),
            (r#"{"name":"x","rooms":[]}"#, Some("rooms"), "rooms must be an object, not a list"),
            (r#"{"name":"x","kinds":["a",{}]}"#, Some("kinds"), "kinds must be a string, not an object"),
            (r#"{"name":"x","on":1}"#, Some("on"), "on must be a boolean, not integer 1"),
            (r#"{"name":"x"} x"#, None, "is no JSON: trailing characters at line 1 column 14"),
            (r#"{"name":"x""#, None, "is no JSON: EOF while parsing an object at line 1 column 11"),
            (r#"["x"]"#, None, "must be a JSON object"),
            ("", None, "must be a JSON object"),
        ] {
            let unread = read::<Fields<'_>>(json).unwrap_err();
            assert_eq!(unread, Unread { field, message: message.into() }, "{json}");
        }
        assert!(read::<Fields<'_>>(" {\"name\":\"x\"}\n").is_ok());
    }
}

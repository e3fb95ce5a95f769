//! What stands in a request's path, query and headers.

use axum::extract::{FromRequestParts, Path, Query};
use http::HeaderMap;
use http::request::Parts;
use hubbub_core::ids::{Key, RoomId, Seq, UserId};
use hubbub_core::room::Refusal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::fault::{Fault, bad_field, no_such_room, unreadable};

/// The room in the path.
pub struct InRoom(pub RoomId);

/// The room and the user in the path.
pub struct InRoomUser(pub RoomId, pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for InRoom {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| no_such_room())?;
        RoomId::parse(&id).map(Self).map_err(|_| no_such_room())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InRoomUser {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((room, user)) = path.map_err(|_| no_such_room())?;
        let room = RoomId::parse(&room).map_err(|_| no_such_room())?;
        let user = UserId::parse(&user).map_err(|_| Refusal::NoSuchMember)?;
        Ok(Self(room, user))
    }
}

/// A page of the directory or of a room's members.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
}

/// A page of a room's log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// The last entries before this seq. Without `before` and `after`: the newest ones.
    #[param(value_type = Option<u64>)]
    pub before: Option<Seq>,
    /// The first entries after this seq.
    #[param(value_type = Option<u64>)]
    pub after: Option<Seq>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<u32>,
    /// Only entries of these types or kinds, separated by commas: message, join, leave, topic, erase, retention,
    /// text, link, image, bot, erased.
    #[param(example = "message,topic")]
    pub kinds: Option<String>,
}

/// The names of all parameters above: which one is wrong is told by name.
const NAMES: [&str; 5] = ["cursor", "limit", "before", "after", "kinds"];

/// The query of a request.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|rejection| {
            // The text ends in `name: what`, where it is one parameter that is wrong.
            let text = rejection.body_text();
            match NAMES.into_iter().find_map(|name| Some((name, text.split_once(&format!(": {name}: "))?.1)))
            {
                Some((name, what)) => bad_field(name, format!("{name}: {what}")),
                None => unreadable(text),
            }
        })?;
        Ok(Self(params))
    }
}

/// Within `1..=max`, or the default.
pub fn limit(given: Option<u32>, default: u32, max: u32) -> Result<u32, Fault> {
    match given.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(bad_field("limit", format!("limit must be 1 to {max}"))),
    }
}

/// The kinds of entries that a comma list names; empty for all.
pub fn kinds(list: Option<&str>) -> Result<Vec<String>, Fault> {
    const KNOWN: [&str; 11] =
        ["message", "join", "leave", "topic", "erase", "retention", "text", "link", "image", "bot", "erased"];
    let mut named = Vec::new();
    for kind in list.unwrap_or_default().split(',').map(str::trim).filter(|kind| !kind.is_empty()) {
        if !KNOWN.contains(&kind) {
            return Err(bad_field("kinds", format!("kinds are of {}", KNOWN.join(", "))));
        }
        if !named.iter().any(|known| known == kind) {
            named.push(kind.to_owned());
        }
    }
    Ok(named)
}

/// The idempotency key of a request: in the header, or in the body as over a WebSocket. Both may be given if they are the same;
/// which one of two would count nobody could guess.
pub fn key(headers: &HeaderMap, in_body: Option<&str>) -> Result<Option<Key>, Fault> {
    let in_body = in_body.map(|text| Key::parse(text).map_err(|bad| bad_field("key", format!("key {bad}"))));
    match (key_in(headers)?, in_body.transpose()?) {
        (Some(header), Some(body)) if header != body => Err(bad_field(
            "key",
            "the header Idempotency-Key and the body's key differ: give one, or the same twice",
        )),
        (header, body) => Ok(header.or(body)),
    }
}

/// The draft of the header has the key in double quotes, most clients have not: both are taken, and mean the same key.
fn key_in(headers: &HeaderMap) -> Result<Option<Key>, Fault> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return Err(bad_field("Idempotency-Key", "there are two headers Idempotency-Key, and they differ"));
    }
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| bad_field("Idempotency-Key", "Idempotency-Key must be UTF-8"))?;
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match Key::parse(quoted.unwrap_or(text)) {
        Ok(key) => Ok(Some(key)),
        Err(bad) => Err(bad_field("Idempotency-Key", format!("Idempotency-Key {bad}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(value: &[u8], in_body: Option<&str>) -> Result<Option<String>, Option<String>> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", http::HeaderValue::from_bytes(value).unwrap());
        match key(&headers, in_body) {
            Ok(key) => Ok(key.map(|key| key.as_str().to_owned())),
            Err(fault) => Err(fault.problem(super::super::fault::Attempt::Send).field),
        }
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        assert_eq!(keyed(b"\"k-1\"", None), Ok(Some("k-1".into())));
        assert_eq!(keyed(b"k-1", None), Ok(Some("k-1".into())));
        for bad in [&b""[..], b"\"\"", b"\xff", &[b'x'; 65]] {
            assert_eq!(keyed(bad, None), Err(Some("Idempotency-Key".into())), "{bad:?}");
        }
        assert_eq!(key(&HeaderMap::new(), None), Ok(None));
    }

    #[test]
    fn of_two_keys_in_headers_none_counts_unless_they_are_the_same() {
        for (other, is_taken) in [("k-1", true), ("k-2", false)] {
            let mut headers = HeaderMap::new();
            for key in ["k-1", other] {
                headers.append("idempotency-key", http::HeaderValue::from_static(key));
            }
            assert_eq!(key(&headers, None).is_ok(), is_taken, "{other}");
        }
    }

    #[test]
    fn a_key_may_stand_in_the_header_or_the_body_or_be_the_same_in_both() {
        let found = key(&HeaderMap::new(), Some("k-1")).unwrap();
        assert_eq!(found.as_ref().map(Key::as_str), Some("k-1"));
        assert_eq!(keyed(b"\"k-1\"", Some("k-1")), Ok(Some("k-1".into())));
        let long = "x".repeat(65);
        for bad in ["k-2", "\"k-1\"", "", long.as_str()] {
            assert_eq!(keyed(b"k-1", Some(bad)), Err(Some("key".into())), "{bad:?}");
        }
    }

    #[test]
    fn kinds_are_a_comma_list_of_known_words() {
        assert_eq!(kinds(Some("text, link,,text")), Ok(vec!["text".into(), "link".into()]));
        assert_eq!(kinds(None), Ok(vec![]));
        assert!(kinds(Some("text;drop")).is_err());
    }
}

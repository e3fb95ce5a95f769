//! The way in: who may upgrade, and how an upgraded socket becomes a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hubbub_core::code::Code;
use hubbub_core::ports::accounts::Secret;
use hubbub_wire::native::request::BadRequest;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::config::Origins;
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::http::problem;
use crate::member::{Connection, ConnectionId, Socket, Transport};
use crate::shard::Shard;
use crate::socketio::session::Session;
use crate::write_timeout::WriteTimeout;
use crate::ws::connection::Reader;

const SUBPROTOCOL: &str = "hubbub.v1";
/// The only one there is: RFC 6455, section 4.2.2.
const WEBSOCKET_VERSION: &str = "13";

/// Answers `GET /v1/ws`: 101, and a task that makes the socket a connection of the shard; or a problem.
/// A client that a proxy brought is counted here; any other was when it came.
pub fn upgrade(
    shard: &Arc<Shard>,
    mut request: Request<Incoming>,
    address: IpAddr,
    is_brought: bool,
) -> Response<Body> {
    if is_brought && shard.gateway.is_at_limit(&address) {
        metrics::counter!(crate::metrics::REFUSED, "reason" => "address").increment(1);
        return refusal(&Failure::Unavailable, None);
    }
    // Before the handshake is answered: what makes the answer would take it.
    let on_upgrade = hyper::upgrade::on(&mut request);
    match accept(shard, &mut request) {
        Ok((response, token)) => {
            // A task of its own, and a small one: a future is as large as its largest state, and this one's is the handshake.
            tokio::spawn(adopt(shard.clone(), on_upgrade, address, token));
            response
        }
        Err((reason, failure, status)) => {
            metrics::counter!(crate::metrics::REFUSED, "reason" => reason).increment(1);
            refusal(&failure, status)
        }
    }
}

fn refusal(failure: &Failure, status: Option<StatusCode>) -> Response<Body> {
    let Some(status) = status else { return problem::response(failure) };
    let mut response = problem::response_as(failure, status);
    if status == StatusCode::UPGRADE_REQUIRED {
        for (name, value) in [
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "upgrade"),
            (header::SEC_WEBSOCKET_VERSION, WEBSOCKET_VERSION),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

type Refused = (&'static str, Failure, Option<StatusCode>);

/// A request that is not as HTTP or the WebSocket protocol wants it.
pub(crate) fn bad(message: &str) -> Failure {
    Failure::Bad(BadRequest { code: Code::BadRequest, field: None, message: message.into() })
}

fn accept(
    shard: &Shard,
    request: &mut Request<Incoming>,
) -> Result<(Response<Body>, Option<Secret>), Refused> {
    let config = &shard.gateway.config;
    if request.method() != Method::GET || !fastwebsockets::upgrade::is_upgrade_request(request) {
        let failure = bad("this is a WebSocket: connect with a WebSocket client");
        return Err(("not_websocket", failure, Some(StatusCode::UPGRADE_REQUIRED)));
    }
    if !origin_allowed(request.headers(), &config.origins) {
        return Err(("origin", Failure::OriginForbidden, None));
    }
    if let Some(refusal) = shard.gateway.refusal() {
        return Err((refusal.reason(), refusal.failure(), None));
    }
    if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|told| told != WEBSOCKET_VERSION) {
        let failure = bad("the handshake must be of Sec-WebSocket-Version 13");
        return Err(("handshake", failure, Some(StatusCode::UPGRADE_REQUIRED)));
    }
    if request.version() < Version::HTTP_11 || !has_one_key(request.headers()) {
        return Err((
            "handshake",
            bad("the handshake must be HTTP/1.1 with one Sec-WebSocket-Key of 16 bytes in base64"),
            None,
        ));
    }
    let token = token(request);
    let (parts, _) = fastwebsockets::upgrade::upgrade(&mut *request)
        .map_err(|error| ("handshake", bad(&error.to_string()), None))?;
    let mut response = parts.map(|_| Body::empty());
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let ours = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if ours.into_iter().any(|name| name.trim() == SUBPROTOCOL) {
        let name = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok((response, token))
}

/// Whether there is one `Sec-WebSocket-Key` as RFC 6455, section 4.1, wants it: 16 bytes, which are 22 digits of base64 and padding.
fn has_one_key(headers: &HeaderMap) -> bool {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let is_key = |key: &HeaderValue| {
        key.as_bytes()
            .strip_suffix(b"==")
            .is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
    };
    keys.next().is_some_and(is_key) && keys.next().is_none()
}

/// The token that came with the upgrade.
fn token(request: &Request<Incoming>) -> Option<Secret> {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, token)) = bearer.and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(Secret::new(token.trim().to_owned()));
    }
    let query = request.uri().query()?;
    let token = query.split('&').find_map(|pair| pair.strip_prefix("access_token="))?;
    if token.contains('%') {
        let Query(Params { access_token }) = Query::try_from_uri(request.uri()).ok()?;
        return access_token;
    }
    // As it is: a plus that was not escaped is one.
    Some(Secret::new(token.to_owned()))
}

#[derive(Deserialize)]
struct Params {
    access_token: Option<Secret>,
}

/// Whether a page of this origin may connect. A client that is no browser sends none.
pub fn origin_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let same = origin
        .split_once("://")
        .is_some_and(|(_, authority)| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
    match origins {
        Origins::Any => true,
        Origins::Same => same,
        Origins::These(list) => same || list.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
    }
}

/// The socket of a finished upgrade, and bytes that came with the handshake.
pub async fn upgraded(on_upgrade: OnUpgrade) -> Option<(Arc<Socket>, Bytes)> {
    let upgraded = match on_upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was not finished");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<WriteTimeout>>() else {
        tracing::error!("an upgraded connection is not a TCP stream");
        return None;
    };
    Some((Socket::new(Transport::WebSocket(parts.io.into_inner().into_inner())), parts.read_buf))
}

async fn adopt(shard: Arc<Shard>, on_upgrade: OnUpgrade, address: IpAddr, token: Option<Secret>) {
    let Some((socket, first)) = upgraded(on_upgrade).await else { return };
    shard.gateway.addresses.arrive(&address, u32::MAX);
    let id = shard.open_connection(socket.clone(), address, None);
    let reader = Reader::new(shard, id, socket, Dialect::Native);
    match token {
        None => _ = tokio::spawn(reader.run(first)),
        Some(token) => _ = tokio::spawn(admitted(reader, first, token)),
    }
}

impl Shard {
    /// A connection, counted, of an address that was counted before.
    pub fn open_connection(
        self: &Arc<Self>,
        socket: Arc<Socket>,
        address: IpAddr,
        session: Option<Box<Session>>,
    ) -> ConnectionId {
        self.gateway.connections.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(crate::metrics::CONNECTIONS).increment(1.0);
        let now = self.now();
        self.with(|state| {
            state.insert(|serial| Connection { session, ..Connection::new(serial, socket, address, now) })
        })
    }
}

/// A connection whose token came with the upgrade is let in before anything of it is read.
async fn admitted(reader: Reader, first: Bytes, token: Secret) {
    let (shard, id) = (&reader.shard, reader.id);
    match shard.greet(id, &None, Some(token), Default::default()).await {
        Ok(()) => {}
        Err(
            failure @ (Failure::Unavailable
            | Failure::TooQuick(_)
            | Failure::Accounts(_)
            | Failure::RoleMissing
            | Failure::Banned),
        ) => {
            shard.fail(id, &None, &failure);
            shard.with(|state| state.turn_away(id, &failure));
        }
        Err(failure) => _ = shard.fail(id, &None, &failure),
    }
    tokio::spawn(reader.run(first));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn a_handshake_has_one_key_of_16_bytes() {
        let good = "dGhlIHNhbXBsZSBub25jZQ==";
        for (keys, is_taken) in [
            (&[good][..], true),
            (&[], false),
            (&[good, good], false),
            (&["abc"], false),
            (&["dGhlIHNhbXBsZSBub25j====="], false),
        ] {
            let mut headers = HeaderMap::new();
            keys.iter().for_each(|key| _ = headers.append(header::SEC_WEBSOCKET_KEY, key.parse().unwrap()));
            assert_eq!(has_one_key(&headers), is_taken, "{keys:?}");
        }
    }

    #[test]
    fn a_page_of_another_origin_may_not_connect() {
        assert!(origin_allowed(&headers("http://chat.example:3000", "chat.example:3000"), &Origins::Same));
        assert!(!origin_allowed(&headers("http://evil.example", "chat.example:3000"), &Origins::Same));
        assert!(!origin_allowed(&headers("null", "chat.example:3000"), &Origins::Same));
        assert!(origin_allowed(&HeaderMap::new(), &Origins::Same));
        let these = Origins::These(vec!["https://app.example".into()]);
        assert!(origin_allowed(&headers("https://app.example", "chat.example"), &these));
        assert!(!origin_allowed(&headers("https://app.example.evil", "chat.example"), &these));
    }
}

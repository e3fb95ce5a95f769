//! All of `/socket.io/`: who may come, by which transport, and to which session a request belongs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hubbub_core::ports::accounts::Secret;
use hubbub_wire::socketio::engine::Generation;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::Origins;
use crate::error::Failure;
use crate::http::fault::Fault;
use crate::http::{cors, problem, render};
use crate::load::Refusal;
use crate::member::{Socket, Transport};
use crate::presence::Arrived;
use crate::shard::Shard;
use crate::socketio::session::{Session, Sid};
use crate::socketio::{polling, upgrade};
use crate::ws::upgrade::origin_allowed;

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "EIO")]
    generation: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
    token: Option<Secret>,
    /// Asks for answers as scripts.
    j: Option<String>,
}

/// Why a request is refused. The numbers are those of Engine.IO.
#[derive(Debug)]
pub enum Refused {
    /// Neither polling nor WebSocket.
    TransportUnknown,
    /// No session of that name is here.
    SessionUnknown,
    /// A session begins with a `GET`.
    HandshakeMethod,
    /// Anything else, in a sentence for a person.
    BadRequest(&'static str),
    /// A second request while one waits.
    Overlap,
    /// A page of another origin.
    Origin,
    /// Neither generation 3 nor 4.
    Version,
    /// The body can't be taken.
    Body(Fault),
    /// As many connections of one address as there may be.
    Address,
    /// No more connections are taken.
    Busy(Refusal),
}

#[derive(Serialize)]
struct Told {
    code: u8,
    message: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'static str,
}

impl Refused {
    fn response(&self) -> Response<Body> {
        let (code, message, detail) = match self {
            Self::TransportUnknown => (0, "Transport unknown", ""),
            Self::SessionUnknown => (
                1,
                "Session ID unknown",
                "the session is over, or it is at another gateway: a load balancer must send all requests of a session that \
                 polls to the same one (stickiness by sid); WebSocket alone needs no stickiness",
            ),
            Self::HandshakeMethod => (2, "Bad handshake method", ""),
            Self::BadRequest(detail) => (3, "Bad request", *detail),
            Self::Overlap => (3, "Bad request", "only one request of a kind at a time: the session is over"),
            Self::Body(_) => (3, "Bad request", "the body is too large, too slow or cut short"),
            Self::Origin => {
                (4, "Forbidden", "pages of this origin may not connect; the operator can allow it")
            }
            Self::Version => (5, "Unsupported protocol version", "EIO must be 3 or 4"),
            Self::Address => return problem::response(&Failure::Unavailable),
            Self::Busy(refusal) => return problem::response(&refusal.failure()),
        };
        let status = match self {
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Body(fault) => fault.kind().status,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = serde_json::to_vec(&Told { code, message, detail }).unwrap_or_default();
        with_type(status, "application/json", body)
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TransportUnknown | Self::HandshakeMethod | Self::Version => "handshake",
            Self::SessionUnknown => "session",
            Self::BadRequest(_) | Self::Body(_) | Self::Overlap => "bad_request",
            Self::Origin => "origin",
            Self::Address => "address",
            Self::Busy(refusal) => refusal.reason(),
        }
    }
}

/// An answer that Engine.IO's clients read.
pub fn text(body: Vec<u8>) -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; charset=UTF-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Answers a request. A client that a proxy brought is counted here; any other was when it came.
pub async fn answer(
    shard: &Arc<Shard>,
    request: Request<Body>,
    address: IpAddr,
    is_brought: bool,
) -> Response<Body> {
    let origins = shard.gateway.config.origins.clone();
    let origin = allowed_origin(&origins, request.headers());
    let answered = match origin_allowed(request.headers(), &origins) {
        false => Err(Refused::Origin),
        true if request.method() == Method::OPTIONS => Ok(cors::preflight()),
        true => serve(shard, request, address, is_brought).await,
    };
    let mut response = answered.unwrap_or_else(|refused| {
        metrics::counter!(crate::metrics::REFUSED, "reason" => refused.reason()).increment(1);
        refused.response()
    });
    render::protect(response.headers_mut());
    admit(response.headers_mut(), &origins, origin);
    response
}

async fn serve(
    shard: &Arc<Shard>,
    mut request: Request<Body>,
    address: IpAddr,
    is_brought: bool,
) -> Result<Response<Body>, Refused> {
    let Query(params) = Query::<Params>::try_from_uri(request.uri())
        .map_err(|_| Refused::BadRequest("the query can't be read"))?;
    let is_upgrade = fastwebsockets::upgrade::is_upgrade_request(&request);
    let polls = match params.transport.as_deref() {
        Some("polling") if params.j.is_some() => {
            return Err(Refused::BadRequest("answers as scripts (JSONP) are not given"));
        }
        Some("polling") => true,
        Some("websocket") => false,
        _ => return Err(Refused::TransportUnknown),
    };
    match (&params.sid, polls) {
        (None, _) if request.method() != Method::GET => Err(Refused::HandshakeMethod),
        (_, false) if !is_upgrade => Err(Refused::BadRequest("connect with a WebSocket client")),
        (None, true) => begin_polling(shard, params, address),
        (None, false) if is_brought && shard.gateway.is_at_limit(&address) => Err(Refused::Address),
        (None, false) => begin_websocket(shard, &mut request, params, address),
        (Some(sid), polls) => {
            let found = shard.gateway.sessions.find(&Sid::said(sid));
            let (shard, id) = found.ok_or(Refused::SessionUnknown)?;
            let generation = shard.with(|state| state.session(id).map(|session| session.generation));
            let generation = generation.ok_or(Refused::SessionUnknown)?;
            match (polls, request.method()) {
                (true, &Method::GET) => polling::poll(shard, id, generation).await,
                (true, &Method::POST) => polling::post(shard, id, generation, request).await,
                (true, _) => Err(Refused::BadRequest("a session is polled by GET and posted to by POST")),
                (false, _) => {
                    let (response, on_upgrade) = switch(&mut request)?;
                    if !shard.with(|state| state.begin_upgrade(id)) {
                        return Err(Refused::BadRequest("the session is changing to a WebSocket already"));
                    }
                    tokio::spawn(upgrade::probe(shard, id, on_upgrade));
                    Ok(response)
                }
            }
        }
    }
}

fn new_session(shard: &Shard, params: Params) -> Result<Box<Session>, Refused> {
    let generation = params.generation.as_deref().and_then(Generation::parse).ok_or(Refused::Version)?;
    if let Some(refusal) = shard.gateway.refusal() {
        return Err(Refused::Busy(refusal));
    }
    let sid = Sid::random(shard.gateway.config.sid_tag.as_deref());
    Ok(Box::new(Session::new(sid, generation, params.token, shard.now())))
}

fn begin_polling(shard: &Arc<Shard>, params: Params, address: IpAddr) -> Result<Response<Body>, Refused> {
    let session = new_session(shard, params)?;
    let max = shard.gateway.config.connections_of_address_max;
    if shard.gateway.addresses.arrive(&address, max) == Arrived::TooMany {
        return Err(Refused::Address);
    }
    let (sid, generation) = (session.sid.clone(), session.generation);
    let body = polling::first_body(generation, &session.greeting(&shard.gateway.config, &["websocket"]));
    let socket = Socket::new(Transport::Polling(Notify::new()));
    let id = shard.open_connection(socket, address, Some(session));
    shard.gateway.sessions.add(sid, shard, id);
    Ok(text(body))
}

fn begin_websocket(
    shard: &Arc<Shard>,
    request: &mut Request<Body>,
    params: Params,
    address: IpAddr,
) -> Result<Response<Body>, Refused> {
    let session = new_session(shard, params)?;
    let (response, on_upgrade) = switch(request)?;
    tokio::spawn(upgrade::adopt(shard.clone(), on_upgrade, address, session));
    Ok(response)
}

/// The answer to a WebSocket's handshake.
fn switch(request: &mut Request<Body>) -> Result<(Response<Body>, hyper::upgrade::OnUpgrade), Refused> {
    // Before the handshake is answered: what makes the answer would take it.
    let on_upgrade = hyper::upgrade::on(&mut *request);
    let (response, _) = fastwebsockets::upgrade::upgrade(&mut *request)
        .map_err(|_| Refused::BadRequest("this is not a WebSocket handshake"))?;
    Ok((response.map(|_| Body::empty()), on_upgrade))
}

/// The origin that is told that its page may read the answer. By name and never `*`: the 2.x client always asks with credentials,
/// of which there are none here.
fn allowed_origin(origins: &Origins, headers: &HeaderMap) -> Option<HeaderValue> {
    cors::admitted(origins, headers)?;
    headers.get(header::ORIGIN).cloned()
}

fn admit(headers: &mut HeaderMap, origins: &Origins, origin: Option<HeaderValue>) {
    if *origins != Origins::Same {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

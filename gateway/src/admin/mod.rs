//! The admin API: what operators ask of a running deployment, and want of it. Any gateway answers for all of it.
//!
//! It is served on a listener of its own, so that the public door never has it, and only to who has one of its [`credentials`].
//! Each request passes the [`guard`], which checks that and writes the audit's line; then a handler of [`nodes`], [`rooms`] or
//! [`users`] carries it out. What they answer is in `hubbub_wire::admin`.

pub mod credentials;
mod guard;
mod nodes;
mod rooms;
mod users;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};
use axum::serve::IncomingStream;
use hubbub_core::code::Code;
use hubbub_core::ports::bans::Bans;
use hubbub_core::ports::leases::Leases;
use hubbub_node::agent::Reported;
use hubbub_node::rate_limit::RateLimit;
use hubbub_wire::admin::PREFIX;
use hubbub_wire::native::request::BadRequest;
use tokio::net::TcpListener;

use crate::Gateway;
use crate::admin::credentials::Credentials;
use crate::http::ClientAddress;
use crate::http::fault::Fault;
use crate::tls::TlsListener;

/// Wrong credentials of one client: so many a second in the long run, and at once. Beyond it all that comes from there is refused.
const WRONG_PER_SECOND: u32 = 1;
const WRONG_AT_ONCE: u32 = 10;

/// What the admin API stands on, beside the gateway.
#[derive(Clone)]
pub struct Ports {
    /// Who holds which partition.
    pub leases: Arc<dyn Leases>,
    /// Where bans are kept.
    pub bans: Arc<dyn Bans>,
    /// All processes of the deployment.
    pub reported: Arc<Reported>,
}

/// What its handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admin {
    gateway: Arc<Gateway>,
    ports: Ports,
    credentials: Arc<Credentials>,
    wrong: Arc<RateLimit<IpAddr>>,
}

/// The routes, for a listener of their own. It has to be served with [`ClientAddress`] as the connect info.
pub fn router(gateway: Arc<Gateway>, ports: Ports, credentials: Credentials) -> Router {
    let wrong = Arc::new(RateLimit::new(WRONG_PER_SECOND, WRONG_AT_ONCE));
    let admin = Admin { gateway, ports, credentials: Arc::new(credentials), wrong };
    let at = |path| format!("{PREFIX}{path}");
    Router::new()
        .route(&at("/nodes"), get(nodes::all))
        .route(&at("/nodes/{node}/drain"), post(nodes::drain))
        .route(&at("/connections"), get(nodes::connections))
        .route(&at("/rooms"), get(rooms::list))
        .route(&at("/rooms/{id}"), get(rooms::show))
        .route(&at("/rooms/{id}/members"), get(rooms::members))
        .route(&at("/rooms/{id}/members/{user}"), delete(rooms::kick))
        .route(&at("/rooms/{id}/erasures"), post(rooms::erase))
        .route(&at("/rooms/{id}/retention"), put(rooms::retain))
        .route(&at("/rooms/{id}/trims"), post(rooms::trim))
        .route(&at("/users/{user}/rooms"), get(users::rooms))
        .route(&at("/revocations"), post(users::revoke))
        .route(&at("/bans"), get(users::bans))
        .route(&at("/bans/{user}"), put(users::ban).delete(users::unban))
        .fallback(async || Fault::NoSuchPath)
        .layer(from_fn_with_state(admin.clone(), guard::guard))
        .layer(from_fn(guard::finish))
        .with_state(admin)
}

impl Connected<IncomingStream<'_, TcpListener>> for ClientAddress {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(stream.remote_addr().ip().to_canonical())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for ClientAddress {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(stream.remote_addr().ip().to_canonical())
    }
}

/// A refusal that no other door has.
fn refusal(code: Code, field: Option<&'static str>, message: impl Into<String>) -> Fault {
    BadRequest { code, field, message: message.into() }.into()
}

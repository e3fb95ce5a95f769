//! The HTTP door: the API under `/v1`, what operators ask, the descriptions, the pages.
//!
//! A request passes [`render`], which lets browsers of allowed [origins](cors) in and turns every [`fault`] into a
//! [`problem`] document; it is taken apart by extractors ([`caller`], [`params`], [`body`]); and is carried out by a handler of
//! [`accounts`], [`rooms`], [`membership`], [`messages`] or [`bots`], whose types are in [`shape`] and whose descriptions make the
//! [documents].

pub(crate) mod access_log;
mod accounts;
mod assets;
pub(crate) mod body;
mod bots;
pub(crate) mod caller;
pub(crate) mod cors;
mod documented;
mod documents;
pub(crate) mod fault;
mod health;
mod membership;
mod messages;
mod page;
pub(crate) mod params;
pub mod problem;
pub(crate) mod render;
mod rooms;
mod shape;
pub(crate) mod unread;
#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::http::documents::Documents;
use crate::http::fault::Fault;
pub use crate::http::health::Readiness;
use crate::http::render::render;

/// The address that a request came from: an extension of it, put there by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What the handlers stand on. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    /// Rooms, accounts, limits.
    pub gateway: Arc<Gateway>,
    /// What is in the way of work, if anything.
    pub health: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// All metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Everything that is served over HTTP, except the WebSocket's upgrade.
pub fn router(state: HttpState) -> Router {
    let (described, openapi) = described().split_for_parts();
    described
        .fallback(async || Fault::NoSuchPath)
        .layer(Extension(Arc::new(Documents::new(&openapi))))
        .layer(from_fn_with_state(state.clone(), render))
        .with_state(state)
}

/// The description of all of it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().split_for_parts().1
}

/// The routes whose description is made from their handlers.
fn described() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(documents::about())
        .routes(routes!(accounts::whereabouts, accounts::register))
        .routes(routes!(accounts::log_in))
        .routes(routes!(accounts::log_out))
        .routes(routes!(accounts::validate))
        .routes(routes!(rooms::create, rooms::directory))
        .routes(routes!(rooms::show))
        .routes(routes!(rooms::set_topic))
        .routes(routes!(membership::join))
        .routes(routes!(membership::leave))
        .routes(routes!(membership::members))
        .routes(routes!(membership::remove))
        .routes(routes!(messages::send))
        .routes(routes!(messages::history))
        .routes(routes!(bots::commands))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(assets::chat))
        .routes(routes!(assets::status))
        .routes(routes!(assets::asset))
        .routes(routes!(page::page))
        .routes(routes!(page::problem))
        .routes(routes!(documents::openapi))
        .routes(routes!(documents::asyncapi))
        .routes(routes!(documents::asyncapi_socketio))
}

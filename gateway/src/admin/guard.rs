//! Before each handler: whose credential is it; after it: the audit's line and count. Every request to the admin API leaves one,
//! those that were refused too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use hubbub_core::address::one_client;
use hubbub_core::ids::UserId;
use hubbub_core::ports::accounts::AccountsError;
use hubbub_wire::admin::PREFIX;

use super::Admin;
use crate::error::Failure;
use crate::http::ClientAddress;
use crate::http::caller::token;
use crate::http::fault::{Attempt, Fault};
use crate::http::render;
use crate::metrics::ADMIN_ACTIONS;

/// Who asks: the name of their credential.
#[derive(Clone)]
pub(super) struct Operator(pub(super) String);

/// On whom or what something was done, where the path does not say it: an extension of the answer. Made of ids.
#[derive(Clone)]
pub(super) struct On(pub(super) String);

/// Lets those in who have a credential, and writes down what was done.
pub(super) async fn guard(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<ClientAddress>>();
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(ClientAddress(address))| *address);
    let path = request.uri().path().to_owned();
    let action = action(request.method(), &path);
    let admitted = admin.admit(&request, from);
    let who = admitted.as_ref().map_or("(nobody)", |name| name).to_owned();
    let response = match admitted {
        Ok(name) => {
            request.extensions_mut().insert(Operator(name));
            next.run(request).await
        }
        Err(fault) => fault.into_response(),
    };
    let on = match response.extensions().get::<On>() {
        Some(On(what)) => what.clone(),
        None => names_in(&path),
    };
    let result = match response.extensions().get::<Fault>() {
        Some(fault) => fault.kind().name,
        None if response.status().is_success() => "ok",
        None => "bad_request",
    };
    tracing::info!(target: "audit", %who, %from, action, on, result, "admin");
    metrics::counter!(ADMIN_ACTIONS, "action" => action, "result" => result).increment(1);
    response
}

impl Admin {
    /// The name of the credential that comes with a request.
    fn admit(&self, request: &Request, from: IpAddr) -> Result<String, Fault> {
        let (client, now) = (one_client(from), Instant::now());
        if let Some(early) = self.wrong.early(&client, now) {
            return Err(Failure::TooQuick(early).into());
        }
        let known = token(request.headers())
            .and_then(|said| self.credentials.name_of(&said).ok_or(AccountsError::InvalidToken.into()));
        if known.is_err() {
            // It was not too early a moment ago: at worst some that came with it are counted as one.
            _ = self.wrong.check(&client, now);
        }
        known.map(str::to_owned)
    }
}

/// What a request does, for the audit and the metric.
fn action(method: &Method, path: &str) -> &'static str {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET" | "HEAD", ["nodes"]) => "nodes",
        ("POST", ["nodes", _, "drain"]) => "drain",
        ("GET" | "HEAD", ["connections"]) => "connections",
        ("GET" | "HEAD", ["rooms"]) => "rooms",
        ("GET" | "HEAD", ["rooms", _]) => "room",
        ("GET" | "HEAD", ["rooms", _, "members"]) => "members",
        ("DELETE", ["rooms", _, "members", _]) => "kick",
        ("POST", ["rooms", _, "erasures"]) => "erase",
        ("PUT", ["rooms", _, "retention"]) => "retention",
        ("POST", ["rooms", _, "trims"]) => "trim",
        ("GET" | "HEAD", ["users", _, "rooms"]) => "rooms_of_user",
        ("POST", ["revocations"]) => "revoke",
        ("GET" | "HEAD", ["bans"]) => "bans",
        ("PUT", ["bans", _]) => "ban",
        ("DELETE", ["bans", _]) => "unban",
        _ => "other",
    }
}

/// The longest path that is a route has so many parts, the one before the first `/` too.
const PARTS_MAX: usize = 5;

/// The path as far as it is made of ids, and no more than routes have: whoever puts a token there by mistake does not find it in a log.
fn names_in(path: &str) -> String {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    let shown =
        path.split('/').take(PARTS_MAX).map(|part| match part.is_empty() || UserId::parse(part).is_ok() {
            true => part,
            false => "(not an id)",
        });
    shown.collect::<Vec<_>>().join("/")
}

/// Makes a problem document of what failed.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    render::finish(Attempt::Other, &mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_path_is_not_shown() {
        assert_eq!(names_in("/v1/admin/rooms/r-1/members/u_2"), "/rooms/r-1/members/u_2");
        assert_eq!(names_in("/v1/admin/bans/eyJhbGci.eyJzdWIi.c2ln"), "/bans/(not an id)");
        assert_eq!(names_in("/v1/admin/bans/a%2Eb"), "/bans/(not an id)");
        assert_eq!(names_in(&"/é".repeat(4_000)), "/(not an id)".repeat(4));
    }
}

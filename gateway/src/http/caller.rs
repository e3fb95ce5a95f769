//! Who asks, and whether they may ask now.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use hubbub_core::ids::{User, UserId};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::revocations::TokenId;
use hubbub_core::trace::TraceContext;

use super::fault::Fault;
use super::{ClientAddress, HttpState};
use crate::Gateway;
use crate::error::Failure;

/// Someone signed in who wants to read.
pub struct Reader;

/// Someone signed in who wants to change something, and the trace of their own that it is part of, if they say so.
pub struct Writer(pub User, pub Option<TraceContext>);

/// Someone signed in who wants to say something, their token, and the trace of their own as of a [`Writer`].
pub struct Speaker(pub User, pub Secret, pub Option<TraceContext>);

/// Who was let in before the body came: an extension of the request, for whoever reads the body.
#[derive(Clone)]
pub struct LetIn {
    gateway: Arc<Gateway>,
    user: UserId,
    token: TokenId,
}

impl LetIn {
    /// Whether they would be let in now.
    pub fn still(&self) -> Result<(), Failure> {
        self.gateway.lets_in_still(&self.user, self.token)
    }
}

/// A request that wants to change something, of nobody in particular: only its address is known.
pub struct Stranger(pub IpAddr);

impl FromRequestParts<HttpState> for Reader {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Fault> {
        let (account, _) = state.gateway.authenticate(&token(&parts.headers)?).await?;
        state.gateway.reads.check(&account.user.id, Instant::now()).map_err(Failure::TooQuick)?;
        Ok(Self)
    }
}

impl FromRequestParts<HttpState> for Writer {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Fault> {
        let Speaker(user, _, trace) = Speaker::from_request_parts(parts, state).await?;
        Ok(Self(user, trace))
    }
}

impl FromRequestParts<HttpState> for Speaker {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Fault> {
        takes_work(state)?;
        let token = token(&parts.headers)?;
        let (account, id) = state.gateway.authenticate(&token).await?;
        state.gateway.sends.check(&account.user.id, Instant::now()).map_err(Failure::TooQuick)?;
        let let_in = LetIn { gateway: state.gateway.clone(), user: account.user.id.clone(), token: id };
        parts.extensions.insert(let_in);
        Ok(Self(account.user, token, trace(&parts.headers)))
    }
}

impl FromRequestParts<HttpState> for Stranger {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Fault> {
        takes_work(state)?;
        // Without an address all share one limit: too strict rather than none.
        let unknown = ClientAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(Self(parts.extensions.get().copied().unwrap_or(unknown).0))
    }
}

fn takes_work(state: &HttpState) -> Result<(), Failure> {
    if state.gateway.is_draining() { Err(Failure::Unavailable) } else { Ok(()) }
}

/// The bearer token.
pub fn token(headers: &HeaderMap) -> Result<Secret, Fault> {
    let value =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(Fault::NoToken)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Secret::new(token.trim().to_owned()))
        }
        _ => Err(Fault::NoToken),
    }
}

/// The trace that the client says the request is part of. What can't be read is none.
fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(TraceContext::HEADER)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearer_token() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token(&headers).map(|secret| secret.reveal().to_owned())
        };
        assert_eq!(read("Bearer abc"), Ok("abc".into()));
        assert_eq!(read("bearer  abc "), Ok("abc".into()));
        for bad in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(read(bad), Err(Fault::NoToken), "{bad:?}");
        }
        assert_eq!(token(&HeaderMap::new()), Err(Fault::NoToken));
    }
}

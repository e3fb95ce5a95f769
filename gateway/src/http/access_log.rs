//! A line for each request, for whoever asks for it: what level `http` was for in the system before this one.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use http::{Method, Request, StatusCode};

/// What is longer is none of our ids. It may be a token that somebody put there.
const SEGMENT_BYTES_MAX: usize = hubbub_core::ids::ID_BYTES_MAX;

/// A request that is being answered, if such lines are asked for.
pub(crate) struct AccessLine(Option<Box<Line>>);

struct Line {
    method: Method,
    path: String,
    client: IpAddr,
    began: Instant,
}

impl AccessLine {
    pub(crate) fn begin<B>(request: &Request<B>, client: IpAddr) -> Self {
        let line = || {
            // Without its query, in which tokens are.
            let path = Path(request.uri().path()).to_string();
            Box::new(Line { method: request.method().clone(), path, client, began: Instant::now() })
        };
        Self(tracing::enabled!(tracing::Level::DEBUG).then(line))
    }

    pub(crate) fn end(self, status: StatusCode) {
        if let Some(line) = self.0 {
            let Line { method, path, client, began } = *line;
            let ms = began.elapsed().as_secs_f64() * 1e3;
            tracing::debug!(%method, path, status = status.as_u16(), ms, %client, "a request was answered");
        }
    }
}

/// A path whose segments are shown if they can be ids or words of ours.
struct Path<'a>(&'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.split('/').enumerate() {
            let shown = if segment.len() > SEGMENT_BYTES_MAX { "…" } else { segment };
            write!(f, "{}{shown}", if n > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn a_path_is_shown_without_what_may_be_a_token() {
        let shown = |path: &str| Path(path).to_string();
        assert_eq!(shown("/v1/chat/rooms/01J9/messages"), "/v1/chat/rooms/01J9/messages");
        assert_eq!(shown("/"), "/");
        assert_eq!(shown("*"), "*");
        assert_eq!(shown(&format!("/v1/ws/{}/", "t".repeat(65))), "/v1/ws/…/");
    }
}

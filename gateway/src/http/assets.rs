//! The page to chat on, the status view and what they load: made from `web/`, built into the program, and packed once,
//! where they are made.
//!
//! Names stay the same from version to version and answers are asked after each time (`ETag`), so that gateways of two
//! versions behind one address never send a browser after a file that the other one does not have.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::documents::Document;
use super::fault::Fault;

/// Only what comes from here runs, is shown or is asked; a picture may also be in a message. No text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// A file as it is and as gzip has it: two documents, each with a name of its own.
struct Asset {
    content_type: &'static str,
    plain: Document,
    packed: Document,
}

impl Asset {
    fn new(content_type: &'static str, plain: &'static [u8], packed: &'static [u8]) -> Self {
        let document = |bytes| Document::new(Bytes::from_static(bytes));
        Self { content_type, plain: document(plain), packed: document(packed) }
    }

    fn serve(&self, headers: &HeaderMap) -> Response {
        let packed = takes_gzip(headers);
        let document = if packed { &self.packed } else { &self.plain };
        let mut response = document.serve(headers, self.content_type);
        let answer = response.headers_mut();
        answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if packed {
            answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if self.content_type == HTML {
            answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        }
        response
    }
}

macro_rules! asset {
    ($content_type:ident, $name:literal) => {
        Asset::new(
            $content_type,
            include_bytes!(concat!("../../../web/dist/", $name)),
            include_bytes!(concat!("../../../web/dist/", $name, ".gz")),
        )
    };
}

static CHAT: LazyLock<Asset> = LazyLock::new(|| asset!(HTML, "index.html"));
static STATUS: LazyLock<Asset> = LazyLock::new(|| asset!(HTML, "status.html"));
static ASSETS: LazyLock<[(&str, Asset); 5]> = LazyLock::new(|| {
    [
        ("app.js", asset!(JS, "app.js")),
        ("app.css", asset!(CSS, "app.css")),
        ("hubbub.js", asset!(JS, "hubbub.js")),
        ("status.js", asset!(JS, "status.js")),
        ("status.css", asset!(CSS, "status.css")),
    ]
});

/// The page to chat on.
#[utoipa::path(get, path = "/", tag = "pages", security(()),
    responses((status = 200, description = "A page for a person", body = String, content_type = "text/html"),
        (status = 304, description = "As `If-None-Match` has it")))]
pub async fn chat(headers: HeaderMap) -> Response {
    CHAT.serve(&headers)
}

/// How this node is, drawn from `/metrics`.
#[utoipa::path(get, path = "/status", tag = "pages", security(()),
    responses((status = 200, description = "A page for a person", body = String, content_type = "text/html"),
        (status = 304, description = "As `If-None-Match` has it")))]
pub async fn status(headers: HeaderMap) -> Response {
    STATUS.serve(&headers)
}

/// What the pages load. `hubbub.js` is a client of the WebSocket that other pages may use as well.
#[utoipa::path(get, path = "/assets/{name}", tag = "pages", security(()),
    params(("name" = String, Path, description = "A file", example = "hubbub.js")),
    responses((status = 200, description = "The file", body = String, content_type = "text/javascript"),
        (status = 304, description = "As `If-None-Match` has it"), NoSuchAsset))]
pub async fn asset(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Fault> {
    let Path(name) = name.map_err(|_| Fault::NoSuchPath)?;
    let (_, asset) = ASSETS.iter().find(|(known, _)| *known == name).ok_or(Fault::NoSuchPath)?;
    Ok(asset.serve(&headers))
}

super::documented::problems!(NoSuchAsset, Other: [Fault::NoSuchPath]);

/// Whether the client says that it can unpack gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        for yes in ["gzip", "br, GZIP", "deflate,gzip;q=0.5", "gzip ; q=1"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; q=0.0", "x-gzip", "identity"] {
            assert!(!takes(no), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}

//! The machine-readable descriptions: OpenAPI, made from the handlers, and AsyncAPI, kept by hand.

use std::sync::Arc;

use axum::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, SecurityRequirement,
};

use super::problem::Problem;

const ASYNCAPI: &[u8] = include_bytes!("asyncapi.json");
const ASYNCAPI_SOCKETIO: &[u8] = include_bytes!("asyncapi-socketio.json");

/// A text whose name is its content.
#[derive(Clone)]
pub struct Document {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Document {
    /// Names it.
    pub fn new(bytes: Bytes) -> Self {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        // Quotes and hexadecimal digits are always a valid header.
        let etag = HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        Self { bytes, etag }
    }

    /// The document, or that the client has it already.
    pub fn serve(&self, headers: &HeaderMap, content_type: &'static str) -> Response {
        let common = [
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, [(header::CONTENT_TYPE, content_type)], self.bytes.clone()).into_response()
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(known) = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let strong = |tag: &str| tag.trim().trim_start_matches("W/") == self.etag;
        known.trim() == "*" || known.split(',').any(strong)
    }
}

/// The descriptions, ready to be served.
pub struct Documents {
    openapi: Document,
    asyncapi: Document,
    asyncapi_socketio: Document,
}

impl Documents {
    /// Takes the description that was made from the handlers.
    pub fn new(openapi: &OpenApi) -> Self {
        let json = openapi.to_json().unwrap_or_else(|error| {
            tracing::error!(%error, "the OpenAPI description can't be written");
            "{}".into()
        });
        Self {
            openapi: Document::new(json.into()),
            asyncapi: Document::new(Bytes::from_static(ASYNCAPI)),
            asyncapi_socketio: Document::new(Bytes::from_static(ASYNCAPI_SOCKETIO)),
        }
    }
}

/// This description of the HTTP API.
#[utoipa::path(get, path = "/openapi.json", tag = "descriptions", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value, content_type = "application/json"),
        (status = 304, description = "As `If-None-Match` has it")))]
pub async fn openapi(Extension(documents): Extension<Arc<Documents>>, headers: HeaderMap) -> Response {
    documents.openapi.serve(&headers, "application/json")
}

/// The description of the WebSocket.
#[utoipa::path(get, path = "/asyncapi.json", tag = "descriptions", security(()),
    responses((status = 200, description = "AsyncAPI 3", body = serde_json::Value, content_type = "application/json"),
        (status = 304, description = "As `If-None-Match` has it")))]
pub async fn asyncapi(Extension(documents): Extension<Arc<Documents>>, headers: HeaderMap) -> Response {
    documents.asyncapi.serve(&headers, "application/json")
}

/// The description of Socket.IO's events.
#[utoipa::path(get, path = "/asyncapi-socketio.json", tag = "descriptions", security(()),
    responses((status = 200, description = "AsyncAPI 3", body = serde_json::Value, content_type = "application/json"),
        (status = 304, description = "As `If-None-Match` has it")))]
pub async fn asyncapi_socketio(
    Extension(documents): Extension<Arc<Documents>>,
    headers: HeaderMap,
) -> Response {
    documents.asyncapi_socketio.serve(&headers, "application/json")
}

/// What the description says beside the operations.
pub fn about() -> OpenApi {
    const DESCRIPTION: &str = "Public chatrooms over HTTP. Everything live is in the WebSocket at `/v1/ws`: see `/asyncapi.json`.\n\n\
        Errors are problem documents (RFC 9457) with a stable `type`. Ids are opaque strings of 1 to 64 of `A-Z a-z 0-9 _ -`; times are \
        Unix milliseconds. Anyone signed in may read a room; only its members write.";
    let info = InfoBuilder::new()
        .title("Hubbub")
        .description(Some(DESCRIPTION))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(
            LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build(),
        ))
        .build();
    let tags = [
        ("accounts", "Built-in accounts, and who a token stands for"),
        ("rooms", "Making and finding rooms"),
        ("membership", "Who is a member of a room"),
        ("messages", "A room's log"),
        ("operation", "What operators ask"),
        ("pages", "For people"),
        ("descriptions", "This and other descriptions"),
    ];
    let tags = tags.map(|(name, what)| TagBuilder::new().name(name).description(Some(what)).build());
    let components = ComponentsBuilder::new()
        .schema_from::<Problem>()
        .security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags))
        .components(Some(components))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_known_is_not_sent_again() {
        let document = Document::new(Bytes::from_static(b"{}"));
        let tag = document.etag.to_str().unwrap().to_owned();
        let status = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            document.serve(&headers, "application/json").status().as_u16()
        };
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
            assert_eq!(status(&known), 304, "{known}");
        }
        assert_eq!(status("\"x\""), 200);
        assert_eq!(document.serve(&HeaderMap::new(), "application/json").status(), 200);
    }
}

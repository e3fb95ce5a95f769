//! Pages for those who write programs: what to try first; what a kind of problem means. No script, and a policy that lets
//! a browser run or load nothing but the style that is named by its hash.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

use super::documents::Document;
use super::fault::{Fault, KindOf};

const STYLE: &str = include_str!("page.css");
const PAGE: &str = include_str!("page.html");
const PROBLEM: &str = include_str!("problem.html");
/// Shown where the client did not say by which name it found us.
const SOME_HOST: &str = "127.0.0.1:3000";

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// For those who write programs: what Hubbub is, and the first commands to try.
#[utoipa::path(get, path = "/api", tag = "descriptions", security(()),
    responses((status = 200, description = "A page for a person", body = String, content_type = "text/html"),
        (status = 304, description = "As `If-None-Match` has it")))]
pub async fn page(headers: HeaderMap) -> Response {
    let host = host(&headers).unwrap_or(SOME_HOST);
    let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let (http, ws) = if secure { ("https://", "wss://") } else { ("http://", "ws://") };
    let html = PAGE
        .replace("{style}", STYLE)
        .replace("{http}", &format!("{http}{host}"))
        .replace("{ws}", &format!("{ws}{host}"))
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    serve(html, &headers)
}

/// What a kind of problem means: where a problem document's `type` leads.
#[utoipa::path(get, path = "/problems/{name}", tag = "descriptions", security(()),
    params(("name" = String, Path, description = "The last part of a problem's `type`", example = "not_member")),
    responses((status = 200, description = "A page for a person", body = String, content_type = "text/html"),
        (status = 304, description = "As `If-None-Match` has it"), NoSuchProblem))]
pub async fn problem(
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let Path(name) = name.map_err(|_| Fault::NoSuchPath)?;
    let kind = Fault::kinds().find(|kind| kind.name == name).ok_or(Fault::NoSuchPath)?;
    Ok(serve(explained(&kind), &headers))
}

super::documented::problems!(NoSuchProblem, Other: [Fault::NoSuchPath]);

fn explained(kind: &KindOf) -> String {
    let retry = if kind.code.retry() { "may succeed later" } else { "will fail again as it is" };
    PROBLEM
        .replace("{style}", STYLE)
        .replace("{name}", kind.name)
        .replace("{title}", kind.title)
        .replace("{status}", kind.status.as_str())
        .replace("{code}", kind.code.as_str())
        .replace("{retry}", retry)
}

fn serve(html: String, headers: &HeaderMap) -> Response {
    let mut response = Document::new(html.into()).serve(headers, "text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// The name by which the client found us, if it can stand in a page and in a command as it is.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    (!host.is_empty() && host.len() <= 128 && host.bytes().all(plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_host_is_shown() {
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, value.parse().unwrap());
            host(&headers).map(str::to_owned)
        };
        assert_eq!(shown("[::1]:3000").as_deref(), Some("[::1]:3000"));
        for bad in ["<script>", "a'; rm", "a\"b", "", "$(id)"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_kind_of_problem_is_explained() {
        for kind in Fault::kinds() {
            let html = explained(&kind);
            assert!(html.contains(kind.title) && !html.contains("{retry}"), "{}", kind.name);
        }
    }
}

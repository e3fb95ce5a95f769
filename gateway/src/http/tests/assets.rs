//! The page to chat on, as it is served; and that it is made from the sources beside it.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::*;

const LOADED: [&str; 7] = [
    "/",
    "/status",
    "/assets/app.js",
    "/assets/app.css",
    "/assets/hubbub.js",
    "/assets/status.js",
    "/assets/status.css",
];

async fn get(router: &Router, path: &str, encoding: &str) -> (HeaderMap, Vec<u8>) {
    let mut asked = request("GET", path);
    asked.headers_mut().insert(header::ACCEPT_ENCODING, encoding.parse().unwrap());
    let answer = ask(router, asked).await;
    assert_eq!(answer.status(), 200, "{path}");
    let headers = answer.headers().clone();
    (headers, to_bytes(answer.into_body(), usize::MAX).await.unwrap().into())
}

#[tokio::test]
async fn what_the_page_loads_is_packed_named_by_its_content_and_small() {
    let router = router(state(config()));
    let mut in_all = 0;
    for path in LOADED {
        let (plain, text) = get(&router, path, "identity").await;
        let (packed, bytes) = get(&router, path, "br, gzip").await;
        assert!(!plain.contains_key(header::CONTENT_ENCODING) && !text.is_empty(), "{path}");
        assert_eq!(packed[header::CONTENT_ENCODING], "gzip");
        assert!(bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() < text.len(), "{path}");
        assert_ne!(plain[header::ETAG], packed[header::ETAG], "{path}");
        for headers in [plain, packed] {
            assert_eq!(headers[header::VARY], "Accept-Encoding");
            assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
        in_all += bytes.len();
    }
    assert!(in_all <= 60 * 1024, "{in_all} bytes");
}

#[tokio::test]
async fn the_policy_of_a_page_lets_nothing_in_from_elsewhere_and_the_page_needs_nothing() {
    let router = router(state(config()));
    for path in ["/", "/status"] {
        let (headers, html) = get(&router, path, "identity").await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        let html = String::from_utf8(html).unwrap();
        assert!(
            !html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick"),
            "{path}"
        );
        for source in html.split("src=\"").skip(1).chain(html.split("<link ").skip(1)) {
            assert!(!source.contains("href=\"http") && !source.starts_with("http"), "{path}: {source}");
        }
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script type=\"module\" src=\"/assets/").count()
        );
    }
}

#[tokio::test]
async fn an_asset_that_there_is_not_is_a_problem() {
    let router = router(state(config()));
    for path in ["/assets/nothing.js", "/assets/..%2fapp.js", "/assets/"] {
        let (_, problem) = problem(ask(&router, request("GET", path)).await).await;
        assert_eq!(problem.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_page_is_told_where_accounts_are() {
    let answer = ask(&router(state(config())), request("GET", "/v1/accounts")).await;
    assert_eq!(json(answer).await, serde_json::json!({"built_in": false}));
}

/// The same sum as in `web/build.mjs`.
#[test]
fn the_page_that_is_built_in_is_made_from_its_sources() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let mut hash = Sha256::new();
    for folder in ["page", "sdk"] {
        let mut names: Vec<_> = fs::read_dir(web.join(folder))
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        for name in names {
            hash.update(format!("{folder}/{name}\n"));
            hash.update(fs::read(web.join(folder).join(&name)).unwrap());
            hash.update("\n");
        }
    }
    let now: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let built = fs::read_to_string(web.join("dist/SOURCES")).unwrap();
    assert_eq!(built.trim(), now, "web/dist is stale: run `npm ci && npm run build` in web/ and commit it");
}

//! What is refused, and how.

use super::*;

#[tokio::test]
async fn whatever_is_wrong_is_told_as_a_problem() {
    let router = router(state(config()));
    let bearer = |token: &str, mut request: Request<Body>| {
        request.headers_mut().insert(header::AUTHORIZATION, token.parse().unwrap());
        request
    };
    let message = "/v1/chat/rooms/message/r";
    let post = |json: &'static str| as_ann(with_json(request("POST", message), json));
    let cases = [
        (request("GET", "/nowhere"), 404, "no_such_path", 500),
        (request("GET", "/v1/chat/rooms/"), 404, "no_such_path", 500),
        (request("BREW", "/healthz"), 405, "method_not_allowed", 500),
        (request("OPTIONS", "/v1/chat/rooms"), 405, "method_not_allowed", 500),
        (request("GET", "/v1/chat/rooms"), 401, "unauthorized", 1000),
        (bearer("Basic YTpi", request("GET", "/v1/chat/rooms")), 401, "unauthorized", 1000),
        (bearer("Bearer bad", request("GET", "/v1/chat/rooms")), 401, "unauthorized", 1000),
        (bearer("Bearer bot", request("GET", "/v1/chat/rooms")), 403, "forbidden", 1002),
        (bearer("Bearer away", request("GET", "/v1/chat/rooms")), 503, "unavailable", 1003),
        (as_ann(request("GET", "/v1/chat/rooms/a.b")), 404, "no_such_room", 600),
        (as_ann(request("GET", "/v1/chat/rooms/%FF%00")), 404, "no_such_room", 600),
        (as_ann(request("GET", "/v1/chat/rooms/%F0%9F%98%80/messages")), 404, "no_such_room", 600),
        (as_ann(request("DELETE", "/v1/chat/rooms/r/members/a*b")), 403, "not_member", 500),
        (as_ann(request("GET", "/v1/chat/rooms?limit=-1")), 400, "bad_request", 500),
        (as_ann(request("GET", "/v1/chat/rooms?limit=201")), 400, "bad_request", 500),
        (as_ann(request("GET", "/v1/chat/rooms/r/messages?before=1&after=1")), 400, "bad_request", 604),
        (as_ann(request("GET", "/v1/chat/rooms/r/messages?before=1e40")), 400, "bad_request", 604),
        (as_ann(request("GET", "/v1/chat/rooms/r/messages?kinds=x")), 400, "bad_request", 604),
        (as_ann(request("GET", "/v1/chat/rooms/r/messages?limit=1&limit=2")), 400, "bad_request", 604),
        (as_ann(request("GET", "/v1/chat/rooms/r/messages")), 503, "unavailable", 604),
        (as_ann(request("POST", message)), 415, "unsupported_media_type", 602),
        (post("{"), 400, "bad_request", 602),
        (post("{}"), 400, "bad_request", 602),
        (post(r#"{"message":7}"#), 400, "bad_request", 602),
        (post(r#"{"message":"x","after":-1}"#), 400, "bad_request", 602),
        (post(r#"{"message":"x"}"#), 503, "unavailable", 602),
        (with_json(request("POST", "/v1/accounts"), r#"{"name":"A"}"#), 404, "accounts_elsewhere", 1004),
        (
            with_json(request("POST", "/v1/accounts/login"), r#"{"email":"a","password":"b"}"#),
            404,
            "accounts_elsewhere",
            1004,
        ),
    ];
    for (request, status, name, number) in cases {
        let asked = format!("{} {}", request.method(), request.uri());
        let (_, problem) = problem(ask(&router, request).await).await;
        let told = (problem.status, problem.type_uri.as_str(), problem.error);
        assert_eq!(told, (status, format!("/problems/{name}").as_str(), number), "{asked}: {problem:?}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let router = router(state(config()));
    for (query, field) in [
        ("limit=x", "limit"),
        ("before=-1", "before"),
        ("after=", "after"),
        ("kinds=x", "kinds"),
        ("limit=0", "limit"),
    ] {
        let asked = as_ann(request("GET", &format!("/v1/chat/rooms/r/messages?{query}")));
        let (_, problem) = problem(ask(&router, asked).await).await;
        assert_eq!(problem.field.as_deref(), Some(field), "{query}: {}", problem.detail);
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_told_which_are() {
    let router = router(state(config()));
    let (headers, _) = problem(ask(&router, request("PATCH", "/v1/chat/rooms")).await).await;
    let allowed = headers[header::ALLOW].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

#[tokio::test]
async fn a_body_over_its_limit_is_too_large() {
    let router = router(state(config()));
    let big = format!(r#"{{"message":"{}"}}"#, "x".repeat(600 * 1024));
    let sent = as_ann(with_json(request("POST", "/v1/chat/rooms/message/r"), big.clone()));
    let (_, problem_of_message) = problem(ask(&router, sent).await).await;
    assert_eq!((problem_of_message.status, problem_of_message.code.as_str()), (413, "too_large"));
    let small = &big[..17 * 1024];
    let (_, problem_of_account) =
        problem(ask(&router, with_json(request("POST", "/v1/accounts"), small.to_owned())).await).await;
    assert_eq!(problem_of_account.status, 413);
}

#[tokio::test]
async fn who_is_too_quick_is_told_when_to_come_back() {
    let state = state(Config { reads_per_second: 1, reads_burst: 1, ..config() });
    let router = router(state);
    let asked = || as_ann(request("GET", "/v1/accounts/validate"));
    assert_eq!(ask(&router, asked()).await.status(), 200);
    let (headers, problem) = problem(ask(&router, asked()).await).await;
    assert_eq!((problem.status, problem.code.as_str()), (429, "rate_limited"));
    assert_eq!(headers[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn a_draining_gateway_takes_no_writes_and_is_not_ready() {
    let state = state(config());
    let router = router(state.clone());
    assert_eq!(ask(&router, request("GET", "/readyz")).await.status(), 200);
    state.gateway.begin_drain();
    let write = as_ann(with_json(request("POST", "/v1/chat/rooms/message/r"), r#"{"message":"x"}"#));
    let (headers, problem) = problem(ask(&router, write).await).await;
    assert_eq!((problem.status, problem.error), (503, 602));
    assert!(headers.contains_key(header::RETRY_AFTER));
    let ready = ask(&router, request("GET", "/readyz")).await;
    assert_eq!(ready.status(), 503);
    assert_eq!(json(ready).await["unmet"][0]["condition"], "gateway");
    assert_eq!(ask(&router, request("GET", "/healthz")).await.status(), 200);
    assert_eq!(ask(&router, as_ann(request("GET", "/v1/accounts/validate"))).await.status(), 200);
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_read() {
    let from = |origin: &str, mut request: Request<Body>| {
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        request
    };
    let preflight = || {
        let mut request = request("OPTIONS", "/v1/chat/rooms/message/r");
        request.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, "POST".parse().unwrap());
        request
    };
    let listed = Origins::These(vec!["https://chat.example".into()]);
    let these = router(state(Config { origins: listed, ..config() }));
    let same = router(state(config()));

    let answer = ask(&these, from("https://chat.example", preflight())).await;
    assert_eq!(answer.status(), 204);
    let headers = answer.headers();
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://chat.example");
    assert!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("Idempotency-Key"));
    assert_eq!(headers[header::VARY], "Origin");
    let refused = ask(&these, from("https://chat.example", request("GET", "/v1/chat/rooms"))).await;
    assert_eq!(refused.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://chat.example", "errors too");

    for (router, origin) in
        [(&these, "https://evil.example"), (&same, "https://chat.example"), (&these, "null")]
    {
        let answer = ask(router, from(origin, preflight())).await;
        assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
        let answer = ask(router, from(origin, request("GET", "/healthz"))).await;
        assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
    }
    let any = router(state(Config { origins: Origins::Any, ..config() }));
    let answer = ask(&any, from("https://evil.example", preflight())).await;
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
}

#[tokio::test]
async fn a_refused_upgrade_is_a_problem_too() {
    let refused = problem::response(&crate::error::Failure::OriginForbidden);
    assert_eq!(problem(refused).await.1.status, 403);
    let failure = crate::error::Failure::Unavailable;
    let refused = problem::response_as(&failure, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(problem(refused).await.1.status, 426);
}

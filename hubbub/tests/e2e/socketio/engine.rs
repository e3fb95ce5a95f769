//! Engine.IO by hand: what breaks the protocol is refused in its words, and ends what it must end.

use hubbub_client::raw::{Frame, Raw};
use hubbub_testkit::{Hubbub, Person, eventually, in_time};
use serde_json::{Value, json};

use super::clients::{NAMESPACE, closed, http, packet, session, socket, websocket};
use crate::common::{Room, program, server};

const POLLING: &str = "EIO=4&transport=polling";

#[tokio::test]
async fn a_request_that_belongs_to_no_session_is_refused_in_the_words_of_the_protocol() {
    let server = server().await;
    for (method, query, status, code, message) in [
        ("GET", "EIO=4", 400, 0, "Transport unknown"),
        ("GET", "EIO=4&transport=pigeon", 400, 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=nobody", 400, 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling&sid=nobody", 400, 1, "Session ID unknown"),
        ("POST", POLLING, 400, 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 400, 3, "Bad request"),
        ("GET", "EIO=4&transport=polling&j=0", 400, 3, "Bad request"),
        ("GET", "EIO=4&transport=polling&EIO=3", 400, 3, "Bad request"),
        ("GET", "transport=polling", 400, 5, "Unsupported protocol version"),
        ("GET", "EIO=abc&transport=polling", 400, 5, "Unsupported protocol version"),
    ] {
        let refused = http(&server, method, query, "", "").await;
        let said = refused.json();
        assert_eq!((refused.status, &said["code"]), (status, &json!(code)), "{method} {query} {said}");
        assert_eq!(said["message"], message, "{method} {query}");
    }
    let elsewhere = http(&server, "GET", "EIO=4&transport=polling&sid=nobody", "", "").await.json();
    assert!(elsewhere["detail"].as_str().unwrap().contains("stickiness by sid"), "{elsewhere}");
}

#[tokio::test]
async fn the_handshake_says_what_the_settings_are() {
    let server =
        Hubbub::start(program().with("--heartbeat=7s").with("--frame-bytes-max=100KiB")).await.unwrap();
    let opened = http(&server, "GET", POLLING, "", "").await;
    let mut handshake: Value = serde_json::from_str(&opened.body[1..]).unwrap();
    let sid = handshake["sid"].take();
    assert_eq!(sid.as_str().unwrap().len(), 22);
    let settings = json!({"sid": null, "upgrades": ["websocket"], "pingInterval": 7_000, "pingTimeout": 7_000,
        "maxPayload": 102_400});
    assert_eq!(handshake, settings);
    assert!(opened.head.contains("content-type: text/plain; charset=utf-8"), "{opened:?}");
    // The older generation counts, and is in the root namespace unasked.
    let old = http(&server, "GET", "EIO=3&transport=polling", "", "").await;
    let (len, rest) = old.body.split_once(':').unwrap();
    assert_eq!(&rest[len.parse::<usize>().unwrap()..], "2:40");
    let mut raw = websocket(&server, "EIO=3&transport=websocket").await;
    assert!(packet(&mut raw, "0{").await.contains("\"upgrades\":[]"));
    packet(&mut raw, "40").await;
    raw.send_text("2hello").await.unwrap();
    assert_eq!(packet(&mut raw, "3").await, "3hello");
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session() {
    let server = Hubbub::start(program().with("--frame-bytes-max=64KiB")).await.unwrap();
    let large = "x".repeat(65 * 1024);
    for (body, status) in [("abc", 400), ("", 400), ("4\u{1e}abc", 400), (large.as_str(), 413)] {
        let session = session(&server).await;
        let refused = http(&server, "POST", &session, "", body).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert_eq!(http(&server, "GET", &session, "", "").await.json()["code"], 1);
    }
    // By WebSocket.
    for (text, code) in
        [("x", 1008), ("", 1008), ("4x", 1008), ("42/other,[\"a\"]", 1008), ("42/v1/channel,{}", 1008)]
    {
        let mut raw = websocket(&server, "EIO=4&transport=websocket").await;
        raw.send_text(text).await.unwrap();
        assert_eq!(closed(&mut raw).await, Some(code), "{text:?}");
    }
    let mut raw = websocket(&server, "EIO=4&transport=websocket").await;
    raw.send_binary(vec![1, 2, 3]).await.unwrap();
    assert_eq!(closed(&mut raw).await, Some(1008));
    let mut raw = websocket(&server, "EIO=4&transport=websocket").await;
    raw.send_text(large).await.unwrap();
    assert_eq!(closed(&mut raw).await, Some(1009));
}

/// As python-socketio of generation 3 posts, and browsers with something binary to say.
#[tokio::test]
async fn one_of_generation_3_may_post_framed_bytes_and_more_at_once_than_a_frame() {
    let server = Hubbub::start(program().with("--frame-bytes-max=16KiB")).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let query = format!("EIO=3&transport=polling&token={}", ann.token);
    let opened = http(&server, "GET", &query, "", "").await.body;
    let handshake: Value =
        serde_json::from_str(&opened[opened.find('{').unwrap()..=opened.find('}').unwrap()]).unwrap();
    let session = format!("EIO=3&transport=polling&sid={}", handshake["sid"].as_str().unwrap());
    let framed = |kind: u8, packet: &[u8]| {
        let len: Vec<u8> = packet.len().to_string().bytes().map(|digit| digit - b'0').collect();
        [&[kind], &len[..], &[0xFF], packet].concat()
    };
    let post = async |body: Vec<u8>| http(&server, "POST", &session, "", body).await.status;
    let told = async |words: String| {
        eventually("it is told", async || {
            http(&server, "GET", &session, "", "").await.body.contains(&words).then_some(())
        })
        .await;
    };
    let entered = framed(0, format!("40{NAMESPACE},").as_bytes());
    assert_eq!(post(entered).await, 200);
    told(format!("42{NAMESPACE},[\"authentication\"")).await;
    let made = format!("42{NAMESPACE},1[\"chatroom\",{{\"name\":\"Tea 🍵\"}}]");
    assert_eq!(post(framed(0, made.as_bytes())).await, 200);
    told(format!("43{NAMESPACE},1[{{\"error\":0")).await;
    // What is binary is refused in its callback, and the session goes on.
    let announced = format!("451-{NAMESPACE},2[\"message\",{{\"_placeholder\":true,\"num\":0}}]");
    let bytes = [framed(0, announced.as_bytes()), framed(1, &[4, 0xC0, 0xFF])].concat();
    assert_eq!(post(bytes).await, 200);
    told(format!("43{NAMESPACE},2[")).await;
    let pings = |count: usize| format!("1001:2{}", "x".repeat(1_000)).repeat(count).into_bytes();
    assert_eq!(post(pings(30)).await, 200);
    told(format!("3{}", "x".repeat(1_000))).await;
    assert_eq!(post(pings(70)).await, 413);
}

#[tokio::test]
async fn another_namespace_is_refused_and_the_connection_stays() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let mut raw = socket(&server, 4, &room.ann.token).await;
    for (connect, refused) in [("40", "44{"), ("40/other,", "44/other,{")] {
        raw.send_text(connect).await.unwrap();
        assert!(packet(&mut raw, refused).await.contains("Invalid namespace"));
    }
    let mut old = socket(&server, 3, &room.ann.token).await;
    old.send_text("40/other,").await.unwrap();
    assert_eq!(packet(&mut old, "44").await, "44/other,\"Invalid namespace\"");
    for raw in [&mut raw, &mut old] {
        raw.send_text(format!("42{NAMESPACE},7[\"chatrooms\"]")).await.unwrap();
        packet(raw, &format!("43{NAMESPACE},7[{{\"error\":0")).await;
    }
}

#[tokio::test]
async fn a_session_changes_over_without_losing_what_is_said_meanwhile() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let query = session(&server).await;
    let enter = format!("40{NAMESPACE},{{\"token\":\"{}\"}}", room.ann.token);
    assert_eq!(http(&server, "POST", &query, "", &enter).await.body, "ok");
    let entered = http(&server, "GET", &query, "", "").await.body;
    assert!(entered.starts_with(&format!("40{NAMESPACE},{{\"sid\":")), "{entered}");
    let of_socket = query.replace("polling", "websocket");
    // One that is given up.
    let mut raw = websocket(&server, &of_socket).await;
    raw.send_text("2probe").await.unwrap();
    assert_eq!(in_time("a pong", raw.next()).await, Frame::Text("3probe".into()));
    drop(raw);
    // One at a time: the one before may not be over yet.
    let url = format!("ws://{}/socket.io/?{of_socket}", server.address());
    let mut raw = eventually("another one may be tried", async || Raw::connect(&url, None).await.ok()).await;
    assert!(Raw::connect(&url, None).await.is_err(), "two at a time");
    raw.send_text("2probe").await.unwrap();
    assert_eq!(in_time("a pong", raw.next()).await, Frame::Text("3probe".into()));
    // The poll that waits ends at once, and so do those that come until the client has changed over.
    while http(&server, "GET", &query, "", "").await.body != "6" {}
    room.send_many(3).await;
    raw.send_text("5").await.unwrap();
    for n in 0..3 {
        let said = packet(&mut raw, &format!("42{NAMESPACE},[\"message\"")).await;
        assert!(said.contains(&format!("\"message\":\"message {n}\"")), "{said}");
    }
    assert_eq!(http(&server, "GET", &query, "", "").await.json()["code"], 1, "it polls no more");
}

#[tokio::test]
async fn pages_of_other_origins_may_connect_where_they_are_allowed() {
    let own = server().await;
    let mine = format!("Origin: http://{}\r\n", own.address());
    let other = "Origin: https://app.example\r\n";
    let opened = http(&own, "GET", POLLING, &mine, "").await;
    assert_eq!(opened.status, 200);
    assert!(!opened.head.contains("access-control"), "{opened:?}");
    assert_eq!(http(&own, "GET", POLLING, other, "").await.json()["code"], 4);
    let open = Hubbub::start(program().with("--origins=https://app.example")).await.unwrap();
    let opened = http(&open, "GET", POLLING, other, "").await;
    for header in [
        "access-control-allow-origin: https://app.example",
        "access-control-allow-credentials: true",
        "vary: origin",
    ] {
        assert!(opened.head.contains(header), "{header}: {opened:?}");
    }
    let asked = format!("{other}Access-Control-Request-Method: POST\r\n");
    let preflight = http(&open, "OPTIONS", POLLING, &asked, "").await;
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert!(preflight.head.contains("access-control-allow-origin: https://app.example"), "{preflight:?}");
    assert_eq!(http(&open, "GET", POLLING, "Origin: https://evil.example\r\n", "").await.status, 403);
}

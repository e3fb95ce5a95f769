//! Socket.IO 5: connect, disconnect, message.

use hubbub_testkit::{Hubbub, Person};
use serde_json::{Value, json};

use super::*;
use crate::common::{Room, server};
use crate::socketio::clients::{closed, socket};

/// "should allow connection to a custom namespace", "… with a payload".
#[tokio::test]
async fn allows_connection_to_the_namespace() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let connect = format!("40{NAMESPACE}");
    let with_payload = format!("{connect},{{\"token\":\"{}\"}}", ann.token);
    for (token, connect) in [(&*ann.token, &connect), ("", &with_payload)] {
        let query = format!("{}&token={token}", V4.query("websocket"));
        let mut raw = websocket(&server, &query).await;
        packet(&mut raw, "0{").await;
        raw.send_text(connect.clone()).await.unwrap();
        let connected = text(&mut raw).await;
        let handshake = connected.strip_prefix(&format!("40{NAMESPACE},")).unwrap();
        let handshake: Value = serde_json::from_str(handshake).unwrap();
        assert!(handshake["sid"].is_string() && handshake.as_object().unwrap().len() == 1, "{handshake}");
        assert!(text(&mut raw).await.starts_with(&format!("42{NAMESPACE},[\"authentication\",")));
    }
}

#[tokio::test]
async fn disallows_connection_to_an_unknown_namespace() {
    let server = server().await;
    let (mut raw, _) = V4.open(&server).await;
    for (connect, refused) in [("40/random", "44/random,"), ("40", "44"), ("40{\"token\":\"1\"}", "44")] {
        raw.send_text(connect).await.unwrap();
        assert_eq!(text(&mut raw).await, format!("{refused}{{\"message\":\"Invalid namespace\"}}"));
    }
}

/// "should disallow connection with an invalid handshake", "should close the connection if no handshake is received".
#[tokio::test]
async fn closes_without_a_handshake_that_can_be_read() {
    let server = Hubbub::start(program().with("--hello-timeout=1s")).await.unwrap();
    let ((mut junk, _), (mut silent, _)) = (V4.open(&server).await, V4.open(&server).await);
    junk.send_text("4abc").await.unwrap();
    assert_eq!((closed(&mut junk).await, closed(&mut silent).await), (Some(1008), Some(4408)));
}

/// "should disconnect from the main namespace": the connection stays, and with it its pings.
#[tokio::test]
async fn disconnects_from_the_namespace() {
    let server = beating(2).await;
    let room = Room::with_owner(&server, "ann").await;
    for engine in Engine::BOTH {
        let bob = room.member(&server, &format!("bob{engine:?}")).await;
        let mut raw = socket(&server, if engine == V3 { 3 } else { 4 }, &bob.token).await;
        packet(&mut raw, &format!("42{NAMESPACE},[\"chatroom\"")).await;
        raw.send_text(format!("41{NAMESPACE},")).await.unwrap();
        // It may have been pinged before: this one comes behind.
        raw.send_text(ask(0)).await.unwrap();
        let refused = packet(&mut raw, "43").await;
        assert!(refused.starts_with(&format!("43{NAMESPACE},0[{{\"error\":1000,")), "{refused}");
        room.send_many(1).await;
        room.owner.create("another room", "").await.unwrap();
        if engine == V3 {
            raw.send_text("2").await.unwrap();
            assert_eq!(text(&mut raw).await, "3");
        } else {
            assert_eq!(text(&mut raw).await, "2");
        }
        // Who wants to be in again comes with another transport.
        raw.send_text(format!("40{NAMESPACE},")).await.unwrap();
        assert_eq!(closed(&mut raw).await, Some(1000));
    }
}

#[tokio::test]
async fn connects_then_disconnects_from_a_custom_namespace() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut raw = socket(&server, 4, &ann.token).await;
    raw.send_text("40/custom").await.unwrap();
    assert_eq!(text(&mut raw).await, "44/custom,{\"message\":\"Invalid namespace\"}");
    raw.send_text("41/custom").await.unwrap();
    raw.send_text(ask(0)).await.unwrap();
    assert_eq!(text(&mut raw).await, answer(0));
}

/// "should send a plain-text packet": it comes back as it comes to everyone in the room.
#[tokio::test]
async fn sends_a_plain_text_packet() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let mut raw = socket(&server, 4, &room.ann.token).await;
    let said = json!(["message", {"chatroom": room.id, "message": "hello"}, 1, "2", {"3": [true]}]);
    raw.send_text(format!("42{NAMESPACE},{said}")).await.unwrap();
    let heard = packet(&mut raw, &format!("42{NAMESPACE},[\"message\"")).await;
    assert!(heard.contains("\"message\":\"hello\""), "{heard}");
}

#[tokio::test]
async fn sends_a_plain_text_packet_with_an_ack() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut raw = socket(&server, 4, &ann.token).await;
    raw.send_text(ask(456)).await.unwrap();
    assert_eq!(text(&mut raw).await, answer(456));
}

/// "should send a packet with binary attachments", "… and an ack".
#[tokio::test]
async fn refuses_a_packet_with_binary_attachments() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut raw = socket(&server, 4, &ann.token).await;
    for (ack, id) in [("", 0), ("789", 1)] {
        let bytes = "[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
        raw.send_text(format!("452-{NAMESPACE},{ack}{bytes}")).await.unwrap();
        raw.send_binary(vec![1, 2, 3]).await.unwrap();
        raw.send_binary(vec![4, 5, 6]).await.unwrap();
        if !ack.is_empty() {
            let refused = text(&mut raw).await;
            assert!(refused.starts_with(&format!("43{NAMESPACE},789[{{\"error\":500,")), "{refused}");
        }
        raw.send_text(ask(id)).await.unwrap();
        assert_eq!(text(&mut raw).await, answer(id));
    }
}

/// "should close the connection upon invalid format (unknown packet type)", "… (invalid payload format)", "… (invalid ack id)".
#[tokio::test]
async fn closes_the_connection_upon_invalid_format() {
    let server = server().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let payload = format!("42{NAMESPACE},{{}}");
    let id = format!("42{NAMESPACE},abc[\"chatrooms\",1,\"2\",{{\"3\":[false]}}]");
    for invalid in ["4abc", &payload, &id] {
        let mut raw = socket(&server, 4, &ann.token).await;
        raw.send_text(invalid).await.unwrap();
        assert_eq!(closed(&mut raw).await, Some(1008), "{invalid}");
    }
}

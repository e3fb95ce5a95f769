//! Engine.IO 3 and 4: handshake, message, heartbeat, close, upgrade.

use std::time::Duration;

use futures_util::future::join;
use hubbub_client::raw::Raw;
use hubbub_testkit::{Hubbub, Person, eventually};
use serde_json::{Value, json};

use super::*;
use crate::common::server;
use crate::socketio::clients::{closed, socket};

mod handshake {
    use super::*;

    fn is_of(handshake: &Value, engine: Engine, upgrades: Value) {
        let mut handshake = handshake.clone();
        assert!(handshake["sid"].take().is_string(), "{engine:?}");
        let expected = json!({"sid": null, "upgrades": upgrades, "pingInterval": 1_000, "pingTimeout": 1_000,
            "maxPayload": 1_000_000});
        assert_eq!(handshake, expected, "{engine:?}");
    }

    #[tokio::test]
    async fn successfully_opens_a_session() {
        let server = Hubbub::start(program().with("--heartbeat=1s").with("--frame-bytes-max=1000000B"));
        let server = server.await.unwrap();
        for engine in Engine::BOTH {
            let opened = http(&server, "GET", &engine.query("polling"), "", "").await;
            assert_eq!(opened.status, 200);
            let first = engine.packets(&opened.body).remove(0);
            assert!(first.starts_with('0'), "{first}");
            is_of(&serde_json::from_str(&first[1..]).unwrap(), engine, json!(["websocket"]));
            is_of(&engine.open(&server).await.1, engine, json!([]));
        }
    }

    /// "fails with an invalid 'EIO' query parameter", "… 'transport' query parameter", "… request method".
    #[tokio::test]
    async fn fails_with_anything_invalid() {
        let server = server().await;
        for (method, query) in [
            ("GET", "transport=polling"),
            ("GET", "EIO=abc&transport=polling"),
            ("GET", "EIO=3"),
            ("GET", "EIO=4"),
            ("GET", "EIO=3&transport=abc"),
            ("GET", "EIO=4&transport=abc"),
            ("POST", "EIO=3&transport=polling"),
            ("POST", "EIO=4&transport=polling"),
            ("PUT", "EIO=4&transport=polling"),
        ] {
            assert_eq!(http(&server, method, query, "", "").await.status, 400, "{method} {query}");
        }
        for query in
            ["transport=websocket", "EIO=abc&transport=websocket", "EIO=3", "EIO=4", "EIO=3&transport=abc"]
        {
            let url = format!("ws://{}/socket.io/?{query}", server.address());
            assert!(Raw::connect(&url, None).await.is_err(), "{query}");
        }
    }
}

mod message {
    use super::*;

    /// "sends and receives a payload containing one plain text packet", "… several plain text packets".
    #[tokio::test]
    async fn sends_and_receives_payloads_of_plain_text_packets() {
        let server = server().await;
        let ann = Person::register(&server, "ann").await.unwrap();
        for engine in Engine::BOTH {
            let session = engine.begin(&server).await;
            session.enter(&ann.token).await;
            let posted = session.post(&[&ask(0)]).await;
            assert_eq!((posted.status, &*posted.body), (200, "ok"));
            assert_eq!(session.poll().await.body, engine.body(&[&answer(0)]), "{engine:?}");
            let posted = session.post(&[&ask(1), &ask(2), &ask(3)]).await;
            assert_eq!((posted.status, &*posted.body), (200, "ok"));
            // Each is answered as soon as it can be.
            let mut answers = session.take(3).await;
            answers.sort();
            assert_eq!(answers, [answer(1), answer(2), answer(3)], "{engine:?}");
        }
    }

    /// "… a payload containing plain text and binary packets": the bytes are refused in the callback and passed over.
    #[tokio::test]
    async fn refuses_the_binary_packets_of_a_payload() {
        let server = server().await;
        let ann = Person::register(&server, "ann").await.unwrap();
        for (engine, bytes) in [(V3, "b4AQIDBA=="), (V4, "bAQIDBA==")] {
            let session = engine.begin(&server).await;
            session.enter(&ann.token).await;
            let event = format!("451-{NAMESPACE},1[\"message\",{{\"_placeholder\":true,\"num\":0}}]");
            assert_eq!(session.post(&[&event, bytes, &ask(2)]).await.body, "ok");
            let answers = session.take(2).await;
            let refused = answers.iter().find(|told| told.starts_with(&format!("43{NAMESPACE},1["))).unwrap();
            assert!(refused.contains("binary data is not taken"), "{refused}");
            assert!(answers.contains(&answer(2)), "{answers:?}");
            assert_eq!(session.post(&[bytes]).await.body, "ok");
            assert_eq!(session.poll().await.body, engine.body(&["1"]), "nothing announced them");
        }
    }

    #[tokio::test]
    async fn closes_the_session_upon_invalid_packet_format() {
        let server = server().await;
        for engine in Engine::BOTH {
            let session = engine.begin(&server).await;
            assert_eq!(session.post_body("abc").await.status, 400);
            session.is_over("an invalid packet").await;
            let (mut raw, _) = engine.open(&server).await;
            raw.send_text("abc").await.unwrap();
            assert_eq!(closed(&mut raw).await, Some(1008));
        }
    }

    #[tokio::test]
    async fn closes_the_session_upon_duplicate_poll_requests() {
        let server = server().await;
        for engine in Engine::BOTH {
            let session = engine.begin(&server).await;
            // Whichever comes first waits, and is told of the end.
            let (one, other) = join(session.poll(), session.poll()).await;
            let (waited, refused) = if one.status == 200 { (one, other) } else { (other, one) };
            assert_eq!((waited.status, waited.body), (200, engine.body(&["1"])), "{engine:?}");
            assert_eq!(refused.status, 400, "{refused:?}");
            session.is_over("two polls").await;
        }
    }

    #[tokio::test]
    async fn sends_and_receives_a_plain_text_packet() {
        let server = server().await;
        let ann = Person::register(&server, "ann").await.unwrap();
        for generation in [3, 4] {
            let mut raw = socket(&server, generation, &ann.token).await;
            raw.send_text(ask(0)).await.unwrap();
            assert_eq!(text(&mut raw).await, answer(0));
        }
    }

    /// "sends and receives a binary packet": it ends the session.
    #[tokio::test]
    async fn refuses_a_binary_packet() {
        let server = server().await;
        for (engine, bytes) in [(V3, vec![4, 1, 2, 3, 4]), (V4, vec![1, 2, 3, 4])] {
            let (mut raw, _) = engine.open(&server).await;
            raw.send_binary(bytes).await.unwrap();
            assert_eq!(closed(&mut raw).await, Some(1008));
        }
    }
}

mod heartbeat {
    use super::*;

    #[tokio::test]
    async fn sends_ping_pong_packets() {
        let server = beating(2).await;
        let by_polling = Engine::BOTH.map(|engine| {
            let server = &server;
            async move {
                let session = engine.begin(server).await;
                for _ in 0..3 {
                    if engine == V3 {
                        assert_eq!(session.post(&["2"]).await.status, 200);
                        assert_eq!(session.poll().await.body, "1:3");
                    } else {
                        assert_eq!(session.poll().await.body, "2");
                        assert_eq!(session.post(&["3"]).await.status, 200);
                    }
                }
            }
        });
        let by_websocket = Engine::BOTH.map(|engine| {
            let server = &server;
            async move {
                let (mut raw, _) = engine.open(server).await;
                for _ in 0..3 {
                    if engine == V3 {
                        raw.send_text("2").await.unwrap();
                        assert_eq!(text(&mut raw).await, "3");
                    } else {
                        assert_eq!(text(&mut raw).await, "2");
                        raw.send_text("3").await.unwrap();
                    }
                }
            }
        });
        let ([a, b], [c, d]) = (by_polling, by_websocket);
        join(join(a, b), join(c, d)).await;
    }

    #[tokio::test]
    async fn closes_the_session_upon_ping_timeout() {
        let server = beating(1).await;
        let (old, new) = (V3.begin(&server).await, V4.begin(&server).await);
        let ((mut old_raw, _), (mut new_raw, _)) = (V3.open(&server).await, V4.open(&server).await);
        // This long the handshake allows, and no longer.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(old.post(&["2"]).await.status, 400);
        old.is_over("no ping").await;
        new.is_over("no pong").await;
        assert_eq!((closed(&mut old_raw).await, closed(&mut new_raw).await), (Some(1001), Some(1001)));
    }
}

mod close {
    use super::*;

    #[tokio::test]
    async fn forcefully_closes_the_session() {
        let server = server().await;
        for engine in Engine::BOTH {
            // The poll is to come first.
            eventually("a poll that waits", async || {
                let session = engine.begin(&server).await;
                let (poll, close) = join(session.poll(), session.post(&["1"])).await;
                assert_eq!(close.body, "ok");
                session.is_over("a close").await;
                (poll.status == 200).then(|| assert_eq!(poll.body, engine.body(&["6"])))
            })
            .await;
            let (mut raw, _) = engine.open(&server).await;
            raw.send_text("1").await.unwrap();
            assert_eq!(closed(&mut raw).await, Some(1000));
        }
    }
}

mod upgrade {
    use super::*;

    /// "successfully upgrades from HTTP long-polling to WebSocket", "ignores HTTP requests with same sid after upgrade", "ignores
    /// WebSocket connection with same sid after upgrade".
    #[tokio::test]
    async fn upgrades_from_polling_and_ignores_what_comes_with_the_same_sid_afterwards() {
        let server = server().await;
        let ann = Person::register(&server, "ann").await.unwrap();
        for engine in Engine::BOTH {
            let session = engine.begin(&server).await;
            session.enter(&ann.token).await;
            let mut raw = session.websocket().await.unwrap();
            raw.send_text("2probe").await.unwrap();
            assert_eq!(text(&mut raw).await, "3probe");
            assert_eq!(session.poll().await.body, engine.body(&["6"]), "{engine:?}");
            raw.send_text("5").await.unwrap();
            raw.send_text(ask(0)).await.unwrap();
            assert_eq!(text(&mut raw).await, answer(0));
            session.is_over("an upgrade").await;
            assert!(session.websocket().await.is_none(), "{engine:?}");
            raw.send_text(ask(1)).await.unwrap();
            assert_eq!(text(&mut raw).await, answer(1));
        }
    }
}

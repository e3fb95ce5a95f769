//! Commands and answers: each command that is acknowledged is answered, each answer is in the room once.

use std::process::Command;

use hubbub_testkit::bots::{Bot, node_bot, python_bot};
use hubbub_testkit::{Hubbub, Person, RabbitMq, Start, eventually};
use serde_json::{Value, json};

use crate::common::{Room, program, server};
use crate::peer::Peer;

/// What bots said in a room, in its order.
async fn said(server: &Hubbub, room: &Room) -> Vec<String> {
    let path = format!("/v1/chat/rooms/{}/messages?limit=1000&kinds=bot", room.id);
    let page = server.get(&path, Some(&room.ann.token)).await.unwrap().json();
    let entries = page["entries"].as_array().unwrap_or_else(|| panic!("{page}"));
    entries.iter().map(|entry| entry["text"].as_str().unwrap().to_owned()).collect()
}

/// Gives a command, again with its key until it is acknowledged.
async fn command(peer: &mut Peer, room: &Room, text: &str) {
    eventually("the command is acknowledged", async || {
        let answer = peer.ask(json!({"type": "send", "room": room.id, "text": text, "key": text})).await;
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "unavailable", "{answer}");
            return None;
        }
        assert!(answer["command"].is_string() && answer["seq"].is_null(), "{answer}");
        Some(())
    })
    .await;
}

/// The token of a bot, as the operator gets it beside the running server.
fn bot_token(server: &Hubbub, name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hubbub"))
        .arg("bot-token")
        .arg(format!("--name={name}"))
        .arg(format!("--data={}", server.data().display()))
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn with_broker(broker: &RabbitMq) -> Hubbub {
    with_broker_and(broker, program()).await
}

async fn with_broker_and(broker: &RabbitMq, start: Start) -> Hubbub {
    let server = Hubbub::start(start.with(&format!("--amqp-url={}", broker.url()))).await.unwrap();
    eventually("the broker is reached", async || {
        let ready = server.get("/readyz", None).await.unwrap().json();
        ready["trouble"].is_null().then_some(())
    })
    .await;
    server
}

#[tokio::test]
async fn the_bot_inside_answers_the_seeds_commands() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut peer = Peer::hello(&bob).await;
    let known = eventually("the bot has announced its commands", async || {
        let known = server.get("/v1/bots/commands", Some(&bob.token)).await.unwrap().json();
        known["commands"].as_array().filter(|commands| commands.len() == 2).cloned()
    })
    .await;
    assert_eq!((&known[0]["usage"], &known[1]["command"]), (&json!("/hello=NAME"), &json!("stock")));
    for (text, answer, complains) in [
        ("/hello=Bob", "Hello Bob!", Value::Null),
        ("/stock=aapl.us", "AAPL.US quote is $93.42 per share", Value::Null),
        ("/stock", "Usage: /stock=CODE", json!(true)),
    ] {
        command(&mut peer, &room, text).await;
        let entry = peer.next_of("message").await;
        assert_eq!((&entry["kind"], &entry["text"]), (&json!("bot"), &json!(answer)), "{entry}");
        assert_eq!((&entry["user"]["name"], &entry["error"]), (&json!("bot"), &complains), "{entry}");
    }
    // By HTTP, and again with its key: one answer.
    let path = format!("/v1/chat/rooms/message/{}", room.id);
    let given = server.post(&path, Some(&bob.token), &json!({"message": "/hello=HTTP"})).await.unwrap();
    assert_eq!((given.status, given.json()["command"].is_string()), (200, true), "{given:?}");
    assert_eq!(peer.next_of("message").await["text"], "Hello HTTP!");
    command(&mut peer, &room, "/hello=Bob").await;
    // For the sender alone.
    let wrong = peer.ask(json!({"type": "send", "room": room.id, "text": "/weather=here"})).await;
    assert_eq!(wrong["code"], "bad_request", "{wrong}");
    assert!(wrong["message"].as_str().unwrap().contains("/stock=CODE"), "{wrong}");
    let help = peer.ask(json!({"type": "send", "room": room.id, "text": "/help"})).await;
    assert!(help["notice"].as_str().unwrap().contains("/hello=NAME"), "{help}");
    let stranger = Person::register(&server, "cyd").await.unwrap();
    let refused = Peer::hello(&stranger)
        .await
        .ask(json!({"type": "send", "room": room.id, "text": "/hello=Cyd"}))
        .await;
    assert_eq!(refused["code"], "not_member", "{refused}");
    let all = ["Hello Bob!", "AAPL.US quote is $93.42 per share", "Usage: /stock=CODE", "Hello HTTP!"];
    assert_eq!(said(&server, &room).await, all);
}

#[tokio::test]
async fn bots_behind_a_broker_answer_once_however_often_they_say_it_and_a_user_is_no_bot() {
    let broker = RabbitMq::start().await.unwrap();
    let server = with_broker(&broker).await;
    let room = Room::with_owner(&server, "ann").await;
    let mut peer = Peer::hello(&room.ann).await;
    let token = bot_token(&server, "node");
    let mut node = Bot::start(node_bot().unwrap().env("BOT_COPIES", "2"), &broker, &token).unwrap();
    node.logs("listening").await;
    for n in 0..20 {
        command(&mut peer, &room, &format!("/x={n}")).await;
    }
    let expected: Vec<_> = (0..20).map(|n| format!("node heard /x={n}")).collect();
    let all =
        eventually("all answers", async || Some(said(&server, &room).await).filter(|said| said.len() >= 20))
            .await;
    assert_eq!(all, expected);
    node.terminate().await.unwrap();
    // The same words twice without an id are two; and a person's token is not a bot's.
    let mut other = python_bot().unwrap();
    other.env("BOT_COPIES", "2").env("BOT_IDS", "no");
    let mut python = Bot::start(&mut other, &broker, &token).unwrap();
    python.logs("listening").await;
    command(&mut peer, &room, "/y=1").await;
    let two = vec!["python heard /y=1".to_owned(); 2];
    eventually("both answers", async || Some(said(&server, &room).await).filter(|said| said[20..] == two))
        .await;
    python.terminate().await.unwrap();
    let person = Bot::start(&mut python_bot().unwrap(), &broker, &room.ann.token).unwrap();
    person.logs("listening").await;
    command(&mut peer, &room, "/y=2").await;
    eventually("a person's answer is refused", async || {
        let refused = server.get("/metrics", None).await.unwrap().text;
        refused.contains("hubbub_bot_answers_total{outcome=\"role\"} 1").then_some(())
    })
    .await;
    assert_eq!(said(&server, &room).await.len(), 22);
    drop(person);
    // A bot's token that is called back is none any more, here as anywhere.
    let out = server.post("/v1/accounts/logout", Some(&token), &json!({})).await.unwrap();
    assert_eq!(out.status, 200, "{out:?}");
    let again = Bot::start(&mut python_bot().unwrap(), &broker, &token).unwrap();
    again.logs("listening").await;
    command(&mut peer, &room, "/y=3").await;
    let refused = async || (answers(&server, "token").await == 1.0).then_some(());
    eventually("the answer by a token that was called back is refused", refused).await;
    for secret in [&token, &room.ann.token] {
        assert!(!server.log().contains(secret.as_str()), "a token is in the log");
    }
}

#[tokio::test]
async fn nothing_confirmed_is_lost_or_doubled_when_the_bridge_is_killed() {
    let broker = RabbitMq::start().await.unwrap();
    let mut server = with_broker(&broker).await;
    let room = Room::with_owner(&server, "ann").await;
    let token = bot_token(&server, "python");
    // Without an id: the broker's redeliveries have nothing to be known by but what the bridge gives them.
    let mut python = Bot::start(python_bot().unwrap().env("BOT_IDS", "no"), &broker, &token).unwrap();
    python.logs("listening").await;
    let mut given = 0;
    for round in 0..5 {
        let mut peer = Peer::hello(&room.ann).await;
        for n in 0..40 {
            command(&mut peer, &room, &format!("/x={round}-{n}")).await;
            given += 1;
        }
        server.kill().await.unwrap();
        server.restart().await.unwrap();
    }
    let mut all = eventually("all answers", async || {
        Some(said(&server, &room).await).filter(|said| said.len() >= given)
    })
    .await;
    all.sort();
    all.dedup();
    assert_eq!(all.len(), given);
    assert_eq!(said(&server, &room).await.len(), given);
    python.terminate().await.unwrap();
}

/// Answers of bots, by what became of them.
async fn answers(server: &Hubbub, outcome: &str) -> f64 {
    let name = format!("hubbub_bot_answers_total{{outcome=\"{outcome}\"}} ");
    let metrics = server.get("/metrics", None).await.unwrap().text;
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    value.unwrap_or_default()
}

#[tokio::test]
async fn a_flood_of_one_bot_in_one_room_and_junk_starve_nobody() {
    const FLOOD: usize = 20_000;
    let broker = RabbitMq::start().await.unwrap();
    let server = with_broker_and(&broker, program().with("--bot-answers-per-second=50")).await;
    let room = Room::with_owner(&server, "ann").await;
    let other = Room::with_owner(&server, "bob").await;
    let mut peer = Peer::hello(&room.ann).await;
    let (loud, calm) = (bot_token(&server, "loud"), bot_token(&server, "calm"));
    let mut python = Bot::start(&mut python_bot().unwrap(), &broker, &calm).unwrap();
    python.logs("listening").await;
    let says = |room: &Room, message: &str| {
        json!({"chatroom": room.id, "token": loud, "message": message}).to_string().into_bytes()
    };
    let flood = (0..FLOOD).map(|n| says(&room, &format!("loud {n}")));
    broker.publish("bot-jobsity-chat", flood.chain([says(&other, "loud elsewhere")])).await.unwrap();
    let junk = [vec![b'x'; 4 << 20], vec![0xff], b"{}".to_vec(), says(&room, &"long ".repeat(10_000))];
    broker.publish("bot-jobsity-chat", junk).await.unwrap();
    for n in 0..10 {
        command(&mut peer, &room, &format!("/x={n}")).await;
    }
    let heard = |said: &[String]| said.iter().filter(|text| text.starts_with("python heard")).count();
    eventually("the calm bot's answers", async || (heard(&said(&server, &room).await) == 10).then_some(()))
        .await;
    assert_eq!(said(&server, &other).await, ["loud elsewhere"]);
    eventually("the flood is over", async || {
        let (kept, limited) = (answers(&server, "kept").await, answers(&server, "rate_limited").await);
        (kept + limited >= (FLOOD + 11) as f64).then_some(())
    })
    .await;
    assert!(answers(&server, "rate_limited").await > (FLOOD / 2) as f64);
    let junk = (answers(&server, "too_large").await, answers(&server, "unreadable").await);
    assert_eq!(junk, (2.0, 2.0));
    assert!(!server.log().contains(&loud), "a token is in the log");
    python.terminate().await.unwrap();
}

#[tokio::test]
async fn with_the_broker_away_chat_goes_on_and_commands_are_refused_at_once() {
    let mut broker = RabbitMq::start().await.unwrap();
    let server = with_broker(&broker).await;
    let room = Room::with_owner(&server, "ann").await;
    let mut peer = Peer::hello(&room.ann).await;
    broker.kill().unwrap();
    eventually("it is noticed", async || {
        let ready = server.get("/readyz", None).await.unwrap();
        (ready.status == 200 && ready.json()["trouble"][0]["condition"] == "broker").then_some(())
    })
    .await;
    let refused = peer.ask(json!({"type": "send", "room": room.id, "text": "/x"})).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("bots"), "{refused}");
    room.send_many(2).await;
    broker.start_again().await.unwrap();
    command(&mut peer, &room, "/y").await;
}

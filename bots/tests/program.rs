//! The program against a real broker.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::path::Path;
use std::process::Command;

use futures_util::StreamExt;
use hubbub_testkit::bots::{self, Bot};
use hubbub_testkit::{Folder, Hubbub, RabbitMq, eventually, in_time};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};

const TO_CHAT: &str = "bot-jobsity-chat";
const TO_BOTS: &str = "bot-jobsity-bot";
const DEAD: &str = "dead";
const TOKEN_OF_BOT: &str = "token-of-the-bot";
const TOKEN_OF_SENDER: &str = "token-of-the-sender";

/// The chat's side of both queues.
struct Chat {
    channel: Channel,
    answers: Consumer,
    _connection: Connection,
}

impl Chat {
    async fn connect(broker: &RabbitMq) -> Self {
        let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let dead = FieldTable::from(std::collections::BTreeMap::from([
            (ShortString::from("x-dead-letter-exchange"), AMQPValue::LongString("".into())),
            (ShortString::from("x-dead-letter-routing-key"), AMQPValue::LongString(DEAD.into())),
        ]));
        let plain = FieldTable::default;
        for (queue, arguments) in [(TO_CHAT, plain()), (DEAD, plain()), (TO_BOTS, dead)] {
            channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
        }
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let consume = BasicConsumeOptions::default();
        let answers = channel.basic_consume(TO_CHAT.into(), "".into(), consume, plain()).await.unwrap();
        Self { channel, answers, _connection: connection }
    }

    async fn send(&self, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties.with_delivery_mode(2);
        let sent =
            self.channel.basic_publish("".into(), TO_BOTS.into(), options, body, properties).await.unwrap();
        assert_eq!(sent.await.unwrap(), Confirmation::Ack(None));
    }

    async fn command(&self, text: &str, id: &str) {
        self.send(&command(text), BasicProperties::default().with_message_id(id.into())).await;
    }

    /// The next body from the bot, with its properties.
    async fn next(&mut self) -> (Value, BasicProperties) {
        let delivery = in_time("a message from the bot", self.answers.next()).await.unwrap().unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        (serde_json::from_slice(&delivery.data).unwrap(), delivery.properties)
    }

    /// The next answer: announcements come between.
    async fn answer(&mut self) -> (Value, BasicProperties) {
        loop {
            let (body, properties) = self.next().await;
            if body.get("commands").is_none() {
                return (body, properties);
            }
        }
    }
}

fn command(text: &str) -> Vec<u8> {
    json!({ "chatroom": "room-1", "token": TOKEN_OF_SENDER, "message": text }).to_string().into_bytes()
}

fn id(properties: &BasicProperties) -> Option<&str> {
    properties.message_id().as_ref().map(ShortString::as_str)
}

fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub-bot"));
    command.env_clear();
    command
}

#[tokio::test]
async fn commands_are_answered_over_the_two_queues() {
    let (_broker, chat) = answers_commands(&mut ours(), "hubbub-bot").await;
    // It acked all that it answered before it ended: nothing is left for the next one.
    let left = chat.channel.basic_get(TO_BOTS.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    assert!(left.is_none(), "{left:?}");
}

#[tokio::test]
async fn the_example_in_python_does_the_same() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/bot.py");
    answers_commands(&mut bots::python(&script).unwrap(), "bot.py").await;
}

async fn answers_commands(program: &mut Command, name: &str) -> (RabbitMq, Chat) {
    let mut broker = RabbitMq::start().await.unwrap();
    // Before there are queues.
    let mut bot = Bot::start(program, &broker, TOKEN_OF_BOT).unwrap();
    bot.logs("NOT_FOUND").await;
    let mut chat = Chat::connect(&broker).await;

    let (body, properties) = chat.next().await;
    let stock = json!({ "command": "stock", "usage": "/stock=CODE", "about": "Says what a share costs" });
    assert!(body["commands"].as_array().unwrap().contains(&stock), "{body}");
    assert_eq!(body["token"], TOKEN_OF_BOT);
    assert!(id(&properties).is_some());

    // Delivered twice: one id for both answers, by which the chat takes one.
    chat.command("/stock=aapl.us", "command-1").await;
    chat.command("/stock=aapl.us", "command-1").await;
    for _ in 0..2 {
        let (body, properties) = chat.answer().await;
        let text = "AAPL.US quote is $93.42 per share";
        assert_eq!(body, json!({ "chatroom": "room-1", "token": TOKEN_OF_BOT, "message": text }));
        assert_eq!(id(&properties), Some("command-1-answer"));
        assert_eq!(properties.correlation_id().as_ref().map(ShortString::as_str), Some("command-1"));
        assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("application/json"));
        assert_eq!(properties.app_id().as_ref().map(ShortString::as_str), Some(name));
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert!(properties.timestamp().is_some_and(|seconds| seconds > 1_600_000_000));
    }
    chat.command("/stock=", "command-2").await;
    let (body, properties) = chat.answer().await;
    assert_eq!(body["message"], "Usage: /stock=CODE");
    assert_eq!(body["error"], true);
    assert_eq!(id(&properties), Some("command-2-answer"));

    // As the seed sends them: without any property.
    chat.send(&command("/hello=Ann"), BasicProperties::default()).await;
    let (body, properties) = chat.answer().await;
    assert_eq!(body["message"], "Hello Ann!");
    assert_eq!((id(&properties), properties.correlation_id()), (None, &None));

    // What is no command is put aside.
    for junk in [
        &b"\xff"[..],
        b"[]",
        b"{\"token\": \"token-of-the-sender\", \"message\": \"/hello=Ann\"}",
        &[b' '; 70_000],
    ] {
        chat.send(junk, BasicProperties::default()).await;
        let dead =
            async || chat.channel.basic_get(DEAD.into(), BasicGetOptions { no_ack: true }).await.unwrap();
        assert_eq!(eventually("it is put aside", dead).await.delivery.data, junk);
    }

    broker.kill().unwrap();
    broker.start_again().await.unwrap();
    let mut chat = Chat::connect(&broker).await;
    chat.command("/hello=Bob", "command-3").await;
    // A broker that is killed may forget acks: what comes once more has the id that it had.
    loop {
        let (body, properties) = chat.answer().await;
        if id(&properties) == Some("command-3-answer") {
            assert_eq!(body["message"], "Hello Bob!");
            break;
        }
    }

    bot.terminate().await.unwrap();
    let log = bot.log();
    for secret in [TOKEN_OF_BOT, TOKEN_OF_SENDER, broker.password()] {
        assert!(!log.contains(secret), "{log}");
    }
    (broker, chat)
}

#[tokio::test]
async fn a_setting_that_is_wrong_is_told_without_what_it_was() {
    for (name, value, told) in [
        ("AMQP_URL", "hunter2", "AMQP_URL is not amqp://user:password@host:port/vhost"),
        ("AMQP_PROTOCOL", "https", "AMQP_PROTOCOL must be amqp or amqps"),
        ("BOT_TOKEN", " ", "BOT_TOKEN is empty"),
        ("BOT_QUOTE_URL", "http://u:hunter2@a.example/{code}", "must not have a user or a password"),
        ("BOT_PRICES", "/nonexistent/prices.csv", "the prices in /nonexistent/prices.csv"),
    ] {
        let output = ours().env("BOT_TOKEN", TOKEN_OF_BOT).env(name, value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(told), "{name}: {said}");
        assert!(!said.contains("hunter2") && !said.contains(TOKEN_OF_BOT), "{name}: {said}");
    }
}

#[tokio::test]
async fn tls_is_spoken_with_a_broker_that_the_machine_trusts() {
    let folder = Folder::temporary().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = folder.path().join("certificate.pem");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = Hubbub::free_port().unwrap();
    let more = format!(
        "listeners.ssl.default = 127.0.0.1:{port}\n\
         ssl_options.certfile = FOLDER/certificate.pem\nssl_options.keyfile = FOLDER/key.pem"
    );
    let broker = RabbitMq::start_in(folder, &more).await.unwrap();
    let mut chat = Chat::connect(&broker).await;
    let secured = format!("--amqp-url=amqps://{}:{}@localhost:{port}/%2f", broker.user(), broker.password());

    let stranger = Bot::start(ours().arg(&secured), &broker, TOKEN_OF_BOT).unwrap();
    stranger.logs("invalid peer certificate").await;
    drop(stranger);

    let mut trusting = ours();
    trusting.arg(&secured).env("SSL_CERT_FILE", &certificate);
    let _bot = Bot::start(&mut trusting, &broker, TOKEN_OF_BOT).unwrap();
    chat.command("/hello=Ann", "command-1").await;
    assert_eq!(chat.answer().await.0["message"], "Hello Ann!");
}

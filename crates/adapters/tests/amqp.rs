//! The contract of the `Broker` port on a real RabbitMQ, and queues as they are found. What a dead process had: `hubbub/tests/e2e/bots.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use bytes::Bytes;
use hubbub_adapters::broker::{AmqpBroker, AmqpOptions};
use hubbub_core::contract::broker::{self, Bots};
use hubbub_core::ids::Millis;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::broker::{Broker, BrokerError, Outgoing};
use hubbub_testkit::{RabbitMq, eventually, in_time};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const TO_BOTS: &str = "bot-jobsity-bot";
const TO_CHAT: &str = "bot-jobsity-chat";
/// How often a bot looks whether there is a command.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

/// A broker's two sides: ours, and a plain client in the place of a bot.
struct World {
    broker: AmqpBroker,
    channel: Channel,
    _connection: Connection,
}

fn options(rabbit: &RabbitMq) -> AmqpOptions {
    AmqpOptions::by_url(&Secret::new(rabbit.url())).unwrap()
}

async fn ours(rabbit: &RabbitMq) -> AmqpBroker {
    let broker = AmqpBroker::new(options(rabbit));
    eventually("connected", async || broker.trouble().is_none().then_some(())).await;
    broker
}

async fn plain(rabbit: &RabbitMq) -> (Connection, Channel) {
    let connection = Connection::connect(&rabbit.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

impl World {
    async fn new(rabbit: &RabbitMq) -> Self {
        let broker = ours(rabbit).await;
        let (connection, channel) = plain(rabbit).await;
        Self { broker, channel, _connection: connection }
    }
}

impl Bots for World {
    fn broker(&self) -> &dyn Broker {
        &self.broker
    }

    fn take(&self) -> PortFuture<'_, (String, Bytes)> {
        Box::pin(async {
            let command = loop {
                let got = self.channel.basic_get(TO_BOTS.into(), BasicGetOptions::default()).await;
                match got.unwrap() {
                    Some(got) => break got.delivery,
                    None => tokio::time::sleep(LOOK_EVERY).await,
                }
            };
            command.ack(BasicAckOptions::default()).await.unwrap();
            (command.properties.message_id().as_ref().unwrap().to_string(), command.data.into())
        })
    }

    fn say(&self, id: Option<&'static str>, body: &'static str) -> PortFuture<'_, ()> {
        Box::pin(async move {
            let properties = id.map(|id| BasicProperties::default().with_message_id(id.into()));
            let properties = properties.unwrap_or_default();
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let said =
                self.channel.basic_publish("".into(), TO_CHAT.into(), options, body.as_bytes(), properties);
            assert!(said.await.unwrap().await.unwrap().is_ack());
        })
    }
}

#[tokio::test]
async fn the_contract() {
    let rabbit = RabbitMq::start().await.unwrap();
    let world = World::new(&rabbit).await;
    in_time("a command", broker::a_confirmed_command_is_in_the_queue(&world)).await;
    in_time("an answer again", broker::what_is_not_settled_comes_again(&world)).await;
    in_time("an answer without an id", broker::an_answer_without_an_id_is_known_again(&world)).await;
}

#[tokio::test]
async fn queues_are_used_as_they_are_found_and_a_wrong_one_is_explained() {
    let rabbit = RabbitMq::start().await.unwrap();
    let (_connection, channel) = plain(&rabbit).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("durable".into(), durable, FieldTable::default()).await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("taken".into(), exclusive, FieldTable::default()).await.unwrap();
    let mut as_found = options(&rabbit);
    as_found.commands_queue = "durable".into();
    let broker = AmqpBroker::new(as_found);
    eventually("connected", async || broker.trouble().is_none().then_some(())).await;
    let mut wrong = options(&rabbit);
    wrong.commands_queue = "taken".into();
    let broker = AmqpBroker::new(wrong);
    eventually("explained", async || {
        broker.trouble().filter(|why| why.contains("AMQP_BOT_QUEUE to other names"))
    })
    .await;
}

#[tokio::test]
async fn commands_are_refused_at_once_while_the_broker_takes_none() {
    let rabbit = RabbitMq::start().await.unwrap();
    let world = World::new(&rabbit).await;
    let send = |id: String| {
        let body = Bytes::from_static(b"/x");
        tokio::time::timeout(LOOK_EVERY * 20, world.broker.send(Outgoing { id, body, at: Millis(1) }))
    };
    let is_refused = |sent| matches!(sent, Ok(Err(BrokerError::Away { .. })));
    rabbit.set_short_of_memory(true).await.unwrap();
    // A connection is told once it has published something.
    let refused = async || {
        let sent = send("early".into()).await;
        assert!(sent.is_ok(), "and who sent it does not wait");
        is_refused(sent).then_some(())
    };
    eventually("refused", refused).await;
    let trouble = world.broker.trouble();
    assert!(trouble.as_ref().is_some_and(|why| why.contains("memory")), "{trouble:?}");
    for n in 0..10 {
        assert!(is_refused(send(format!("refused-{n}")).await));
    }
    rabbit.set_short_of_memory(false).await.unwrap();
    eventually("well", async || world.broker.trouble().is_none().then_some(())).await;
    assert_eq!(send("last".into()).await, Ok(Ok(())));
    loop {
        let (id, _) = in_time("a command", world.take()).await;
        match &*id {
            "last" => break,
            id => assert_eq!(id, "early"),
        }
    }
}

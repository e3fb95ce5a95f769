//! One connection to the broker, from its begin to its end.
//!
//! A command is acked only after the broker has confirmed its answer. So no command goes unanswered, but one may be delivered
//! and answered again after a break. The chat takes an answer once by its `message_id`, which is made of the command's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hubbub_bots::Bot;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use uuid::Uuid;

use crate::bodies::{self, Command};
use crate::settings::Queues;

/// Commands that are in work at once; the broker keeps the rest.
const PREFETCH: u16 = 32;
/// How often the chat is told the commands.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(60);
/// How long the broker may take to let us in, and to confirm.
const OPEN_MAX: Duration = Duration::from_secs(10);
const CONFIRM_MAX: Duration = Duration::from_secs(30);
const NAME: &str = "hubbub-bot";
const PERSISTENT: u8 = 2;

/// What every connection needs.
pub struct Program {
    /// The broker.
    pub broker: AMQPUri,
    /// The queues there.
    pub queues: Queues,
    /// The bot's own token.
    pub token: String,
    /// Who answers.
    pub bot: Bot,
}

impl Program {
    /// Answers commands until the connection breaks, which is an error, or the program is told to end.
    pub async fn session(&self, ending: &mut watch::Receiver<bool>) -> anyhow::Result<()> {
        let (connection, channel, mut commands) = tokio::select! {
            opened = timeout(OPEN_MAX, self.open()) => opened.context("no answer in time")??,
            _ = ending.wait_for(|&ending| ending) => return Ok(()),
        };
        tracing::info!("listening to commands");
        let mut in_work = FuturesUnordered::new();
        let mut announce = interval(ANNOUNCE_EVERY);
        loop {
            tokio::select! {
                _ = ending.wait_for(|&ending| ending) => break,
                _ = announce.tick() => self.announce(&channel).await?,
                Some(done) = in_work.next(), if !in_work.is_empty() => done?,
                delivery = commands.next() => match delivery {
                    Some(delivery) => in_work.push(self.answer(&channel, delivery?)),
                    None => bail!("the broker ended the subscription"),
                },
            }
        }
        // What was not begun goes back to the queue, for the next one to answer.
        channel.basic_cancel(commands.tag(), BasicCancelOptions::default()).await?;
        while let Some(done) = in_work.next().await {
            done?;
        }
        Ok(connection.close(200, "ended".into()).await?)
    }

    async fn open(&self) -> lapin::Result<(Connection, Channel, Consumer)> {
        let properties = ConnectionProperties::default().with_connection_name(NAME.into());
        let connection = Connection::connect_uri(self.broker.clone(), properties).await?;
        let channel = connection.create_channel().await?;
        for queue in [&self.queues.to_bots, &self.queues.to_chat] {
            // Hubbub makes them. Passive: it is only looked whether they are there.
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.clone(), passive, FieldTable::default()).await?;
        }
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let (queue, options) = (self.queues.to_bots.clone(), BasicConsumeOptions::default());
        let commands = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok((connection, channel, commands))
    }

    async fn answer(&self, channel: &Channel, delivery: Delivery) -> anyhow::Result<()> {
        let Some(command) = Command::read(&delivery.data) else {
            tracing::warn!(bytes = delivery.data.len(), "rejected what is no command");
            delivery.reject(BasicRejectOptions { requeue: false }).await?;
            return Ok(());
        };
        let reply = self.bot.answer(&command.message).await;
        let mut properties = properties();
        if let Some(id) = delivery.properties.message_id() {
            properties = properties.with_correlation_id(id.clone());
            if let Some(id) = id_of_answer(id) {
                properties = properties.with_message_id(id);
            }
        }
        let body = bodies::answer(&self.token, &command.chatroom, &reply);
        self.publish(channel, &body, properties).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        tracing::info!(room = %command.chatroom, error = reply.is_error, "answered a command");
        Ok(())
    }

    async fn announce(&self, channel: &Channel) -> anyhow::Result<()> {
        let properties = properties().with_message_id(Uuid::new_v4().to_string().into());
        self.publish(channel, &bodies::announcement(&self.token), properties).await
    }

    /// Gives it to the broker, and waits until the broker says that it has it in a queue.
    async fn publish(
        &self,
        channel: &Channel,
        body: &[u8],
        properties: BasicProperties,
    ) -> anyhow::Result<()> {
        let (queue, mandatory) =
            (self.queues.to_chat.clone(), BasicPublishOptions { mandatory: true, ..Default::default() });
        let published = channel.basic_publish("".into(), queue, mandatory, body, properties).await?;
        let confirmed = timeout(CONFIRM_MAX, published).await.context("the broker does not confirm")??;
        ensure!(confirmed == Confirmation::Ack(None), "the broker did not take what was published");
        Ok(())
    }
}

/// The same whenever the same command is answered. Nothing for an id that leaves no place, as Hubbub's do: then the chat does
/// without, as with bots that set none.
fn id_of_answer(id: &ShortString) -> Option<ShortString> {
    ShortString::try_new(format!("{id}-answer")).ok()
}

fn properties() -> BasicProperties {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    BasicProperties::default()
        .with_app_id(NAME.into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_leaves_no_place_is_left_out() {
        assert_eq!(id_of_answer(&"i".into()), Some("i-answer".into()));
        assert!(id_of_answer(&"i".repeat(248).into()).is_some());
        assert_eq!(id_of_answer(&"i".repeat(249).into()), None);
    }
}

//! Commands out: each confirmed by the broker, and none that nobody would get.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hubbub_core::ports::broker::{BrokerError, Outgoing};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};

use super::connection::Session;
use super::topology::{self, NoQueue, Way};
use super::{AmqpOptions, Link};

/// Commands that are sent and not confirmed; the others wait.
const UNCONFIRMED_MAX: usize = 2_000;
/// Kept on disk where the queue is.
const PERSISTENT: u8 = 2;

type Tell = oneshot::Sender<Result<(), BrokerError>>;

/// A command, and whom to tell.
pub(super) struct Sending {
    pub command: Outgoing,
    pub told: Tell,
}

/// Sends commands over a connection of its own.
pub(super) struct Commands {
    options: Arc<AmqpOptions>,
    to_send: mpsc::Receiver<Sending>,
    link: Arc<Link>,
    way: Way,
}

impl Commands {
    pub fn new(options: Arc<AmqpOptions>, to_send: mpsc::Receiver<Sending>, link: Arc<Link>) -> Self {
        Self { options, to_send, link, way: Way::AsTheSeed }
    }
}

impl Session for Commands {
    type Ready = Channel;

    async fn prepare(&mut self, connection: &Connection) -> Result<Channel, NoQueue> {
        topology::find(connection, &self.options.commands_queue, &mut self.way).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    async fn work(&mut self, channel: Channel) -> String {
        let mut unconfirmed = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(sending) = self.to_send.recv(), if unconfirmed.len() < UNCONFIRMED_MAX => {
                    let Sending { command, told } = sending;
                    if told.is_closed() {
                        continue;
                    }
                    // It came just before the broker said that it takes nothing.
                    if let Some(inside) = self.link.trouble() {
                        let _ = told.send(Err(BrokerError::Away { inside }));
                        continue;
                    }
                    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                    let queue = self.options.commands_queue.as_str().into();
                    let published = channel
                        .basic_publish("".into(), queue, options, &command.body, properties(&command))
                        .await;
                    match published {
                        Ok(confirm) => unconfirmed.push(confirmed(confirm, told, self.link.clone())),
                        // Dropped without a word: it may have been sent.
                        Err(error) => return error.to_string(),
                    }
                }
                Some((confirmed, told)) = unconfirmed.next() => {
                    let (answer, over) = match confirmed {
                        Ok(Confirmation::Ack(None)) => (Ok(()), None),
                        Ok(Confirmation::Ack(Some(returned))) => {
                            let inside = returned.reply_text.to_string();
                            let over = format!("the queue {} is gone: {inside}", self.options.commands_queue);
                            (Err(BrokerError::NotTaken { inside }), Some(over))
                        }
                        Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
                            (Err(BrokerError::NotTaken { inside: "refused".into() }), None)
                        }
                        Err(error) => (Err(BrokerError::Unknown), Some(error.to_string())),
                    };
                    // Who asked may wait no more, or was told already.
                    let _ = told.map(|told| told.send(answer));
                    if let Some(why) = over {
                        return why;
                    }
                }
            }
        }
    }

    fn end(&mut self, why: &str) {
        while let Ok(Sending { told, .. }) = self.to_send.try_recv() {
            let _ = told.send(Err(BrokerError::Away { inside: why.into() }));
        }
    }
}

/// Waits for the broker's word. If meanwhile it takes nothing, who waits is told at once that it is unknown: the broker says so only when
/// something was sent, and while they waited another bridge would be asked, and send the same to the same broker.
async fn confirmed(
    confirm: PublisherConfirm,
    told: Tell,
    link: Arc<Link>,
) -> (lapin::Result<Confirmation>, Option<Tell>) {
    let mut confirm = std::pin::pin!(confirm);
    tokio::select! {
        biased;
        confirmed = &mut confirm => return (confirmed, Some(told)),
        () = link.is_troubled() => {}
    }
    let _ = told.send(Err(BrokerError::Unknown));
    (confirm.await, None)
}

fn properties(command: &Outgoing) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(command.id.as_str().into())
        .with_correlation_id(command.id.as_str().into())
        .with_content_type("application/json".into())
        .with_timestamp(command.at.0 / 1_000)
        .with_app_id("hubbub".into())
        .with_delivery_mode(PERSISTENT)
}

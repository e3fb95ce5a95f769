//! Answers in: acknowledged once they are settled, and never without an id.
//!
//! An answer that its bot gave no `message_id` could not be told, when the broker delivers it again, from another one of the same
//! words. So it is not delivered as it is: it goes back to the end of its queue with an id of ours, and the one without is
//! acknowledged, both in one transaction of the channel. Whatever dies in between, the broker has either the one or the other.
//! (AMQP 0-9-1, class `tx`; RabbitMQ takes publishing and acknowledging into one transaction.) A channel becomes transactional
//! with the first such answer, and acknowledgements are then committed in batches; bots that set a `message_id` cost nothing of it.

use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use hubbub_core::ports::broker::{Delivery, MESSAGE_ID_BYTES_MAX, Settled};
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, Consumer};
use metrics::counter;
use tokio::sync::mpsc;

use super::connection::Session;
use super::topology::{self, NoQueue, Way};
use super::{AmqpOptions, STAMPED, UNSETTLED_MAX};

/// Settlings that are carried out together.
const BATCH_MAX: usize = 500;

/// Receives answers over a connection of its own.
pub(super) struct Answers {
    options: Arc<AmqpOptions>,
    to_receive: mpsc::Sender<Delivery>,
    way: Way,
}

/// What is done with an answer at the broker.
enum Step {
    Settle(Settled),
    /// It goes back to its queue, with an id.
    Stamp(Box<(BasicProperties, Vec<u8>)>),
}

impl Answers {
    pub fn new(options: Arc<AmqpOptions>, to_receive: mpsc::Sender<Delivery>) -> Self {
        Self { options, to_receive, way: Way::AsTheSeed }
    }
}

impl Session for Answers {
    type Ready = (Channel, Consumer);

    async fn prepare(&mut self, connection: &Connection) -> Result<Self::Ready, NoQueue> {
        let queue = &self.options.answers_queue;
        topology::find(connection, queue, &mut self.way).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(UNSETTLED_MAX, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        let consumer = consumer.await.map_err(|error| topology::explained(error, queue))?;
        Ok((channel, consumer))
    }

    async fn work(&mut self, (channel, mut consumer): Self::Ready) -> String {
        // Holds at most as many as may be unsettled.
        let (settle, mut settled) = mpsc::unbounded_channel();
        let mut is_transactional = false;
        loop {
            tokio::select! {
                delivered = consumer.next() => match delivered {
                    Some(Ok(answer)) => {
                        let tag = answer.delivery_tag;
                        match id_of(&answer) {
                            Some(id) => {
                                let settle = settle.clone();
                                // After the connection's end nobody listens, and the broker delivers it again.
                                let settle = move |how| _ = settle.send((tag, Step::Settle(how)));
                                let delivery = Delivery::new(id, answer.data.into(), settle);
                                // There is room for all that may be unsettled, but for what a lost connection left behind.
                                if self.to_receive.send(delivery).await.is_err() {
                                    return "nobody receives".into();
                                }
                            }
                            None => {
                                let stamped = Box::new((stamped(&answer.properties), answer.data));
                                // Its receiver is in this function.
                                let _ = settle.send((tag, Step::Stamp(stamped)));
                            }
                        }
                    }
                    Some(Err(error)) => return error.to_string(),
                    None => return format!("the queue {} is gone", self.options.answers_queue),
                },
                Some(first) = settled.recv() => {
                    let mut batch = vec![first];
                    while batch.len() < BATCH_MAX {
                        let Ok(next) = settled.try_recv() else { break };
                        batch.push(next);
                    }
                    if let Err(error) = self.carry_out(&channel, batch, &mut is_transactional).await {
                        return error.to_string();
                    }
                }
            }
        }
    }

    fn end(&mut self, _why: &str) {}
}

impl Answers {
    async fn carry_out(
        &self,
        channel: &Channel,
        batch: Vec<(u64, Step)>,
        is_transactional: &mut bool,
    ) -> lapin::Result<()> {
        if !*is_transactional && batch.iter().any(|(_, step)| matches!(step, Step::Stamp(_))) {
            channel.tx_select().await?;
            *is_transactional = true;
        }
        // All are on their way before the first is waited for.
        try_join_all(batch.into_iter().map(|(tag, step)| {
            match step {
                Step::Settle(Settled::Done) => channel.basic_ack(tag, BasicAckOptions::default()).boxed(),
                Step::Settle(Settled::Refused) => {
                    channel.basic_reject(tag, BasicRejectOptions { requeue: false }).boxed()
                }
                Step::Settle(Settled::Again) => {
                    channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).boxed()
                }
                Step::Stamp(answer) => async move {
                    let (properties, body) = *answer;
                    let queue = self.options.answers_queue.as_str().into();
                    let options = BasicPublishOptions::default();
                    let _ =
                        channel.basic_publish("".into(), queue, options, &body, properties).await?.await?;
                    counter!(STAMPED).increment(1);
                    channel.basic_ack(tag, BasicAckOptions::default()).await
                }
                .boxed(),
            }
        }))
        .await?;
        match is_transactional {
            true => channel.tx_commit().await,
            false => Ok(()),
        }
    }
}

fn id_of(answer: &AmqpDelivery) -> Option<String> {
    let id = answer.properties.message_id().as_ref()?.as_str();
    (!id.is_empty() && id.len() <= MESSAGE_ID_BYTES_MAX).then(|| id.to_owned())
}

/// The properties of an answer with an id of ours. All but `user_id`, which the broker takes from nobody but that user.
fn stamped(of: &BasicProperties) -> BasicProperties {
    let mut properties =
        BasicProperties::default().with_message_id(uuid::Uuid::now_v7().simple().to_string().into());
    macro_rules! keep {
        ($($field:ident $with:ident)*) => {
            $(if let Some(value) = of.$field() {
                properties = properties.$with(value.clone());
            })*
        };
    }
    keep!(
        content_type with_content_type
        content_encoding with_content_encoding
        headers with_headers
        delivery_mode with_delivery_mode
        priority with_priority
        correlation_id with_correlation_id
        expiration with_expiration
        timestamp with_timestamp
        kind with_type
        app_id with_app_id
    );
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_an_id_keeps_the_rest_but_its_user() {
        let answer = BasicProperties::default()
            .with_correlation_id("c".into())
            .with_delivery_mode(2)
            .with_user_id("bot".into())
            .with_app_id("a".into());
        let stamped = stamped(&answer);
        assert!(stamped.message_id().is_some() && stamped.user_id().is_none());
        assert_eq!(stamped.correlation_id(), answer.correlation_id());
        assert_eq!(stamped.delivery_mode(), answer.delivery_mode());
        assert_eq!(stamped.app_id(), answer.app_id());
    }
}

//! What goes out, in the order of the calls. One task hands it to the client, which may have to wait; the callers don't.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::Client;
use hubbub_core::ports::bus::{Answered, BusError, Message, Payload};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::asks::Asks;
use super::traces;

/// Messages and bytes that wait to be handed to the client; beyond it they are refused.
const WAITING_MAX: usize = 64 * 1024;
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a message takes beside itself.
const OVERHEAD: usize = 128;

/// Something to be sent.
enum Outgoing {
    Publish {
        subject: String,
        reply: Option<String>,
        message: Message,
    },
    /// The subscription is to end before anything that comes after.
    End(CancellationToken, oneshot::Receiver<()>),
}

/// The way out.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
    asks: Arc<Asks>,
    inbox: Arc<str>,
}

fn full() -> BusError {
    BusError::Unavailable { inside: "too much waits to be sent".into() }
}

impl Outbox {
    /// The way out through `client`; answers come to subjects below `inbox`.
    pub(super) fn new(client: Client, inbox: &str, end: CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        tokio::spawn(end.run_until_cancelled_owned(send_all(client, waiting, bytes.clone())));
        Self { queue, bytes, asks: Arc::default(), inbox: inbox.into() }
    }

    /// Sends, in its turn.
    pub(super) fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        mut message: Message,
    ) -> Result<(), BusError> {
        message.payload.as_bytes();
        let len = message.size() + OVERHEAD;
        if self.bytes.fetch_add(len, Ordering::Relaxed) + len > WAITING_BYTES_MAX {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            return Err(full());
        }
        self.queue.try_send(Outgoing::Publish { subject, reply, message }).map_err(|_| {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            full()
        })
    }

    /// Asks, in its turn.
    pub(super) fn ask(&self, subject: String, message: Message, timeout: Duration, answered: Answered) {
        let ticket = self.asks.begin(timeout, answered);
        if let Err(error) = self.publish(subject, Some(format!("{}.{ticket}", self.inbox)), message) {
            self.asks.end(ticket, Err(error));
        }
    }

    /// Takes what came to a subject below the inbox: an answer, or that nobody was there.
    pub(super) fn answered(&self, subject: &str, answer: Result<Payload, BusError>) {
        if let Some(Ok(ticket)) = subject.rsplit('.').next().map(str::parse) {
            self.asks.end(ticket, answer);
        }
    }

    /// Ends a subscription, before anything that is sent later. `ended` tells that it is.
    pub(super) fn end(&self, subscription: CancellationToken, ended: oneshot::Receiver<()>) {
        if self.queue.try_send(Outgoing::End(subscription.clone(), ended)).is_err() {
            subscription.cancel();
        }
    }
}

async fn send_all(client: Client, mut waiting: mpsc::Receiver<Outgoing>, bytes: Arc<AtomicUsize>) {
    while let Some(outgoing) = waiting.recv().await {
        match outgoing {
            Outgoing::Publish { subject, reply, message } => {
                let len = message.size() + OVERHEAD;
                let Message { payload, traces } = message;
                let payload = payload.into_bytes();
                let sent = match (reply, traces.is_empty()) {
                    (Some(reply), true) => client.publish_with_reply(subject, reply, payload).await,
                    (None, true) => client.publish(subject, payload).await,
                    (Some(reply), false) => {
                        let headers = traces::write(&traces);
                        client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                    }
                    (None, false) => {
                        client.publish_with_headers(subject, traces::write(&traces), payload).await
                    }
                };
                bytes.fetch_sub(len, Ordering::Relaxed);
                if let Err(error) = sent {
                    tracing::warn!(%error, "NATS did not take a message");
                }
            }
            Outgoing::End(subscription, ended) => {
                subscription.cancel();
                // Whether it says so or is gone: it is over.
                let _ = ended.await;
            }
        }
    }
}

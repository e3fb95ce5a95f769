//! The bus over NATS: core publish and request, no JetStream.
//!
//! In reading order: what a subject is called (`subjects`), how it is reached (`connect`), the way out (`outbox`), the headers that
//! traces are in (`traces`), and who is told of losses (`losses`).

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, StatusCode, Subscriber};
use futures_util::StreamExt;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::bus::{
    Answered, Bus, BusError, Listener, LossWatcher, Message, Reply, Server, Subject, Subscription,
};
use metrics::{Unit, counter, describe_counter};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

mod connect;
mod losses;
mod outbox;
mod subjects;
mod traces;

pub use connect::{NatsOptions, NatsTls};
use losses::Losses;
use outbox::Outbox;
use subjects::Subjects;

/// Times that the connection was lost.
const DISCONNECTS: &str = "hubbub_nats_disconnects_total";
/// Messages that were dropped here because a handler was too slow.
const DROPPED: &str = "hubbub_nats_dropped_total";
/// Servers of a shared subject share its requests under this name.
const QUEUE_GROUP: &str = "hubbub";
/// How long a subscription may take to be known to the server.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(5);
/// Least time between two tellings of losses: a slow consumer loses many messages at once.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A bus for tiers that live in processes of their own.
pub struct NatsBus {
    client: Client,
    subjects: Subjects,
    outbox: Outbox,
    losses: Arc<Losses>,
    lease_replicas: usize,
    _end: DropGuard,
}

impl NatsBus {
    /// Connects, however long it takes.
    ///
    /// # Errors
    /// `Unavailable` when the connection was lost again before it could be used.
    pub async fn connect(options: &NatsOptions) -> Result<Self, BusError> {
        describe_counter!(DISCONNECTS, Unit::Count, "times that the connection to NATS was lost");
        describe_counter!(DROPPED, Unit::Count, "messages of NATS dropped because a handler was too slow");
        // There from the start, so that the first one is a change.
        [DISCONNECTS, DROPPED].into_iter().for_each(|name| counter!(name).increment(0));
        let losses = Arc::<Losses>::default();
        // Boxed: it is large, and whoever waits for it need not be.
        let client = Box::pin(connect::connect(options, &losses)).await;
        let end = CancellationToken::new();
        let inbox = client.new_inbox();
        let outbox = Outbox::new(client.clone(), &inbox, end.clone());
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(unavailable)?;
        tokio::spawn(end.clone().run_until_cancelled_owned(take_answers(answers, outbox.clone())));
        let bus = Self {
            client,
            subjects: Subjects { prefix: options.prefix.clone() },
            outbox,
            losses,
            lease_replicas: options.lease_replicas,
            _end: end.clone().drop_guard(),
        };
        bus.reach_server().await?;
        let (losses, outbox, inbox) = (bus.losses.clone(), bus.outbox.clone(), inbox);
        tokio::spawn(end.run_until_cancelled_owned(tell_of_losses(losses, outbox, inbox)));
        Ok(bus)
    }

    /// Whether the server can be reached now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The connection, the prefix and the number of replicas, for the leases.
    pub(crate) fn parts(&self) -> (Client, &str, usize) {
        (self.client.clone(), &self.subjects.prefix, self.lease_replicas)
    }

    /// Waits until the server has taken all that was sent before. A flush only hands it to the kernel.
    ///
    /// # Errors
    /// `TimedOut` when the server did not say so, `Unavailable` when too much waits to be sent.
    pub async fn reach_server(&self) -> Result<(), BusError> {
        let inbox = self.client.new_inbox();
        round_trip(&self.outbox, &inbox).await
    }

    fn check(&self, mut message: Message) -> Result<Message, BusError> {
        message.payload.as_bytes();
        let message = message.fitting()?;
        match self.is_connected() {
            true => Ok(message),
            false => Err(BusError::Unavailable { inside: "not connected to NATS".into() }),
        }
    }

    async fn subscribe(
        &self,
        subject: Subject,
        group: Option<&'static str>,
        mut handle: impl FnMut(async_nats::Message) + Send + 'static,
    ) -> Result<Subscription, BusError> {
        let name = self.subjects.name(&subject);
        let subscribed = match group {
            Some(group) => self.client.queue_subscribe(name, group.into()).await,
            None => self.client.subscribe(name).await,
        };
        let mut messages = subscribed.map_err(unavailable)?;
        let (over, (ended, end)) = (CancellationToken::new(), oneshot::channel());
        let stop = over.clone();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    message = messages.next() => message,
                };
                match message {
                    Some(message) => handle(message),
                    None => break,
                }
            }
            // A connection that is lost knows of no subscription either.
            let _ = messages.unsubscribe().await;
            let _ = ended.send(());
        });
        let guard = Guard { outbox: self.outbox.clone(), over, end: Some(end) };
        self.reach_server().await?;
        Ok(Subscription::new(guard))
    }
}

/// Ends a subscription when dropped.
struct Guard {
    outbox: Outbox,
    over: CancellationToken,
    end: Option<oneshot::Receiver<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.outbox.end(self.over.clone(), end);
        }
    }
}

fn unavailable(error: impl ToString) -> BusError {
    BusError::Unavailable { inside: error.to_string() }
}

/// A question that nobody serves: that nobody does is the server's own answer, and it comes after all that was sent before.
async fn round_trip(outbox: &Outbox, nobody: &str) -> Result<(), BusError> {
    let (tell, told) = oneshot::channel();
    let answered = Box::new(move |answer| _ = tell.send(answer));
    outbox.ask(nobody.to_owned(), Message::default(), SUBSCRIBE_MAX, answered);
    match told.await {
        Ok(Ok(_) | Err(BusError::NoResponders)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(BusError::TimedOut),
    }
}

async fn take_answers(mut answers: Subscriber, outbox: Outbox) {
    while let Some(message) = answers.next().await {
        let nobody = message.status == Some(StatusCode::NO_RESPONDERS);
        let answer = if nobody { Err(BusError::NoResponders) } else { Ok(message.payload.into()) };
        outbox.answered(&message.subject, answer);
    }
}

/// A message as the port has it.
fn heard(message: async_nats::Message) -> Message {
    let traces = message.headers.as_ref().map_or_else(Vec::new, traces::read);
    Message { payload: message.payload.into(), traces }
}

/// Tells of losses once the server has our subscriptions again.
async fn tell_of_losses(losses: Arc<Losses>, outbox: Outbox, inbox: String) {
    loop {
        losses.lost.notified().await;
        while round_trip(&outbox, &format!("{inbox}-nobody")).await.is_err() {
            tokio::time::sleep(TELL_EVERY).await;
        }
        losses.tell();
        tokio::time::sleep(TELL_EVERY).await;
    }
}

impl Bus for NatsBus {
    fn publish(&self, subject: &Subject, message: Message) -> Result<(), BusError> {
        let message = self.check(message)?;
        self.outbox.publish(self.subjects.name(subject), None, message)
    }

    fn listen(&self, subject: Subject, listener: Listener) -> PortFuture<'_, Result<Subscription, BusError>> {
        Box::pin(self.subscribe(subject, None, move |message| listener(heard(message))))
    }

    fn watch_losses(&self, watcher: LossWatcher) -> Subscription {
        self.losses.watch(watcher)
    }

    fn serve(&self, subject: Subject, server: Server) -> PortFuture<'_, Result<Subscription, BusError>> {
        let outbox = self.outbox.clone();
        let group = subject.is_shared().then_some(QUEUE_GROUP);
        Box::pin(self.subscribe(subject, group, move |mut message| {
            let Some(to) = message.reply.take() else { return };
            let outbox = outbox.clone();
            let reply = Reply::new(move |payload| {
                if let Err(error) = outbox.publish(to.to_string(), None, payload.into()) {
                    tracing::warn!(%error, "an answer was not sent");
                }
            });
            server(heard(message), reply);
        }))
    }

    fn ask(&self, subject: &Subject, message: Message, timeout: Duration, answered: Answered) {
        match self.check(message) {
            Ok(message) => self.outbox.ask(self.subjects.name(subject), message, timeout, answered),
            Err(error) => answered(Err(error)),
        }
    }
}

//! The queues of a broker that speaks AMQP 0-9-1: RabbitMQ.
//!
//! In reading order: how it is reached (`options`), what queues there are and how they are made (`topology`), a connection that is
//! made anew for ever (`connection`), commands out (`outgoing`), answers in (`incoming`).
//!
//! Commands and answers have a connection each: a broker that is short of memory stops reading from who publishes, and an
//! acknowledgement must not wait for that.

use std::sync::{Arc, Mutex, PoisonError};

use hubbub_core::ports::PortFuture;
use hubbub_core::ports::broker::{Broker, BrokerError, Delivery, Outgoing};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

mod connection;
mod incoming;
mod options;
mod outgoing;
mod topology;

pub use options::{AmqpOptions, BadAmqpUrl};

/// Connections to the broker that can be used: up to 2, one for commands and one for answers.
const CONNECTED: &str = "hubbub_broker_connections";
/// Times that a connection was lost or could not be made.
const FAILED: &str = "hubbub_broker_connection_failures_total";
/// Answers that had no id and were given one.
const STAMPED: &str = "hubbub_broker_stamped_total";

/// Commands that wait to be confirmed; beyond it `Full`.
const OUTGOING_MAX: usize = 10_000;
/// Answers that are delivered and not settled.
const UNSETTLED_MAX: u16 = 2_000;

/// A broker that speaks AMQP.
pub struct AmqpBroker {
    outgoing: mpsc::Sender<outgoing::Sending>,
    incoming: AsyncMutex<mpsc::Receiver<Delivery>>,
    commands: Arc<Link>,
    answers: Arc<Link>,
    _end: DropGuard,
}

/// What is known of one connection.
struct Link {
    trouble: Mutex<Option<String>>,
    /// Told when there is trouble.
    troubled: Notify,
}

impl Link {
    fn new() -> Arc<Self> {
        let trouble = Mutex::new(Some("not connected yet".into()));
        Arc::new(Self { trouble, troubled: Notify::new() })
    }

    fn is_well(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says whether that is news.
    fn is_in_trouble(&self, why: String) -> bool {
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(why.clone());
        self.troubled.notify_waiters();
        before != Some(why)
    }

    /// Waits until there is trouble.
    async fn is_troubled(&self) {
        loop {
            let troubled = self.troubled.notified();
            if self.trouble().is_some() {
                return;
            }
            troubled.await;
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl AmqpBroker {
    /// Connects in the background, for ever, and again whenever a connection is lost, until this is dropped.
    pub fn new(options: AmqpOptions) -> Self {
        describe_gauge!(CONNECTED, Unit::Count, "usable connections to the bots' broker: 2 when all is well");
        describe_counter!(FAILED, Unit::Count, "connections to the bots' broker that were lost or not made");
        describe_counter!(STAMPED, Unit::Count, "answers of bots that had no message_id and were given one");
        // There from the start: a broker that was never reached is seen too, and the first of something is a change.
        gauge!(CONNECTED).increment(0.0);
        [FAILED, STAMPED].into_iter().for_each(|name| counter!(name).increment(0));
        let end = CancellationToken::new();
        let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
        let (to_receive, incoming) = mpsc::channel(usize::from(UNSETTLED_MAX));
        let (commands, answers) = (Link::new(), Link::new());
        let options = Arc::new(options);
        tokio::spawn(end.clone().run_until_cancelled_owned(connection::keep(
            options.clone(),
            "commands",
            commands.clone(),
            outgoing::Commands::new(options.clone(), to_send, commands.clone()),
        )));
        tokio::spawn(end.clone().run_until_cancelled_owned(connection::keep(
            options.clone(),
            "answers",
            answers.clone(),
            incoming::Answers::new(options, to_receive),
        )));
        Self { outgoing, incoming: AsyncMutex::new(incoming), commands, answers, _end: end.drop_guard() }
    }
}

impl Broker for AmqpBroker {
    fn send(&self, command: Outgoing) -> PortFuture<'static, Result<(), BrokerError>> {
        if let Some(inside) = self.commands.trouble() {
            return Box::pin(std::future::ready(Err(BrokerError::Away { inside })));
        }
        let (told, confirmed) = oneshot::channel();
        if self.outgoing.try_send(outgoing::Sending { command, told }).is_err() {
            return Box::pin(std::future::ready(Err(BrokerError::Full)));
        }
        // A connection that is lost drops what it had not been told of.
        Box::pin(async move { confirmed.await.unwrap_or(Err(BrokerError::Unknown)) })
    }

    fn receive(&self) -> PortFuture<'_, Delivery> {
        Box::pin(async move {
            match self.incoming.lock().await.recv().await {
                Some(delivery) => delivery,
                // Its sender lives as long as this does.
                None => std::future::pending().await,
            }
        })
    }

    fn trouble(&self) -> Option<String> {
        self.commands.trouble().or_else(|| self.answers.trouble())
    }
}

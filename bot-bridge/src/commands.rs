//! Commands out: a gateway is told that the broker has it, or why not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::broker::{Broker, BrokerError, Outgoing};
use hubbub_core::ports::bus::{Bus, BusError, Message, Payload, Reply, Subject, Subscription};
use hubbub_wire::amqp;
use hubbub_wire::tier::bots::{AskBots, Command, ToldBots};
use hubbub_wire::tier::parcel;
use metrics::{counter, gauge, histogram};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounded::Bounded;
use crate::catalog::{Catalog, Entry};
use crate::metrics::{COMMANDS, CONFIRM_SECONDS, WAITING};

/// Requests that wait to be looked at.
const ASKED_MAX: usize = 10_000;
/// Commands of which it is remembered that they were sent, so that one that is asked for again is not sent again.
const REMEMBERED_MAX: usize = 20_000;

type Sending = Shared<PortFuture<'static, Result<(), BrokerError>>>;

/// Requests as they came, each with the way to answer it.
pub type Asked = mpsc::Receiver<(Payload, Reply)>;

/// Hands commands to the broker.
#[derive(Clone)]
pub struct Commands {
    broker: Arc<dyn Broker>,
    catalog: Arc<Catalog>,
    sent: Arc<Mutex<Bounded<String, Sending>>>,
}

impl Commands {
    pub fn new(broker: Arc<dyn Broker>, catalog: Arc<Catalog>) -> Self {
        Self { broker, catalog, sent: Arc::new(Mutex::new(Bounded::new(REMEMBERED_MAX))) }
    }

    /// Has requests come here.
    pub async fn listen(&self, bus: &dyn Bus) -> Result<(Asked, Subscription), BusError> {
        let (to, asked) = mpsc::channel(ASKED_MAX);
        let serve = move |message: Message, reply: Reply| match to.try_send((message.payload, reply)) {
            Ok(()) => {}
            Err(
                mpsc::error::TrySendError::Full((_, reply)) | mpsc::error::TrySendError::Closed((_, reply)),
            ) => {
                reply.send(parcel::pack(&ToldBots::Unavailable));
            }
        };
        let served = bus.serve(Subject::Bots, Arc::new(serve)).await?;
        Ok((asked, served))
    }

    /// Answers until the `end`.
    pub async fn work(&self, mut asked: Asked, tasks: &TaskTracker, end: &CancellationToken) {
        while let Some(Some((mut payload, reply))) = end.run_until_cancelled(asked.recv()).await {
            let ask = match parcel::header(&mut payload) {
                Ok(ask) => ask,
                Err(error) => {
                    tracing::error!(%error, "the bus brought what can't be read");
                    continue;
                }
            };
            match ask {
                AskBots::Known => reply.send(parcel::pack(&ToldBots::Known(self.catalog.known()))),
                AskBots::Command(command) => {
                    let timeout = Duration::from_millis(u64::from(command.timeout_ms));
                    // On its way now, so that commands keep their order.
                    let told = self.take(command);
                    tasks.spawn(async move {
                        gauge!(WAITING).increment(1.0);
                        let told = tokio::time::timeout(timeout, told).await.unwrap_or(ToldBots::Unavailable);
                        gauge!(WAITING).decrement(1.0);
                        counter!(COMMANDS, "told" => label(&told)).increment(1);
                        reply.send(parcel::pack(&told));
                    });
                }
            }
        }
    }

    fn take(&self, command: Command) -> impl Future<Output = ToldBots> + Send + 'static + use<> {
        let sending = match self.catalog.look_up(&command.text) {
            Entry::Possible => Ok(self.send(command)),
            Entry::Absent(text) => Err(ToldBots::NoSuchCommand(text)),
            Entry::Help(text) => Err(ToldBots::Help(text)),
        };
        let sent = self.sent.clone();
        async move {
            let (id, sending) = match sending {
                Ok(sending) => sending,
                Err(told) => return told,
            };
            let began = Instant::now();
            let Err(error) = sending.await else {
                histogram!(CONFIRM_SECONDS).record(began.elapsed());
                return ToldBots::Confirmed;
            };
            // What was not taken may be tried again.
            lock(&sent).remove(&id);
            tracing::debug!(%error, "a command was not confirmed");
            match error {
                BrokerError::Away { .. } | BrokerError::NotTaken { .. } => ToldBots::Away,
                BrokerError::Full | BrokerError::Unknown => ToldBots::Unavailable,
            }
        }
    }

    fn send(&self, Command { id, room, text, token, at, .. }: Command) -> (String, Sending) {
        let mut sent = lock(&self.sent);
        let sending = match sent.get(&id) {
            Some(sending) => sending.clone(),
            None => {
                let body = amqp::command(&room, &token, &text);
                let sending = self.broker.send(Outgoing { id: id.clone(), body, at }).shared();
                sent.insert(id.clone(), sending.clone());
                sending
            }
        };
        (id, sending)
    }
}

fn lock(sent: &Mutex<Bounded<String, Sending>>) -> std::sync::MutexGuard<'_, Bounded<String, Sending>> {
    // A panic elsewhere can at worst leave a command that is sent again, which its bot finds by the id.
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

fn label(told: &ToldBots) -> &'static str {
    match told {
        ToldBots::Confirmed | ToldBots::Known(_) => "confirmed",
        ToldBots::NoSuchCommand(_) => "no_such_command",
        ToldBots::Help(_) => "help",
        ToldBots::Away => "away",
        ToldBots::Unavailable => "unavailable",
    }
}

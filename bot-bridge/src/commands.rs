//! Commands out: a gateway is told that the broker has it, or why not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use hubbub_core::ids::NodeId;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::broker::{Broker, BrokerError, Outgoing};
use hubbub_core::ports::bus::{Bus, BusError, Message, Payload, Reply, Server, Subject, Subscription};
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

    /// Has requests come here, those to any bridge and those to this `node`.
    pub async fn listen(
        &self,
        bus: &dyn Bus,
        node: Option<NodeId>,
    ) -> Result<(Asked, Vec<Subscription>), BusError> {
        let (to, asked) = mpsc::channel(ASKED_MAX);
        let serve: Server =
            Arc::new(move |message: Message, reply: Reply| match to.try_send((message.payload, reply)) {
                Ok(()) => {}
                Err(
                    mpsc::error::TrySendError::Full((_, reply))
                    | mpsc::error::TrySendError::Closed((_, reply)),
                ) => {
                    reply.send(parcel::pack(&ToldBots::Unavailable));
                }
            });
        let mut served = vec![bus.serve(Subject::Bots, serve.clone()).await?];
        if let Some(node) = node {
            served.push(bus.serve(Subject::Node(node), serve).await?);
        }
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
                    // On its way now, so that commands keep their order.
                    let told = self.take(command);
                    tasks.spawn(async move {
                        gauge!(WAITING).increment(1.0);
                        let told = told.await;
                        gauge!(WAITING).decrement(1.0);
                        counter!(COMMANDS, "told" => label(&told)).increment(1);
                        reply.send(parcel::pack(&told));
                    });
                }
            }
        }
    }

    fn take(&self, command: Command) -> impl Future<Output = ToldBots> + Send + 'static + use<> {
        let timeout = Duration::from_millis(u64::from(command.timeout_ms));
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
            let confirmed = tokio::time::timeout(timeout, sending.clone()).await;
            let error = match confirmed {
                Ok(Ok(())) => {
                    histogram!(CONFIRM_SECONDS).record(began.elapsed());
                    return ToldBots::Confirmed;
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    give_up(&sent, &id, sending);
                    return ToldBots::Unavailable;
                }
            };
            // What was not taken may be tried again, and perhaps another who waited for it is at that.
            let mut sent = lock(&sent);
            if is_kept(&sent, &id, &sending) {
                sent.remove(&id);
            }
            drop(sent);
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

/// Lets go of a command whose sender waits no more, so that it is not sent later. Another who waits for the same one keeps it.
fn give_up(sent: &Mutex<Bounded<String, Sending>>, id: &String, sending: Sending) {
    let mut sent = lock(sent);
    let is_it = is_kept(&sent, id, &sending);
    drop(sending);
    if is_it && sent.get(id).and_then(Sending::strong_count) == Some(1) {
        sent.remove(id);
    }
}

/// Whether it is this sending that is remembered: what was sent again meanwhile is another one.
fn is_kept(sent: &Bounded<String, Sending>, id: &String, sending: &Sending) -> bool {
    sent.get(id).is_some_and(|kept| kept.ptr_eq(sending))
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

#[cfg(test)]
mod tests {
    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::ids::{Millis, RoomId};
    use hubbub_core::ports::accounts::Secret;
    use hubbub_core::ports::broker::Delivery;
    use tokio::sync::oneshot;

    use super::*;

    /// A broker that has taken commands and confirms none by itself.
    #[derive(Default)]
    struct Slow(Mutex<Vec<oneshot::Sender<Result<(), BrokerError>>>>);

    impl Slow {
        fn sent(&self) -> usize {
            self.0.lock().unwrap().len()
        }

        /// Whether nobody waits for that command's confirmation: then it needs not be sent.
        fn is_given_up(&self, nth: usize) -> bool {
            self.0.lock().unwrap()[nth].is_closed()
        }

        fn confirm_last(&self) {
            self.tell_last(Ok(()));
        }

        fn tell_last(&self, confirmed: Result<(), BrokerError>) {
            self.0.lock().unwrap().pop().unwrap().send(confirmed).unwrap();
        }
    }

    impl Broker for Slow {
        fn send(&self, _: Outgoing) -> PortFuture<'static, Result<(), BrokerError>> {
            let (told, confirmed) = oneshot::channel();
            self.0.lock().unwrap().push(told);
            Box::pin(async move { confirmed.await.unwrap_or(Err(BrokerError::Unknown)) })
        }

        fn receive(&self) -> PortFuture<'_, Delivery> {
            Box::pin(std::future::pending())
        }

        fn trouble(&self) -> Option<String> {
            None
        }
    }

    async fn commands() -> (Arc<Slow>, Commands) {
        let broker = Arc::new(Slow::default());
        let (catalog, _) = Catalog::shared(Arc::new(LocalBus::default())).await.unwrap();
        (broker.clone(), Commands::new(broker, catalog))
    }

    /// The same command each time, from someone who waits so many seconds.
    fn command(seconds: u32) -> Command {
        Command {
            id: "1".into(),
            room: RoomId::parse("r").unwrap(),
            text: "/x".into(),
            token: Secret::new("t".into()),
            at: Millis(1),
            timeout_ms: seconds * 1_000,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_whose_sender_gave_up_is_let_go_and_can_be_given_again() {
        let (broker, commands) = commands().await;
        assert_eq!(commands.take(command(5)).await, ToldBots::Unavailable);
        assert!(broker.is_given_up(0));
        let again = commands.take(command(5));
        assert_eq!(broker.sent(), 2);
        broker.confirm_last();
        assert_eq!(again.await, ToldBots::Confirmed);
        // What was confirmed is remembered.
        assert_eq!(commands.take(command(5)).await, ToldBots::Confirmed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_is_not_let_go_while_another_waits_for_it() {
        let (broker, commands) = commands().await;
        let (first, second) = (commands.take(command(5)), commands.take(command(9)));
        let second = tokio::spawn(second);
        assert_eq!(first.await, ToldBots::Unavailable);
        assert!(!broker.is_given_up(0));
        let third = commands.take(command(5));
        assert_eq!(broker.sent(), 1);
        broker.confirm_last();
        assert_eq!((second.await.unwrap(), third.await), (ToldBots::Confirmed, ToldBots::Confirmed));
    }
    #[tokio::test(start_paused = true)]
    async fn a_command_that_is_given_again_is_remembered_whoever_hears_later_that_it_was_not_taken() {
        let (broker, commands) = commands().await;
        let (first, second) = (commands.take(command(5)), commands.take(command(5)));
        broker.tell_last(Err(BrokerError::Unknown));
        assert_eq!(first.await, ToldBots::Unavailable);
        let again = commands.take(command(5));
        assert_eq!(second.await, ToldBots::Unavailable);
        let third = commands.take(command(5));
        assert_eq!(broker.sent(), 1, "sent once more, and not twice");
        broker.confirm_last();
        assert_eq!((again.await, third.await), (ToldBots::Confirmed, ToldBots::Confirmed));
    }
}

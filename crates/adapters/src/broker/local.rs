//! Both queues inside one process, for bots that live there. They end with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::broker::{Broker, BrokerError, Delivery, Outgoing, Settled};
use tokio::sync::{Notify, Semaphore, mpsc};

/// Commands that wait for a bot; answers that wait to be settled.
const CAPACITY: usize = 1_000;

/// The chat's side.
pub struct LocalBroker {
    commands: mpsc::Sender<Outgoing>,
    answers: Arc<Answers>,
}

/// The bots' side.
pub struct LocalBots {
    commands: mpsc::Receiver<Outgoing>,
    answers: Arc<Answers>,
}

struct Answers {
    waiting: Mutex<VecDeque<(String, Bytes)>>,
    arrived: Notify,
    /// One for each answer that is not settled.
    places: Semaphore,
}

impl LocalBroker {
    /// Two empty queues, and their two ends.
    pub fn new() -> (Self, LocalBots) {
        let (to_bots, commands) = mpsc::channel(CAPACITY);
        let answers = Arc::new(Answers {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            places: Semaphore::new(CAPACITY),
        });
        (Self { commands: to_bots, answers: answers.clone() }, LocalBots { commands, answers })
    }
}

impl LocalBots {
    /// The next command; `None` when the chat is gone.
    pub async fn take(&mut self) -> Option<Outgoing> {
        self.commands.recv().await
    }

    /// Where answers go.
    pub fn answers(&self) -> LocalAnswers {
        LocalAnswers(self.answers.clone())
    }
}

/// Where bots in the process say something.
#[derive(Clone)]
pub struct LocalAnswers(Arc<Answers>);

impl LocalAnswers {
    /// Says something, with an id so that a repeat of it is found, or without. Waits while too many answers are not settled.
    pub async fn say(&self, id: Option<String>, body: Bytes) {
        // Never closed.
        if let Ok(place) = self.0.places.acquire().await {
            place.forget();
        }
        let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        self.0.lock().push_back((id, body));
        self.0.arrived.notify_one();
    }
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Bytes)>> {
        // Each change is one call: a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: String, body: Bytes, how: Settled) {
        match how {
            Settled::Done | Settled::Refused => self.places.add_permits(1),
            Settled::Again => {
                self.lock().push_front((id, body));
                self.arrived.notify_one();
            }
        }
    }
}

impl Broker for LocalBroker {
    fn send(&self, command: Outgoing) -> PortFuture<'static, Result<(), BrokerError>> {
        let sent = self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BrokerError::Full,
            mpsc::error::TrySendError::Closed(_) => BrokerError::Away { inside: "the bots ended".into() },
        });
        Box::pin(std::future::ready(sent))
    }

    fn receive(&self) -> PortFuture<'_, Delivery> {
        Box::pin(async move {
            loop {
                let next = self.answers.lock().pop_front();
                if let Some((id, body)) = next {
                    let (answers, again) = (self.answers.clone(), (id.clone(), body.clone()));
                    return Delivery::new(id, body, move |how| answers.settle(again.0, again.1, how));
                }
                self.answers.arrived.notified().await;
            }
        })
    }

    fn trouble(&self) -> Option<String> {
        self.commands.is_closed().then(|| "the bots ended".into())
    }
}

//! `Broker`: the two queues between the chat and its bots, of which one holds commands and the other one answers.
//!
//! # The contract
//! - [`Broker::send`] returns `Ok` once the command stands in its queue, where whoever keeps the queue has confirmed it. With the
//!   keeper away it fails at once, and nothing was sent. After `Unknown` the command may stand there; sent again with the same id,
//!   it may stand there twice, and bots find that by the id.
//! - An answer is delivered until it is settled. One that is not (dropped, or its settling was lost) is delivered again, to this
//!   process or another one, under the same id. (A keeper inside the process ends with it.)
//! - Each answer has an id when it is first delivered: that of the bot, or else one that was given to it for good, so that what
//!   is delivered again is known for it. Two answers of the same words that a bot gave no id have two.
//! - Only so many answers are delivered and not settled at a time.
//! - Answers are delivered in the order of their queue, but for those that come again and those that had to be given an id.

use bytes::Bytes;

use crate::ids::Millis;
use crate::ports::PortFuture;

/// Longest id of a command or an answer, in bytes: what AMQP can carry.
pub const MESSAGE_ID_BYTES_MAX: usize = 255;

/// A command on its way to the bots.
#[derive(Clone)]
pub struct Outgoing {
    /// Which: the same again when it is sent again.
    pub id: String,
    /// What bots read. It has a token in it, so it is not printed.
    pub body: Bytes,
    /// When it was given.
    pub at: Millis,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is done with.
    Done,
    /// It can't be used, now or later: to where the queue's keeper puts such messages, if there is such a place.
    Refused,
    /// It is to be delivered again.
    Again,
}

/// An answer of a bot. Dropped without a word, it is delivered again.
pub struct Delivery {
    /// Which.
    pub id: String,
    /// What the bot wrote. It has a token in it, so it is not printed.
    pub body: Bytes,
    settle: Option<Box<dyn FnOnce(Settled) + Send>>,
}

impl Delivery {
    /// An answer, and the way to settle it.
    pub fn new(id: String, body: Bytes, settle: impl FnOnce(Settled) + Send + 'static) -> Self {
        Self { id, body, settle: Some(Box::new(settle)) }
    }

    /// Says what became of it. Whether that arrived is not known: if not, it is delivered again.
    pub fn settle(mut self, how: Settled) {
        if let Some(settle) = self.settle.take() {
            settle(how);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle(Settled::Again);
        }
    }
}

/// Why a command was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Whoever keeps the queues can't be reached: nothing was sent.
    #[error("the broker is away: {inside}")]
    Away {
        /// Why, for the log.
        inside: String,
    },
    /// Too much waits to be confirmed: nothing was sent.
    #[error("too many commands wait for the broker")]
    Full,
    /// The queue is gone, or it takes no more: it was not taken.
    #[error("the broker did not take it: {inside}")]
    NotTaken {
        /// What it said.
        inside: String,
    },
    /// It was sent, and no confirmation came.
    #[error("the broker did not confirm it")]
    Unknown,
}

/// The two queues between the chat and its bots. See the [module](self) for what it promises.
pub trait Broker: Send + Sync + 'static {
    /// Puts a command into the queue that bots read. It is on its way when this returns; the future waits for the confirmation,
    /// however long that takes, and dropping it does not take the command back.
    ///
    /// # Errors
    /// As of [`BrokerError`].
    fn send(&self, command: Outgoing) -> PortFuture<'static, Result<(), BrokerError>>;

    /// The next answer, once there is one. Dropping the future loses none.
    fn receive(&self) -> PortFuture<'_, Delivery>;

    /// Why the queues can't be used just now, for an operator; `None` when they can.
    fn trouble(&self) -> Option<String>;
}

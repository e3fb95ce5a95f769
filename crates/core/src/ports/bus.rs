//! `Bus`: how the tiers talk. At most once, no memory: whoever needs more reads the log.
//!
//! # The contract
//! - A [`Bus::publish`] reaches each listener at most once; to one listener, what one publisher published on one
//!   subject arrives in that order. It may be lost, and then nobody is told.
//! - Once [`Bus::listen`] or [`Bus::serve`] has returned, what anyone publishes or asks after that is heard.
//! - A listener's handler is called on the bus's thread or the publisher's own. It takes what it is given to a
//!   bounded queue of its own and returns; it must not block nor call the bus.
//! - Of several servers of one subject all hear a [`Bus::request`], and the first answer counts; of a subject that
//!   [is shared](Subject::is_shared) one of them hears it. `NoResponders` is known at once and means that it was not done;
//!   `TimedOut` means that this is unknown.
//! - After a message may have been lost without a trace (the connection was away, a listener was too slow), all watchers of
//!   [`Bus::watch_losses`] are called, when messages arrive again.
//! - The payload is at most 1 MiB: that is what NATS takes by default.
//! - A [`Payload`] that is whole is heard as the thing itself or as its bytes, whichever the bus likes: within one process nothing
//!   has to be put into bytes and read again.
//! - The traces of a message go with it, in their order, unless it would become larger than that by them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;

use crate::ids::{NodeId, Partition, RoomId};
use crate::ports::PortFuture;
use crate::trace::TraceContext;

/// Largest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that a trace takes in a message, at most.
const TRACE_BYTES: usize = 100;

/// What can go over a bus of one process as it is, and over any other as bytes.
pub trait Whole: Any + fmt::Debug + Send + Sync {
    /// What it is on a wire.
    fn to_bytes(&self) -> Bytes;

    /// How many bytes that are, about: what memory is bounded by.
    fn size(&self) -> usize;
}

/// What a message or an answer says.
#[derive(Debug, Clone)]
pub enum Payload {
    /// In bytes.
    Bytes(Bytes),
    /// The thing itself.
    Whole(Arc<dyn Whole>),
}

impl Payload {
    /// The thing itself.
    pub fn whole(thing: impl Whole) -> Self {
        Self::Whole(Arc::new(thing))
    }

    /// Bytes that it takes; of a thing itself, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Whole(thing) => thing.size(),
        }
    }

    /// Its bytes.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Whole(thing) => thing.to_bytes(),
        }
    }

    /// Makes it bytes, if it is not.
    pub fn as_bytes(&mut self) -> &mut Bytes {
        if let Self::Whole(thing) = self {
            *self = Self::Bytes(thing.to_bytes());
        }
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Whole(_) => unreachable!("it was made bytes"),
        }
    }

    /// Takes the thing itself out, and leaves nothing; `None` if it is in bytes, or is another thing.
    pub fn take<T: Clone + Send + Sync + 'static>(&mut self) -> Option<T> {
        self.share().map(Arc::unwrap_or_clone)
    }

    /// As [`Payload::take`], of one that others may have too.
    pub fn share<T: Send + Sync + 'static>(&mut self) -> Option<Arc<T>> {
        match self {
            Self::Whole(thing) if (&**thing as &dyn Any).is::<T>() => {}
            _ => return None,
        }
        let Self::Whole(thing) = std::mem::take(self) else { return None };
        let thing: Arc<dyn Any + Send + Sync> = thing;
        thing.downcast().ok()
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// What goes over the bus, to be published or as a request.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// What it says: at most [`PAYLOAD_BYTES_MAX`].
    pub payload: Payload,
    /// The sampled traces that what it says is part of: a batch may be of several. Nearly always none, and then they cost
    /// nothing.
    pub traces: Vec<TraceContext>,
}

impl Message {
    /// Bytes that it takes, at most.
    pub fn size(&self) -> usize {
        self.payload.size() + self.traces.len() * TRACE_BYTES
    }

    /// The message as the contract lets it go: without its traces if it would be too large by them.
    ///
    /// # Errors
    /// `TooLarge` by its payload alone.
    pub fn fitting(mut self) -> Result<Self, BusError> {
        if self.payload.size() > PAYLOAD_BYTES_MAX {
            return Err(BusError::TooLarge);
        }
        if self.size() > PAYLOAD_BYTES_MAX {
            self.traces.clear();
        }
        Ok(self)
    }
}

impl<P: Into<Payload>> From<P> for Message {
    fn from(payload: P) -> Self {
        Self { payload: payload.into(), traces: Vec::new() }
    }
}

/// What a message is about, and so who hears it. A room is in it only as a checked [`RoomId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Actions on rooms of a partition: served by its holder. For a while there may be two, one of which does not know yet that it
    /// is none any more, or is paused: both hear, so that the other one answers.
    Act(Partition),
    /// Where the logs of a partition's busy rooms end: how the loss of a last entry is seen.
    Heads(Partition),
    /// Entries of a room, as batches.
    Events(Partition, RoomId),
    /// Typing and presence in a room.
    Ephemera(Partition, RoomId),
    /// Rooms that were made.
    Directory,
    /// Users who became members of rooms.
    Memberships,
    /// Reads: replays, directory, members. Served by any one of the history services.
    Query,
    /// Commands for bots. Served by any one of the bridges.
    Bots,
    /// Which commands bots have announced: for all bridges.
    Announcements,
    /// Signs of life of all nodes.
    Nodes,
    /// Who came and went, a gateway.
    Presence,
    /// What all nodes must know at once: a token that was revoked, a user who was banned.
    Control,
    /// Questions to one node: to a gateway who is there, to a history service what [`Subject::Query`] is for, to a bridge what
    /// [`Subject::Bots`] is.
    Node(NodeId),
    /// How each process is, said by itself every few seconds: for operators.
    Reports,
    /// What operators want of one process.
    Agent(NodeId),
}

impl Subject {
    /// Whether its servers share the requests, so that each is heard by one of them.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Query | Self::Bots)
    }
}

/// Why a message was not sent or a request not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the subject: it was not done.
    #[error("nobody serves this just now")]
    NoResponders,
    /// No answer within the deadline: unknown.
    #[error("no answer in time")]
    TimedOut,
    /// The payload is over [`PAYLOAD_BYTES_MAX`].
    #[error("the message is too large for the bus")]
    TooLarge,
    /// The bus is away.
    #[error("the bus is not available: {inside}")]
    Unavailable {
        /// What the product said.
        inside: String,
    },
}

/// Keeps a listener or a server in place until it is dropped.
pub struct Subscription(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl Subscription {
    /// Wraps what ends the subscription when it is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// Called with each message.
pub type Listener = Arc<dyn Fn(Message) + Send + Sync>;

/// Called with each request, and the way to answer it.
pub type Server = Arc<dyn Fn(Message, Reply) + Send + Sync>;

/// Called when messages may have been lost.
pub type LossWatcher = Arc<dyn Fn() + Send + Sync>;

/// The way to answer one request. Dropped without an answer, the asker times out.
pub struct Reply(Box<dyn FnOnce(Payload) + Send + Sync>);

impl Reply {
    /// Wraps what sends the answer.
    pub fn new(send: impl FnOnce(Payload) + Send + Sync + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Answers. An asker who is gone does not hear it.
    pub fn send(self, payload: impl Into<Payload>) {
        (self.0)(payload.into());
    }
}

/// What becomes of an answer, or of its absence: called once, on whatever thread of the runtime that is, perhaps before
/// [`Bus::ask`] returns. As a listener's handler it must not block; it may begin a task, but not call the bus.
pub type Answered = Box<dyn FnOnce(Result<Payload, BusError>) + Send>;

/// How the tiers talk. See the [module](self) for what it promises.
pub trait Bus: Send + Sync + 'static {
    /// Tells all who listen. Does not wait: what can't be taken now is lost.
    ///
    /// # Errors
    /// `TooLarge`, `Unavailable`; an `Ok` says nothing about who heard it.
    fn publish(&self, subject: &Subject, message: Message) -> Result<(), BusError>;

    /// Listens from now on, until the subscription is dropped.
    fn listen(&self, subject: Subject, listener: Listener) -> PortFuture<'_, Result<Subscription, BusError>>;

    /// Has `watcher` called whenever messages may have been lost, from now on, until the subscription is dropped. As a
    /// listener it must not block.
    fn watch_losses(&self, watcher: LossWatcher) -> Subscription;

    /// Serves requests from now on, until the subscription is dropped.
    fn serve(&self, subject: Subject, server: Server) -> PortFuture<'_, Result<Subscription, BusError>>;

    /// Asks whoever serves the subject, and has `answered` called with what comes of it within the timeout. Requests of one
    /// asker on one subject arrive in the order of the calls. To be called within a runtime.
    fn ask(&self, subject: &Subject, message: Message, timeout: Duration, answered: Answered);

    /// As [`Bus::ask`], with a future of the answer: the request is on its way when this returns, whether the future is polled
    /// or not.
    ///
    /// # Cancel safety
    /// Dropped, the answer is not heard.
    fn request(
        &self,
        subject: &Subject,
        message: Message,
        timeout: Duration,
    ) -> PortFuture<'static, Result<Payload, BusError>> {
        let (tell, told) = oneshot::channel();
        self.ask(subject, message, timeout, Box::new(move |answer| _ = tell.send(answer)));
        // A bus that is gone answers nothing.
        Box::pin(async move { told.await.unwrap_or(Err(BusError::TimedOut)) })
    }
}

//! What the server pushes, and what the client itself has to tell.

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{RoomId, Seq, User};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::answer::{Room, Welcome};
use crate::{Entry, Refusal};

/// Something that happened on the connection, in the order in which it did.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The connection is up; the first event, and one after every reconnect.
    Connected(Arc<Welcome>),
    /// The connection is lost.
    Disconnected(Disconnected),
    /// A new entry of a room's log.
    Entry(Entry),
    /// Somebody began or stopped to write.
    Typing(Typing),
    /// Somebody came or went; best effort.
    Presence(Presence),
    /// A room was made; only after `watch`.
    RoomMade(Room),
    /// The log is not the one we resumed from: read it again.
    Reset(Reset),
    /// The server dropped entries for us: [`Client::catch_up`](crate::Client::catch_up) fetches them.
    Behind(Behind),
    /// The server is about to close.
    Bye(Bye),
    /// An `error` that answers no request of ours.
    Refused(Refusal),
    /// The server broke a promise.
    Violation(Violation),
}

/// A connection that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// The close frame's code; `None` when the socket just ended.
    pub code: Option<u16>,
    /// The close frame's reason, or what the system said.
    pub reason: String,
    /// When the next attempt begins; `None` when there is none, and this is the last event.
    pub retry_in: Option<Duration>,
}

/// Somebody writes, or stopped. It lapses by itself after 5 s.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Typing {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub user: User,
    /// Whether they write.
    #[serde(default = "yes")]
    pub on: bool,
}

fn yes() -> bool {
    true
}

/// Who is there: one user, or in a large room a count.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Presence {
    /// Where.
    pub room: RoomId,
    /// Who; none when it is a count.
    pub user: Option<User>,
    /// Whether the user is there.
    pub online: Option<bool>,
    /// How many members are there.
    pub count: Option<u64>,
}

/// The log is another one now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reset {
    /// Which room.
    pub room: RoomId,
    /// The last seq of the log that it has now.
    pub head: Seq,
}

/// Entries that the server dropped for this connection: those after `after`, up to `head`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Behind {
    /// Which room.
    pub room: RoomId,
    /// The last entry that was sent.
    pub after: Seq,
    /// The last entry that was dropped.
    pub head: Seq,
}

/// The server is about to close.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bye {
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Milliseconds to wait before the next connection.
    pub reconnect_after_ms: Option<u64>,
}

/// A promise that the server broke.
#[derive(Debug, Clone, PartialEq)]
pub enum Violation {
    /// An entry that was delivered before.
    Repeat {
        /// The last seq before it.
        position: Seq,
        /// The entry, which is not delivered otherwise.
        entry: Entry,
    },
    /// Entries are missing. The entry or `behind` that shows it is delivered right after this.
    Gap {
        /// Which room.
        room: RoomId,
        /// The last seq before them.
        position: Seq,
        /// The first seq after them.
        next: Seq,
    },
    /// A frame that is not what the protocol says.
    Unreadable {
        /// The frame.
        frame: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The events of one client. Take them, or drop this: see [`Options::events_max`](crate::Options::events_max).
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` when the client has ended.
    ///
    /// *Cancel safety*: no event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if one is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }

    /// The next entry; other events before it are dropped, except that a violation is an error.
    ///
    /// # Errors
    /// The violation that came before it. `Ok(None)` when the client has ended.
    pub async fn next_entry(&mut self) -> Result<Option<Entry>, Violation> {
        loop {
            match self.next().await {
                Some(Event::Entry(entry)) => return Ok(Some(entry)),
                Some(Event::Violation(violation)) => return Err(violation),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

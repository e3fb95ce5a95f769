//! Where the bus leaves what it brings for a shard, from any thread, until the shard's next turn.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hubbub_core::ids::RoomId;
use hubbub_core::ports::bus::{Message, Payload};
use tokio::sync::Notify;

use crate::member::ConnectionId;

/// Bytes that the bus may bring within one turn; beyond it a message is dropped and its room read again.
pub(crate) const EAR_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the bus brought.
pub enum Heard {
    /// A batch of a room's entries.
    Entries(RoomId, Message),
    /// Something that passes in a room.
    Passing(RoomId, Payload),
    /// Where logs of busy rooms end.
    Heads(Payload),
    /// A user became a member of a room.
    Joined(Payload),
    /// A room was made.
    RoomMade(Payload),
    /// Something that all nodes must know.
    Control(Payload),
    /// What a connection asked is answered.
    Answered {
        /// The connection.
        id: ConnectionId,
        /// As how many requests it counted.
        weight: u16,
        /// The answer, if it wants one.
        frame: Option<Bytes>,
    },
}

/// Where the bus leaves messages for a shard, from any thread.
#[derive(Default)]
pub struct Ear {
    heard: Mutex<Inbox>,
    pub(crate) turn: Notify,
}

#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) queue: VecDeque<Heard>,
    bytes: usize,
    /// Rooms of which something was dropped.
    pub(crate) lost: HashSet<RoomId>,
    /// Whether the bus may have lost something of any room.
    pub(crate) lost_anything: bool,
    /// Whether the word of somebody's join was dropped.
    pub(crate) lost_joins: bool,
}

impl Ear {
    /// Leaves a message.
    pub fn leave(&self, heard: Heard, len: usize) {
        let mut inbox = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.bytes + len > EAR_BYTES_MAX {
            match heard {
                Heard::Entries(room, _) => _ = inbox.lost.insert(room),
                Heard::Joined(_) => inbox.lost_joins = true,
                // Seldom, small, of our own nodes, and not said again: that a token was called back, say.
                Heard::Control(_) => inbox.queue.push_back(heard),
                _ => {}
            }
        } else {
            inbox.bytes += len;
            inbox.queue.push_back(heard);
        }
        drop(inbox);
        self.turn.notify_one();
    }

    /// The bus may have lost messages.
    pub fn lose(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).lost_anything = true;
        self.turn.notify_one();
    }

    /// All that was left since the last time.
    pub(crate) fn take(&self) -> Inbox {
        const NEXT_MAX: usize = 64;
        let mut inbox = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // The next turn has about as many.
        let queue = VecDeque::with_capacity(inbox.queue.len().min(NEXT_MAX));
        std::mem::replace(&mut *inbox, Inbox { queue, ..Inbox::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_again_is_heard_also_by_a_full_ear() {
        let ear = Ear::default();
        ear.leave(Heard::Heads(Payload::default()), EAR_BYTES_MAX);
        ear.leave(Heard::Heads(Payload::default()), 1);
        ear.leave(Heard::Control(Payload::default()), 1);
        let heard = Vec::from(ear.take().queue);
        assert!(matches!(&heard[..], [Heard::Heads(_), Heard::Control(_)]));
    }
}

//! The two protocols that connections speak: the same things in other words. What a room says is put into the words of each at
//! most once a turn, and only if somebody here speaks it.

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, Seq, User, UserId};
use hubbub_wire::native::answer::{self as native, Event, Online};
use hubbub_wire::seed;
use hubbub_wire::socketio::answer::{self as socketio, Behind, Reset, Status, Writing};

/// How a connection is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Our own.
    Native,
    /// The seed's events over Socket.IO, of either generation: their frames are the same.
    SocketIo,
}

/// Something that passes in a room and that nobody keeps.
#[derive(Debug, Clone)]
pub enum Passes {
    /// A user writes, or stopped. Not for them.
    Typing(User, bool),
    /// A user came or went.
    Presence(User, bool),
    /// How many of a large room are there. The seed's clients know no event for it.
    Count(u64),
}

impl Passes {
    /// Whom it is not for.
    pub fn not_for(&self) -> Option<&UserId> {
        match self {
            Self::Typing(user, _) => Some(&user.id),
            Self::Presence(..) | Self::Count(_) => None,
        }
    }
}

impl Dialect {
    /// Appends an entry's frame as `user`'s own connections see it, or those of anyone else.
    pub fn append_entry(self, out: &mut Vec<u8>, room: &RoomId, entry: &Entry, user: Option<&UserId>) {
        match (self, &entry.key) {
            (Self::SocketIo, _) => socketio::append_entry(out, room, entry),
            (Self::Native, Some(key)) if user == Some(&entry.user) => {
                native::append_own_entry(out, entry, key)
            }
            (Self::Native, _) => native::append_entry(out, entry),
        }
    }

    /// Appends the frame of what passes, if there are words for it.
    pub fn append_passing(self, out: &mut Vec<u8>, room: &RoomId, passes: &Passes) {
        let frame = match (self, passes) {
            (Self::Native, Passes::Typing(user, on)) => native::frame(&Event::Typing { room, user, on: *on }),
            (Self::Native, Passes::Presence(user, online)) => {
                native::frame(&Event::Presence { room, user: Some(user), online: Online::Online(*online) })
            }
            (Self::Native, Passes::Count(count)) => {
                native::frame(&Event::Presence { room, user: None, online: Online::Count(*count) })
            }
            (Self::SocketIo, Passes::Typing(user, on)) => {
                let status = seed::status(*on);
                socketio::event("writing", &Writing { chatroom: room, source: &user.id, status })
            }
            (Self::SocketIo, Passes::Presence(user, online)) => {
                socketio::event("status", &Status { user: &user.id, status: seed::status(*online) })
            }
            (Self::SocketIo, Passes::Count(_)) => return,
        };
        out.extend_from_slice(&frame);
    }

    /// Entries of the room were not sent.
    pub fn behind(self, room: &RoomId, after: Seq, head: Seq) -> Bytes {
        match self {
            Self::Native => native::frame(&Event::Behind { room, after, head }),
            Self::SocketIo => socketio::event("behind", &Behind { chatroom: room, after, head }),
        }
    }

    /// The room's log is another one than before.
    pub fn reset(self, room: &RoomId, head: Seq) -> Bytes {
        match self {
            Self::Native => native::frame(&Event::Reset { room, head }),
            Self::SocketIo => socketio::event("reset", &Reset { chatroom: room, head }),
        }
    }
}

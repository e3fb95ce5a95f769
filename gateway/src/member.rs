//! One connection as its shard knows it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hubbub_core::code::CloseCode;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::accounts::{Account, Secret};
use hubbub_core::ports::revocations::TokenId;
use hubbub_wire::native::answer;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::dialect::Dialect;
use crate::fanout::UserNumber;
use crate::socketio::session::Session;
use crate::ws::outbound::{Outbound, Written};

/// Names a connection of a shard. A slot is used again; the serial is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Place in the shard's table.
    pub slot: u32,
    /// Which of those that had the place.
    pub serial: u32,
}

/// How what is said to a client reaches it.
pub enum Transport {
    /// On a WebSocket of its own.
    WebSocket(TcpStream),
    /// As answers to its requests, which are told when something waits.
    Polling(Notify),
}

/// A transport, and the way to wake the task that reads it.
pub struct Socket {
    /// The transport.
    pub transport: Transport,
    /// Told when the reader may go on: fewer requests in flight, or less waiting to be written.
    pub wake: Notify,
}

impl Socket {
    /// One that nobody reads yet.
    pub fn new(transport: Transport) -> Arc<Self> {
        Arc::new(Self { transport, wake: Notify::new() })
    }

    /// The stream of a WebSocket.
    pub fn stream(&self) -> Option<&TcpStream> {
        match &self.transport {
            Transport::WebSocket(stream) => Some(stream),
            Transport::Polling(_) => None,
        }
    }
}

/// How a connection stands in a room that its user is a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is sent what the room is sent; its place in the room's list.
    Live(u32),
    /// It is sent what it missed, by a task: the one with this number.
    CatchingUp(u32),
    /// It read too slowly: entries after this one were dropped, and it is told when it has read the rest.
    Behind(Seq),
}

/// Seconds since the shard began.
pub type Second = u32;

/// One connection.
pub struct Connection {
    /// Which of those that had its slot.
    pub serial: u32,
    /// Its socket.
    pub socket: Arc<Socket>,
    /// Its Engine.IO session, if it speaks Socket.IO.
    pub session: Option<Box<Session>>,
    /// From where.
    pub address: IpAddr,
    /// Who, once they said hello.
    pub account: Option<Arc<Account>>,
    /// Which token said so, the last one that did.
    pub token: TokenId,
    /// That token itself, where bots are given it with a command.
    pub bearer: Option<Arc<Secret>>,
    /// Their number on this shard; 0 before the hello.
    pub user: UserNumber,
    /// Whether a hello is being looked at.
    pub greeting: bool,
    /// The rooms that it receives.
    pub rooms: SmallVec<[(RoomId, Standing); 1]>,
    /// Those that it has asked to join or to make, until it receives them or was refused.
    pub joining: SmallVec<[RoomId; 1]>,
    /// When it opened.
    pub opened: Second,
    /// When it was last heard of.
    pub heard: Second,
    /// Whether it was pinged since.
    pub pinged: bool,
    /// Whether it was told that its token is over.
    pub warned: bool,
    /// Whether no entry was sent on it yet.
    pub untouched: bool,
    /// Whether it wants to hear of new rooms.
    pub watching: bool,
    /// Since when it has been behind without a pause.
    pub behind_since: Option<Second>,
    /// Whether a hello waits for its answer.
    pub hello_waits: bool,
    /// Requests that wait for an answer.
    pub in_flight: u16,
    /// Whether those are as many as may.
    pub full: bool,
    /// Whether it is being closed: nothing more is read or sent.
    pub closing: bool,
    /// Whether its reader waits: for a hello, for answers, or for what waits to be written.
    pub paused: bool,
    /// Whether it has something to be written at the end of the turn.
    pub dirty: bool,
    pub(crate) out: Outbound,
}

impl Connection {
    /// A connection that just opened.
    pub fn new(serial: u32, socket: Arc<Socket>, address: IpAddr, now: Second) -> Self {
        Self {
            serial,
            socket,
            session: None,
            address,
            account: None,
            token: TokenId::default(),
            bearer: None,
            user: 0,
            greeting: false,
            rooms: SmallVec::new(),
            opened: now,
            heard: now,
            pinged: false,
            warned: false,
            untouched: true,
            watching: false,
            behind_since: None,
            hello_waits: false,
            in_flight: 0,
            joining: SmallVec::new(),
            full: false,
            closing: false,
            paused: false,
            dirty: false,
            out: Outbound::default(),
        }
    }

    /// How it is spoken to.
    pub fn dialect(&self) -> Dialect {
        match self.session {
            None => Dialect::Native,
            Some(_) => Dialect::SocketIo,
        }
    }

    /// How it stands in a room.
    pub fn standing(&mut self, room: &RoomId) -> Option<&mut Standing> {
        self.rooms.iter_mut().find(|(id, _)| id == room).map(|(_, standing)| standing)
    }

    /// Has it receive a room that it did not.
    pub fn receive(&mut self, room: &RoomId, standing: Standing) {
        self.joins_no_more(room);
        self.rooms.push((room.clone(), standing));
    }

    /// What it asked is done, or was refused.
    pub fn joins_no_more(&mut self, room: &RoomId) {
        self.joining.retain(|joining| joining != room);
        if self.joining.is_empty() {
            self.joining.shrink_to_fit();
        }
    }

    /// Takes it out of a room's standings.
    pub fn forget_room(&mut self, room: &RoomId) {
        self.rooms.retain(|(id, _)| id != room);
        if self.rooms.capacity() > 2 * self.rooms.len() + 4 {
            self.rooms.shrink_to_fit();
        }
    }

    /// It read much of what waited, though not all: it is no slow consumer for what it is sent of the past.
    pub fn has_read(&mut self) {
        if !self.rooms.iter().any(|(_, standing)| matches!(standing, Standing::Behind(_))) {
            self.behind_since = None;
        }
    }

    /// Lets its reader go on, if it waits and nothing is left that it waits for.
    pub fn resume_reading(&mut self) {
        let held = self.hello_waits || self.full || self.out.is_blocked();
        if !held && std::mem::take(&mut self.paused) {
            self.socket.wake.notify_one();
        }
    }

    /// Brings what a send needs into the processor's caches.
    pub fn look_at(&self) {
        use std::os::fd::AsRawFd;
        let descriptor = self.socket.stream().map(AsRawFd::as_raw_fd);
        std::hint::black_box((descriptor, self.out.is_blocked(), self.closing, self.serial));
    }

    /// Sends frames now, behind what waits.
    pub(crate) fn send(&mut self, frames: &Bytes) -> Written {
        match &self.socket.transport {
            Transport::WebSocket(stream) => self.out.send(stream, frames),
            Transport::Polling(_) => {
                self.out.push(frames.clone());
                self.write()
            }
        }
    }

    /// Writes what waits. For one that polls that is: to tell its request.
    pub(crate) fn write(&mut self) -> Written {
        match &self.socket.transport {
            Transport::WebSocket(stream) => self.out.write(stream),
            Transport::Polling(news) => {
                self.out.keep();
                news.notify_one();
                Written::All
            }
        }
    }

    /// Says bye and closes: what a socket did not take until now is dropped, and nothing more is sent.
    pub(crate) fn say_bye(&mut self, code: CloseCode, reason: &'static str, reconnect_after_ms: u64) {
        self.closing = true;
        if self.socket.stream().is_some() {
            self.out.keep_first();
        }
        self.out.push(match &self.session {
            None => answer::farewell(code, reason, reconnect_after_ms),
            Some(session) => session.farewell(code),
        });
    }
}

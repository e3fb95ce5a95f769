//! WebSockets of Socket.IO: a session's only one, or one that a session which polls changes to.
//!
//! A client that changes over tries the new way first: it sends `2probe` on the WebSocket and is answered `3probe`, lets the poll
//! that waits come to its end, and then says `5`. What waits is written to the WebSocket from then on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubbub_wire::ws::{Event, encode};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout_at};

use crate::dialect::Dialect;
use crate::member::{ConnectionId, Socket, Transport};
use crate::shard::{Shard, State};
use crate::socketio::polling::retire;
use crate::socketio::session::{Session, Sid};
use crate::ws::connection::{Flow, ReadStep, Reader};
use crate::ws::outbound::{Outbound, Written};
use crate::ws::upgrade::upgraded;

/// How long a client may take to change over.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a connection of a finished upgrade.
pub async fn adopt(shard: Arc<Shard>, on_upgrade: OnUpgrade, address: IpAddr, session: Box<Session>) {
    let Some((socket, first)) = upgraded(on_upgrade).await else { return };
    shard.gateway.addresses.arrive(&address, u32::MAX);
    let greeting = session.greeting(&shard.gateway.config, &[]);
    let id = shard.open_connection(socket.clone(), address, Some(session));
    shard.with(|state| greeting.into_iter().for_each(|frame| state.push(id, frame)));
    tokio::spawn(Reader::new(shard, id, socket, Dialect::SocketIo).run(first));
}

/// Lets a session change over to the WebSocket of a finished upgrade.
pub async fn probe(shard: Arc<Shard>, id: ConnectionId, on_upgrade: OnUpgrade) {
    let changed = match upgraded(on_upgrade).await {
        Some((socket, first)) => {
            tried(Reader::new(shard.clone(), id, socket, Dialect::SocketIo), first).await
        }
        None => None,
    };
    shard.with(|state| {
        if let Some(session) = state.session(id) {
            (session.upgrades, session.probes) = (false, false);
        }
    });
    if let Some(reader) = changed {
        // What was posted before comes before what is said here.
        shard.taken(id).await;
        tokio::spawn(reader.run(Bytes::new()));
    }
}

/// Reads until the client has changed over; `None` if it does not.
async fn tried(mut reader: Reader, first: Bytes) -> Option<Reader> {
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let mut step = reader.feed(&mut first.to_vec(), on_probe);
    loop {
        match step {
            ReadStep::More => match timeout_at(deadline, reader.readable()).await {
                Ok(Ok(())) => step = reader.read(on_probe),
                _ => return None,
            },
            // It has changed over, and may have sent more.
            ReadStep::Pause => return Some(reader),
            ReadStep::End => return None,
        }
    }
}

fn on_probe(reader: &Reader, event: Event<'_>) -> Flow {
    let Reader { shard, id, socket, .. } = reader;
    match event {
        Event::Text("2probe") if shard.with(|state| state.begin_probe(*id)) => {
            let mut pong = Vec::new();
            encode::append_text(&mut pong, &[b"3probe"]);
            let Some(stream) = socket.stream() else { return Flow::End };
            match Outbound::default().send(stream, &pong.into()) {
                Written::All => Flow::More,
                Written::Blocked | Written::Broken => Flow::End,
            }
        }
        Event::Text("5") => match shard.with(|state| state.change_over(*id, socket)) {
            Some(sid) => {
                // It polls no more.
                shard.gateway.sessions.remove(&sid, *id);
                Flow::Pause
            }
            None => Flow::End,
        },
        _ => Flow::End,
    }
}

impl State {
    /// A WebSocket is opened that a session may change over to. One at a time.
    pub(crate) fn begin_upgrade(&mut self, id: ConnectionId) -> bool {
        self.session(id).is_some_and(|session| !std::mem::replace(&mut session.upgrades, true))
    }

    /// A session that polls tries a WebSocket: the poll that waits ends.
    fn begin_probe(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connection(id).filter(|connection| !connection.closing) else {
            return false;
        };
        let Transport::Polling(news) = &connection.socket.transport else { return false };
        news.notify_one();
        let begins =
            connection.session.as_mut().is_some_and(|session| !std::mem::replace(&mut session.probes, true));
        self.settled |= begins;
        begins
    }

    /// The session's transport is this WebSocket from now on. Its name, if it may be.
    fn change_over(&mut self, id: ConnectionId, socket: &Arc<Socket>) -> Option<Sid> {
        let connection = self.connection(id).filter(|connection| !connection.closing)?;
        let session = connection.session.as_mut().filter(|session| session.probes)?;
        let sid = session.sid.clone();
        let polled = std::mem::replace(&mut connection.socket, socket.clone());
        retire(&polled);
        connection.out.unblock();
        if !connection.dirty {
            connection.dirty = true;
            self.dirty_connections.push_back(id);
        }
        Some(sid)
    }
}

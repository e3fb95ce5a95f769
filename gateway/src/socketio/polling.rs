//! A session whose client polls: one request that waits for what is said, and one that posts, at a time.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hubbub_core::code::CloseCode;
use hubbub_wire::socketio::engine::{self, BadPacket, BodyMaker, Generation, Kind, Packet};

use crate::http::body::whole;
use crate::http::fault::Fault;
use crate::member::{ConnectionId, Socket, Transport};
use crate::shard::{Shard, State};
use crate::socketio::door::{Refused, text};
use crate::socketio::packets;
use crate::socketio::session::Session;
use crate::ws::connection::Flow;

/// What a poll finds.
enum Found {
    /// What waited. With it the session is over, or goes on.
    Body(Vec<u8>, bool),
    /// Nothing yet.
    Nothing(Arc<Socket>),
    /// The session is over, or changed its transport.
    Gone,
}

/// A poll that ends without its answer ends the session: what was to be in it might be lost.
struct Poll {
    shard: Arc<Shard>,
    id: ConnectionId,
    answered: bool,
}

impl Drop for Poll {
    fn drop(&mut self) {
        if !self.answered {
            self.shard.remove(self.id);
        }
    }
}

/// A posted body that is being looked at.
struct Post {
    shard: Arc<Shard>,
    id: ConnectionId,
}

impl Drop for Post {
    fn drop(&mut self) {
        self.shard.with(|state| {
            if let Some(session) = state.session(self.id) {
                (session.posts, session.answered) = (false, false);
            }
            state.settled = true;
        });
    }
}

/// Answers with what waits for the session, as soon as something does.
pub async fn poll(
    shard: Arc<Shard>,
    id: ConnectionId,
    generation: Generation,
) -> Result<Response<Body>, Refused> {
    shard.begin(id, |session| &mut session.polls)?;
    let mut poll = Poll { shard: shard.clone(), id, answered: false };
    loop {
        match shard.with(|state| state.take_waiting(id, generation)) {
            Found::Body(body, is_last) => {
                poll.answered = true;
                if is_last {
                    shard.remove(id);
                }
                shard.settled.notify_waiters();
                return Ok(text(body));
            }
            Found::Nothing(socket) => match &socket.transport {
                Transport::Polling(news) => news.notified().await,
                Transport::WebSocket(_) => {}
            },
            Found::Gone => {
                poll.answered = true;
                let mut body = BodyMaker::new(generation);
                body.push(engine::NOOP);
                return Ok(text(body.finish().0));
            }
        }
    }
}

/// Takes what is posted, packet by packet, as slowly as it may be taken.
///
/// A client that tries a WebSocket polls no more until this is answered, and what holds it up may be what waits to be polled: then it is
/// answered at once, and the rest taken behind that.
pub async fn post(
    shard: Arc<Shard>,
    id: ConnectionId,
    generation: Generation,
    request: Request<Body>,
) -> Result<Response<Body>, Refused> {
    // One that was answered before all of it was taken is over to its client: the next one waits for it.
    shard.until(id, |session| !(session.posts && session.answered)).await;
    shard.begin(id, |session| &mut session.posts)?;
    let post = Post { shard: shard.clone(), id };
    let body = whole(request, body_bytes_max(generation, shard.gateway.config.frame_bytes_max)).await;
    let taking = {
        let shard = shard.clone();
        async move {
            let taken = match body {
                Ok(body) => take(&shard, id, generation, &body).await,
                Err(fault) => Err(Refused::Body(fault)),
            };
            if taken.is_err() {
                shard.remove(id);
            }
            drop(post);
            taken
        }
    };
    let taken = tokio::select! {
        biased;
        taken = tokio::spawn(taking) => taken.unwrap_or(Err(Refused::SessionUnknown)),
        () = shard.probed(id) => {
            shard.with(|state| {
                if let Some(session) = state.session(id) {
                    session.answered = session.posts;
                }
            });
            Ok(())
        }
    };
    taken.map(|()| text(b"ok".to_vec()))
}

/// Bytes of a body. A client of generation 4 is told how many, and makes several of more; one of generation 3 posts at once all that it
/// has, packets of which each may be as large as a frame.
fn body_bytes_max(generation: Generation, frame_bytes_max: usize) -> usize {
    match generation {
        Generation::V3 => 4 * frame_bytes_max,
        Generation::V4 => frame_bytes_max,
    }
}

async fn take(
    shard: &Arc<Shard>,
    id: ConnectionId,
    generation: Generation,
    body: &[u8],
) -> Result<(), Refused> {
    let unreadable = |_| Refused::BadRequest("this is not an Engine.IO body");
    for packet in engine::Body::new(generation, body).map_err(unreadable)? {
        let packet = packet.map_err(unreadable)?;
        if packet.len() > shard.gateway.config.frame_bytes_max {
            return Err(Refused::Body(Fault::BodyTooLarge(shard.gateway.config.frame_bytes_max)));
        }
        match Packet::parse(packet) {
            Ok(Packet { kind: Kind::Close, .. }) => {
                shard.remove(id);
                return Ok(());
            }
            Err(bad @ BadPacket::Unreadable) => return Err(unreadable(bad)),
            Ok(_) | Err(BadPacket::Binary) => {}
        }
        match packets::on_text(shard, id, packet) {
            Flow::More => {}
            Flow::Pause => shard.until_read_on(id).await,
            Flow::End => break,
        }
    }
    let now = shard.now();
    shard.with(|state| {
        state.counts.frames_in += 1;
        if let Some(connection) = state.connection(id) {
            connection.heard = now;
        }
        if let Some(session) = state.session(id) {
            session.polled_at = Instant::now();
        }
    });
    Ok(())
}

impl Shard {
    /// Begins a request of which there may be one at a time. A second one breaks the protocol, and ends the session. One that
    /// comes later than the handshake allowed finds none, also when the sweep has not come by yet.
    fn begin(
        self: &Arc<Self>,
        id: ConnectionId,
        flag: impl FnOnce(&mut Session) -> &mut bool,
    ) -> Result<(), Refused> {
        let silent_max = 2 * self.gateway.config.heartbeat;
        let (now, began) = (self.now(), Instant::now());
        let begun = self.with(|state| {
            let session = state.session(id).ok_or(Refused::SessionUnknown)?;
            if began - session.polled_at >= silent_max {
                return Err(Refused::SessionUnknown);
            }
            session.polled_at = began;
            if std::mem::replace(flag(session), true) {
                state.close(id, CloseCode::ProtocolError, 1_000);
                return Err(Refused::Overlap);
            }
            if let Some(connection) = state.connection(id) {
                connection.heard = now;
            }
            Ok(())
        });
        if matches!(begun, Err(Refused::SessionUnknown)) {
            self.remove(id);
        }
        begun
    }

    /// Waits until the connection may be read on.
    async fn until_read_on(self: &Arc<Self>, id: ConnectionId) {
        let paused = |state: &mut State| {
            let connection =
                state.connection(id).filter(|connection| connection.paused && !connection.closing)?;
            Some(connection.socket.clone())
        };
        while let Some(socket) = self.with(paused) {
            socket.wake.notified().await;
        }
    }

    /// Waits until the client tries another transport.
    async fn probed(self: &Arc<Self>, id: ConnectionId) {
        self.until(id, |session| session.probes).await;
    }

    /// Waits until nothing that was posted is left to be taken.
    pub(crate) async fn taken(self: &Arc<Self>, id: ConnectionId) {
        self.until(id, |session| !session.posts).await;
    }

    /// Waits until it is so, or the session is over.
    async fn until(self: &Arc<Self>, id: ConnectionId, is: impl Fn(&Session) -> bool) {
        loop {
            let settled = self.settled.notified();
            if self.with(|state| state.session(id).is_none_or(|session| is(session))) {
                return;
            }
            settled.await;
        }
    }

    /// A session ended: who waits for something on it is told.
    pub(crate) fn end_session(&self, session: &Session, socket: &Socket, id: ConnectionId) {
        self.gateway.sessions.remove(&session.sid, id);
        retire(socket);
    }
}

/// A transport is used no more: who waits for it looks again.
pub fn retire(socket: &Socket) {
    socket.wake.notify_one();
    if let Transport::Polling(news) = &socket.transport {
        news.notify_one();
    }
}

impl State {
    /// The session of a connection.
    pub(crate) fn session(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.connection(id)?.session.as_deref_mut()
    }

    fn take_waiting(&mut self, id: ConnectionId, generation: Generation) -> Found {
        let now = self.now;
        let Some(connection) = self.connection(id) else { return Found::Gone };
        let Some(session) = &mut connection.session else { return Found::Gone };
        if connection.socket.stream().is_some() {
            session.polls = false;
            return Found::Gone;
        }
        let mut body = BodyMaker::new(generation);
        if connection.out.waiting() > 0 {
            connection.out.fetch(&mut body);
        } else if session.probes {
            body.push(engine::NOOP);
        } else {
            return Found::Nothing(connection.socket.clone());
        }
        (session.polls, session.polled_at) = (false, Instant::now());
        // Whoever fetches it reads, however long all of it takes.
        connection.behind_since.iter_mut().for_each(|since| *since = now);
        connection.resume_reading();
        if connection.out.waiting() == 0 {
            self.drained(id);
        }
        let (body, is_last) = body.finish();
        Found::Body(body, is_last)
    }
}

/// The body that answers a session's first request.
pub fn first_body(generation: Generation, greeting: &[Bytes]) -> Vec<u8> {
    let mut body = BodyMaker::new(generation);
    for frame in greeting {
        body.take(frame);
    }
    body.finish().0
}

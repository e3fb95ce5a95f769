//! One socket's reader: a small task that sleeps while nothing comes, and holds no buffer then.
//!
//! The bytes of a read lie in a buffer that all connections of the thread share; frames are decoded in place, and only
//! what is not whole yet is copied. A connection whose requests wait for answers, or that reads too slowly what it is sent,
//! is not read from: that is the backpressure.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use hubbub_core::code::CloseCode;
use hubbub_wire::ws::{Decoder, Event, Limits, Violation, encode};
use rustix::net::RecvFlags;
use tokio::io::Interest;

use crate::dialect::Dialect;
use crate::member::{ConnectionId, Socket};
use crate::shard::Shard;
use crate::socketio::packets;
use crate::ws::requests;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What one read gave.
pub enum ReadStep {
    /// Go on.
    More,
    /// Stop until the connection has fewer requests in flight, or less to be written.
    Pause,
    /// The connection is over.
    End,
}

/// Reads one WebSocket.
pub struct Reader {
    /// Its shard.
    pub shard: Arc<Shard>,
    /// Which connection it is.
    pub id: ConnectionId,
    /// The socket.
    pub socket: Arc<Socket>,
    dialect: Dialect,
    decoder: Decoder,
}

impl Reader {
    /// Of a socket that nothing was read from.
    pub fn new(shard: Arc<Shard>, id: ConnectionId, socket: Arc<Socket>, dialect: Dialect) -> Self {
        Self { shard, id, socket, dialect, decoder: Decoder::new() }
    }

    /// Reads the connection until it ends, and takes it out of the shard's table. `first` are bytes that came with the
    /// handshake.
    pub async fn run(mut self, first: Bytes) {
        let dialect = self.dialect;
        let on_event = |reader: &Self, event: Event<'_>| on_event(&reader.shard, reader.id, dialect, event);
        let mut step = self.feed(&mut first.to_vec(), on_event);
        drop(first);
        loop {
            step = match step {
                ReadStep::End => break,
                ReadStep::Pause => {
                    self.socket.wake.notified().await;
                    self.feed(&mut [], on_event)
                }
                ReadStep::More => match self.readable().await {
                    Err(_) => break,
                    Ok(()) => self.read(on_event),
                },
            };
        }
        self.shard.remove(self.id);
    }

    /// Waits until there is something to be read.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn readable(&self) -> std::io::Result<()> {
        match self.socket.stream() {
            // By the place that the runtime keeps for one reader: `readable()` would enter a list, and leave it, each time.
            Some(stream) => poll_fn(|cx| stream.poll_read_ready(cx)).await,
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Reads once, and hands out what came.
    pub fn read(&mut self, on_event: impl FnMut(&Self, Event<'_>) -> Flow) -> ReadStep {
        READ.with_borrow_mut(|buffer| {
            let Some(stream) = self.socket.stream() else { return ReadStep::End };
            let mut got = Err(ErrorKind::WouldBlock.into());
            // A read that did not fill the buffer took all there was: told `WouldBlock`, the runtime waits for the next edge
            // instead of a second system call that finds nothing.
            let _ = stream.try_io(Interest::READABLE, || {
                let received = rustix::net::recv(stream, &mut buffer[..], RecvFlags::DONTWAIT);
                got = received.map(|(n, _)| n).map_err(std::io::Error::from);
                match &got {
                    Ok(n) if *n == buffer.len() || *n == 0 => Ok(()),
                    Ok(_) => Err(ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error.kind().into()),
                }
            });
            match got {
                Ok(0) => ReadStep::End,
                Ok(n) => self.feed(&mut buffer[..n], on_event),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    ReadStep::More
                }
                Err(_) => ReadStep::End,
            }
        })
    }

    /// Hands out what these bytes, and those that were left of earlier ones, hold.
    pub fn feed(&mut self, bytes: &mut [u8], mut on_event: impl FnMut(&Self, Event<'_>) -> Flow) -> ReadStep {
        let max = self.shard.gateway.config.frame_bytes_max;
        let limits = Limits { frame_bytes_max: max, message_bytes_max: max };
        let (mut over, mut frames) = (false, 0);
        let mut decoder = std::mem::take(&mut self.decoder);
        let fed = decoder.feed(limits, bytes, |event| {
            frames += 1;
            let flow = on_event(self, event);
            over |= matches!(flow, Flow::End);
            match flow {
                Flow::More => ControlFlow::Continue(()),
                Flow::Pause | Flow::End => ControlFlow::Break(()),
            }
        });
        self.decoder = decoder;
        let (now, id) = (self.shard.now(), self.id);
        let gone = self.shard.with(|state| {
            state.counts.frames_in += frames;
            state
                .connection(id)
                .map(|connection| (connection.heard, connection.pinged) = (now, false))
                .is_none()
        });
        match fed {
            Err(violation) => {
                refuse(&self.shard, id, violation);
                ReadStep::More
            }
            Ok(_) if over || gone => ReadStep::End,
            Ok(ControlFlow::Break(())) => ReadStep::Pause,
            Ok(ControlFlow::Continue(())) => ReadStep::More,
        }
    }
}

/// What follows from an event.
pub enum Flow {
    /// Read on.
    More,
    /// Read on later.
    Pause,
    /// It is over.
    End,
}

fn on_event(shard: &Arc<Shard>, id: ConnectionId, dialect: Dialect, event: Event<'_>) -> Flow {
    match event {
        Event::Text(text) if dialect == Dialect::Native => requests::on_text(shard, id, text),
        Event::Text(text) => packets::on_text(shard, id, text),
        Event::Binary(_) if dialect == Dialect::SocketIo => packets::on_binary(shard, id),
        Event::Binary(_) => {
            shard.with(|state| state.close(id, CloseCode::Policy, 1_000));
            Flow::More
        }
        Event::Ping(payload) => {
            let mut pong = Vec::with_capacity(payload.len() + 2);
            encode::append_pong(&mut pong, payload);
            shard.push(id, pong.into())
        }
        Event::Pong(_) => Flow::More,
        Event::Close(close) => {
            on_close(shard, id, close.map(|(code, _)| code));
            Flow::End
        }
    }
}

/// The client closes: its code is echoed, behind what waits for it.
fn on_close(shard: &Arc<Shard>, id: ConnectionId, code: Option<u16>) {
    let mut echo = Vec::with_capacity(4);
    match code {
        Some(code) => encode::append_close(&mut echo, code, ""),
        None => encode::append_close_empty(&mut echo),
    }
    shard.with(|state| {
        let Some(connection) = state.connection(id) else { return };
        if !connection.closing {
            connection.closing = true;
            metrics::counter!(crate::metrics::CLOSED, "reason" => "normal").increment(1);
            // An error means that the client did not wait for the echo.
            let _ = connection.send(&echo.into());
        }
    });
}

/// The client broke the framing: the code says how, and nothing more of it is read.
fn refuse(shard: &Arc<Shard>, id: ConnectionId, violation: Violation) {
    tracing::debug!(?id, %violation, "closing a connection that broke the WebSocket protocol");
    let code = match violation.close_code() {
        1007 => CloseCode::InvalidText,
        1009 => CloseCode::TooBig,
        _ => CloseCode::ProtocolError,
    };
    shard.with(|state| state.close(id, code, 1_000));
}

//! One socket's reader: a small task that sleeps while nothing comes, and holds no buffer then.
//!
//! The bytes of a read lie in a buffer that all connections of the thread share; frames are decoded in place, and only
//! what is not whole yet is copied. A connection whose requests wait for answers, or that reads too slowly what it is sent,
//! is not read from: that is the backpressure.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use hubbub_core::code::CloseCode;
use hubbub_wire::ws::{Decoder, Event, Limits, Violation, encode};
use tokio::io::Interest;

use crate::member::{ConnectionId, Socket};
use crate::shard::Shard;
use crate::ws::requests;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What one read gave.
enum ReadStep {
    /// Go on.
    More,
    /// Stop until the connection has fewer requests in flight, or less to be written.
    Pause,
    /// The connection is over.
    End,
}

/// Reads a connection until it ends, and takes it out of the shard's table. `first` are bytes that came with the handshake.
pub async fn run(shard: Arc<Shard>, id: ConnectionId, socket: Arc<Socket>, first: Bytes) {
    let mut decoder = Decoder::new();
    let limits = Limits {
        frame_bytes_max: shard.gateway.config.frame_bytes_max,
        message_bytes_max: shard.gateway.config.frame_bytes_max,
    };
    let mut step = feed(&shard, id, &mut decoder, limits, &mut first.to_vec());
    loop {
        step = match step {
            ReadStep::End => break,
            ReadStep::Pause => {
                socket.wake.notified().await;
                feed(&shard, id, &mut decoder, limits, &mut [])
            }
            ReadStep::More => match socket.stream.readable().await {
                Err(_) => break,
                Ok(()) => {
                    READ.with_borrow_mut(|buffer| read(&shard, id, &socket, &mut decoder, limits, buffer))
                }
            },
        };
    }
    shard.remove(id);
}

fn read(
    shard: &Arc<Shard>,
    id: ConnectionId,
    socket: &Socket,
    decoder: &mut Decoder,
    limits: Limits,
    buffer: &mut [u8],
) -> ReadStep {
    let mut got = Err(ErrorKind::WouldBlock.into());
    // A read that did not fill the buffer took all there was: told `WouldBlock`, the runtime waits for the next edge
    // instead of a second system call that finds nothing.
    let _ = socket.stream.try_io(Interest::READABLE, || {
        got = rustix::io::read(&socket.stream, &mut *buffer).map_err(std::io::Error::from);
        match &got {
            Ok(n) if *n == buffer.len() || *n == 0 => Ok(()),
            Ok(_) => Err(ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.kind().into()),
        }
    });
    match got {
        Ok(0) => ReadStep::End,
        Ok(n) => feed(shard, id, decoder, limits, &mut buffer[..n]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            ReadStep::More
        }
        Err(_) => ReadStep::End,
    }
}

fn feed(
    shard: &Arc<Shard>,
    id: ConnectionId,
    decoder: &mut Decoder,
    limits: Limits,
    bytes: &mut [u8],
) -> ReadStep {
    let mut over = false;
    let mut frames = 0;
    let fed = decoder.feed(limits, bytes, |event| {
        frames += 1;
        let flow = on_event(shard, id, event);
        over |= matches!(flow, Flow::End);
        match flow {
            Flow::More => ControlFlow::Continue(()),
            Flow::Pause | Flow::End => ControlFlow::Break(()),
        }
    });
    let now = shard.now();
    let gone = shard.with(|state| {
        state.counts.frames_in += frames;
        state.connection(id).map(|connection| (connection.heard, connection.pinged) = (now, false)).is_none()
    });
    match fed {
        Err(violation) => {
            refuse(shard, id, violation);
            ReadStep::More
        }
        Ok(_) if over || gone => ReadStep::End,
        Ok(ControlFlow::Break(())) => ReadStep::Pause,
        Ok(ControlFlow::Continue(())) => ReadStep::More,
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

fn on_event(shard: &Arc<Shard>, id: ConnectionId, event: Event<'_>) -> Flow {
    match event {
        Event::Text(text) => requests::on_text(shard, id, text),
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
            let _ = connection.send(echo.into());
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

//! The socket: upgrade, frames in, frames out.
//!
//! fastwebsockets reads and writes through one value, and its `read_frame` may not be cancelled. So the stream is
//! split after the upgrade, and each half has its own: the reader belongs to one loop that only reads.

use std::io;

use fastwebsockets::{FragmentCollector, OpCode, Payload, Role, WebSocket, WebSocketError};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncWriteExt, Join, ReadHalf, Sink, WriteHalf, join, sink, split};

use crate::Error;
use crate::net;
use crate::raw::Frame;

/// Largest message that is read: a page of 1,000 entries with pictures is far below.
const MESSAGE_BYTES_MAX: usize = 512 << 20;
/// A write buffer larger than this is given back after it was written.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

type Stream = TokioIo<Upgraded>;

/// A frame to the server.
#[derive(Debug)]
pub(crate) enum Out {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
}

/// Connects and upgrades.
pub(crate) async fn open(url: &str, token: Option<&str>) -> Result<(Reader, Writer), Error> {
    let refused = |reason: String| Error::Connect { status: None, reason };
    let uri: Uri = url.parse().map_err(|error| refused(format!("{url:?} is no address: {error}")))?;
    let authority = uri.authority().ok_or_else(|| refused(format!("{url:?} names no host")))?;
    let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority.as_str())
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "upgrade")
        .header("Sec-WebSocket-Key", fastwebsockets::handshake::generate_key())
        .header("Sec-WebSocket-Version", "13");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| refused(error.to_string()))?;

    let socket = net::connect(&uri).await.map_err(|error| refused(error.to_string()))?;
    let upgraded = fastwebsockets::handshake::client(&TokioExecutor::new(), request, socket).await;
    match upgraded {
        Ok((socket, _response)) => Ok(halves(socket.into_inner())),
        Err(WebSocketError::InvalidStatusCode(status)) => {
            Err(Error::Connect { status: Some(status), reason: "the server did not upgrade".into() })
        }
        Err(error) => Err(refused(error.to_string())),
    }
}

/// What the server sent right behind its answer is still in the stream: the socket was not read yet.
fn halves(stream: Stream) -> (Reader, Writer) {
    let (read, write) = split(stream);
    let mut socket = WebSocket::after_handshake(join(read, sink()), Role::Client);
    socket.set_auto_close(false);
    socket.set_auto_pong(false);
    socket.set_max_message_size(MESSAGE_BYTES_MAX);
    (Reader(FragmentCollector::new(socket)), Writer { half: write, buffer: Vec::new() })
}

/// The half that reads.
pub(crate) struct Reader(FragmentCollector<Join<ReadHalf<Stream>, Sink>>);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// The next frame. Not cancel safe. After `Closed` there is none.
    pub(crate) async fn next(&mut self) -> Frame {
        let frame = match self.0.read_frame().await {
            Ok(frame) => frame,
            Err(WebSocketError::UnexpectedEOF) => {
                return Frame::Closed { code: None, reason: "the socket ended".into() };
            }
            Err(error) => return Frame::Closed { code: None, reason: error.to_string() },
        };
        match frame.opcode {
            OpCode::Text => Frame::Text(String::from_utf8_lossy(&frame.payload).into_owned()),
            OpCode::Binary | OpCode::Continuation => Frame::Binary(frame.payload.to_vec()),
            OpCode::Ping => Frame::Ping(frame.payload.to_vec()),
            OpCode::Pong => Frame::Pong(frame.payload.to_vec()),
            OpCode::Close => match *frame.payload {
                [high, low, ref reason @ ..] => Frame::Closed {
                    code: Some(u16::from_be_bytes([high, low])),
                    reason: String::from_utf8_lossy(reason).into_owned(),
                },
                _ => Frame::Closed { code: None, reason: "a close frame without a code".into() },
            },
        }
    }
}

/// The half that writes: frames are gathered and leave in one write.
#[derive(Debug)]
pub(crate) struct Writer {
    half: WriteHalf<Stream>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Appends a masked frame.
    pub(crate) fn push(&mut self, out: Out) {
        let (opcode, payload) = match out {
            Out::Text(text) => (OpCode::Text, text.into_bytes()),
            Out::Binary(bytes) => (OpCode::Binary, bytes),
            Out::Ping(payload) => (OpCode::Ping, payload),
            Out::Pong(payload) => (OpCode::Pong, payload),
            Out::Close(code) => (OpCode::Close, code.to_be_bytes().to_vec()),
        };
        let mut frame = fastwebsockets::Frame::new(true, opcode, None, Payload::Owned(payload));
        frame.mask();
        let mut head = [0; 16];
        let head_len = frame.fmt_head(&mut head);
        self.buffer.extend_from_slice(&head[..head_len]);
        self.buffer.extend_from_slice(&frame.payload);
    }

    /// Appends bytes as they are.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes what was appended.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let written = self.half.write_all(&self.buffer).await;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        written?;
        self.half.flush().await
    }

    /// Tells the server that nothing more comes.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }
}

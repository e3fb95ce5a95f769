//! A bare socket after the upgrade: for tests of bad input and of what exactly is sent.

use std::io;

use hubbub_core::code::CloseCode;
use serde_json::Value;

use crate::Error;
use crate::socket::{self, Out, Reader, Writer};

/// A connection that says nothing by itself, not even a pong.
#[derive(Debug)]
pub struct Raw {
    reader: Reader,
    writer: Writer,
}

/// A frame from the server, its fragments joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The last one: a close frame, or without one the end of the socket.
    Closed {
        /// The close frame's code.
        code: Option<u16>,
        /// Its reason, or what the system said.
        reason: String,
    },
}

impl Raw {
    /// Connects and upgrades; `token`, if any, goes into the `Authorization` header.
    ///
    /// # Errors
    /// [`Error::Connect`], with the status if the server answered otherwise than by an upgrade.
    pub async fn connect(url: &str, token: Option<&str>) -> Result<Self, Error> {
        let (reader, writer) = socket::open(url, token).await?;
        Ok(Self { reader, writer })
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_text(&mut self, text: impl Into<String>) -> io::Result<()> {
        self.send(Out::Text(text.into())).await
    }

    /// Sends a JSON value as a text frame.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_json(&mut self, value: &Value) -> io::Result<()> {
        self.send(Out::Text(value.to_string())).await
    }

    /// Sends a binary frame.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.send(Out::Binary(bytes)).await
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// The socket's.
    pub async fn ping(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send(Out::Ping(payload.to_vec())).await
    }

    /// Sends a close frame.
    ///
    /// # Errors
    /// The socket's.
    pub async fn close(&mut self, code: CloseCode) -> io::Result<()> {
        self.send(Out::Close(code.number())).await
    }

    /// Sends these bytes and no frame around them.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.push_bytes(bytes);
        self.writer.flush().await
    }

    async fn send(&mut self, out: Out) -> io::Result<()> {
        self.writer.push(out);
        self.writer.flush().await
    }

    /// The next frame. Reading nothing is how a test is a slow consumer.
    ///
    /// *Cancel safety*: none. A future that is dropped may take a part of a frame with it.
    pub async fn next(&mut self) -> Frame {
        self.reader.next().await
    }

    /// The next text frame as JSON; pings and pongs before it are dropped.
    ///
    /// # Errors
    /// The frame that came instead: the close, or one that is not JSON.
    ///
    /// *Cancel safety*: none, see [`next`](Self::next).
    pub async fn next_json(&mut self) -> Result<Value, Frame> {
        loop {
            match self.next().await {
                Frame::Ping(_) | Frame::Pong(_) => {}
                Frame::Text(text) => return serde_json::from_str(&text).map_err(|_| Frame::Text(text)),
                other => return Err(other),
            }
        }
    }
}

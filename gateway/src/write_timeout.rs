//! A client's socket while HTTP is spoken over it: who does not take an answer is not waited for without end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Bytes that wait in the kernel beside those on their way: then it says that there is room when half of them are gone, and not when a
/// third of a buffer of mebibytes is. So who reads slowly is seen to read. The local socket behind TLS has no such setting.
const WAITING_BYTES: u32 = 64 * 1024;
/// A write up to which that does not matter: all that the answer to an upgrade takes, and it would be set for each of these in vain.
const SHORT_BYTES: usize = 4 * 1024;

/// A socket that fails when nothing more could be written to it for a time. As `tokio-io-timeout`'s, but it can be taken apart again, which
/// an upgrade to WebSocket needs.
pub struct WriteTimeout {
    stream: TcpStream,
    within: Duration,
    /// Whether it has no more than [`WAITING_BYTES`].
    bounded: bool,
    /// Runs while the kernel takes nothing.
    late: Option<Pin<Box<Sleep>>>,
}

impl WriteTimeout {
    /// Over this socket.
    pub fn new(stream: TcpStream, within: Duration) -> Self {
        Self { stream, within, bounded: false, late: None }
    }

    /// The socket as it was: whoever takes it has a way of their own with who does not read.
    pub fn into_inner(self) -> TcpStream {
        if self.bounded {
            set_waiting_bytes(&self.stream, 0);
        }
        self.stream
    }

    /// So much is about to be written.
    fn bound(&mut self, bytes: usize) {
        if bytes > SHORT_BYTES && !std::mem::replace(&mut self.bounded, true) {
            set_waiting_bytes(&self.stream, WAITING_BYTES);
        }
    }

    /// What became of a write, or that it took too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.late = None;
            return written;
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(self.within)));
        late.as_mut().poll(cx).map(|()| {
            metrics::counter!(crate::metrics::CLOSED, "reason" => "unread_answer").increment(1);
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

/// Sets how much may wait in the kernel; 0 for what the system does by itself.
fn set_waiting_bytes(stream: &TcpStream, bytes: u32) {
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes);
}

impl AsyncRead for WriteTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.bound(bytes.len());
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bound(parts.iter().map(|part| part.len()).sum());
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

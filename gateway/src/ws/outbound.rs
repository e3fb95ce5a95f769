//! What waits for one socket. Usually nothing: a frame goes to the kernel from the loop that made it, without a task, a wake
//! or a copy. Only when the kernel takes no more does it wait here, and one task writes on when the socket is writable.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;

use bytes::{Buf, Bytes};
use hubbub_wire::socketio::engine::BodyMaker;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of several pieces that are handed to the kernel in one call.
const GATHERED_BYTES: usize = 16 * 1024;
/// What may wait for a client that polls before it counts as one whose socket takes no more: about what the kernel would keep for it, and
/// more than two pictures, which it may well be sent between two polls.
const KEPT_BYTES: usize = 1024 * 1024;

/// What a piece that waits takes beside its bytes: a place in the queue, which may be twice as long as it has to be, and what
/// an allocation takes. Of a pong that is nearly all.
const PIECE_BYTES: usize = 96;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All of it is with the kernel.
    All,
    /// The rest waits; write again when the socket is writable.
    Blocked,
    /// The connection is gone.
    Broken,
}

thread_local! {
    /// An answer and an event for one client are short: to copy them costs less than a call with a vector.
    static GATHERED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(GATHERED_BYTES));
}

/// Frames in order. It gives its memory back when it is empty.
#[derive(Default)]
pub struct Outbound {
    queue: VecDeque<Bytes>,
    bytes: usize,
    blocked: bool,
}

impl Outbound {
    /// Bytes of memory that what waits takes; none, if nothing does.
    pub fn waiting(&self) -> usize {
        self.bytes + self.queue.len() * PIECE_BYTES
    }

    /// Whether the kernel took no more, and a task waits for it.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Keeps what waits for a client that fetches it.
    pub fn keep(&mut self) {
        self.blocked = self.waiting() > KEPT_BYTES;
    }

    /// Gives what waits to a client that fetches it, as much as its body takes.
    pub fn fetch(&mut self, body: &mut BodyMaker) {
        while !body.is_full()
            && let Some(mut front) = self.queue.pop_front()
        {
            self.bytes -= front.len();
            front.advance(body.take(&front));
            // Only a full body leaves something of it.
            if body.is_full() && !front.is_empty() {
                self.bytes += front.len();
                self.queue.push_front(front);
            }
        }
        self.keep();
    }

    /// From now on what waits is written to a socket.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Puts frames behind what waits.
    pub fn push(&mut self, frames: Bytes) {
        if frames.is_empty() {
            // The kernel would take nothing of it for ever.
            return;
        }
        self.bytes += frames.len();
        self.queue.push_back(frames);
    }

    /// Sends frames behind what waits: at once, if nothing does.
    pub fn send(&mut self, stream: &TcpStream, frames: &Bytes) -> Written {
        if self.blocked {
            self.push(frames.clone());
            return Written::Blocked;
        }
        if !self.queue.is_empty() {
            self.push(frames.clone());
            return self.write(stream);
        }
        match send_now(stream, frames) {
            Ok(n) if n == frames.len() => Written::All,
            Ok(n) => {
                self.push(frames.slice(n..));
                self.block()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.push(frames.clone());
                self.block()
            }
            Err(_) => self.break_off(),
        }
    }

    /// Writes what waits.
    pub fn write(&mut self, stream: &TcpStream) -> Written {
        self.blocked = false;
        while let Some(front) = self.queue.front() {
            let result = match self.queue.len() == 1 || front.len() >= GATHERED_BYTES {
                true => send_now(stream, front),
                false => GATHERED.with_borrow_mut(|gathered| {
                    gathered.clear();
                    for piece in &self.queue {
                        let room = GATHERED_BYTES - gathered.len();
                        if room == 0 {
                            // The rest may be long.
                            break;
                        }
                        gathered.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                    send_now(stream, gathered)
                }),
            };
            match result {
                Ok(n) => self.advance(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(),
                Err(_) => return self.break_off(),
            }
        }
        // A queue keeps its greatest size for ever unless it is told otherwise.
        self.queue = VecDeque::new();
        Written::All
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(front) = self.queue.front_mut() else { return };
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }

    fn block(&mut self) -> Written {
        self.blocked = true;
        Written::Blocked
    }

    fn break_off(&mut self) -> Written {
        *self = Self::default();
        Written::Broken
    }

    /// Drops what waits, but for the piece that may be half written: the next frame must begin at a frame's boundary.
    pub fn keep_first(&mut self) {
        self.queue.truncate(1);
        self.bytes = self.queue.front().map_or(0, Bytes::len);
    }
}

/// Hands bytes to the kernel without a look at what the runtime knows of the socket: that look is a cache miss a delivery.
/// If the kernel takes nothing, the runtime is told, so that it waits for the next time that it does.
fn send_now(stream: &TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    let sent = rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    match sent {
        Ok(n) => Ok(n),
        Err(Errno::AGAIN) => stream.try_io(Interest::WRITABLE, || Err(ErrorKind::WouldBlock.into())),
        // Try again when it can be written to: that is at once.
        Err(Errno::INTR) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use hubbub_wire::socketio::engine::Generation;
    use hubbub_wire::ws::encode;

    use super::*;

    #[test]
    fn a_client_that_polls_is_given_all_in_its_order_a_body_at_a_time() {
        let mut out = Outbound::default();
        for piece in [0..7, 7..20, 20..21] {
            let mut frames = Vec::new();
            piece.for_each(|n| encode::append_text(&mut frames, &[format!("4{n}").as_bytes()]));
            out.push(frames.into());
        }
        out.push(Bytes::new());
        let mut fetched = Vec::new();
        for _ in 0..2 {
            let mut body = BodyMaker::new(Generation::V4);
            out.fetch(&mut body);
            let (body, ends) = body.finish();
            assert!(!ends);
            fetched.push(String::from_utf8(body).unwrap());
        }
        assert_eq!(out.waiting(), 0);
        let expected: Vec<_> = (0..21).map(|n| format!("4{n}")).collect();
        let found: Vec<_> = fetched.iter().flat_map(|body| body.split('\u{1e}')).collect();
        assert_eq!(
            (found, fetched[0].split('\u{1e}').count()),
            (expected.iter().map(String::as_str).collect(), 16)
        );
    }

    #[test]
    fn what_waits_for_a_client_that_polls_holds_it_up_from_a_size_on() {
        let mut out = Outbound::default();
        out.push(vec![0; KEPT_BYTES - PIECE_BYTES].into());
        out.keep();
        assert!(!out.is_blocked());
        out.push(Bytes::from_static(b"x"));
        out.keep();
        assert!(out.is_blocked());
    }

    #[test]
    fn what_waits_counts_with_what_keeping_it_takes() {
        let mut out = Outbound::default();
        out.push(Bytes::new());
        assert_eq!(out.waiting(), 0);
        for _ in 0..1_000 {
            out.push(Bytes::from_static(b"po"));
        }
        assert_eq!(out.waiting(), 1_000 * (2 + PIECE_BYTES));
        out.advance(1_001);
        assert_eq!(out.waiting(), 999 + 500 * PIECE_BYTES);
    }
}

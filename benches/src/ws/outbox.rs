//! The writing side of a connection: straight to the socket, or behind what already waits.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;

use tokio::net::tcp::OwnedWriteHalf;

/// What may wait for one connection; a reader that is further behind is cut off.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

/// Writes from whoever has something to say; only a blocked connection has a task of its own.
#[derive(Debug)]
pub struct Outbox {
    half: OwnedWriteHalf,
    waiting: RefCell<Vec<u8>>,
    closed: Cell<bool>,
}

impl Outbox {
    /// An outbox with nothing in it.
    pub fn new(half: OwnedWriteHalf) -> Rc<Self> {
        Rc::new(Self { half, waiting: RefCell::new(Vec::new()), closed: Cell::new(false) })
    }

    /// Sends whole frames, in the order of the calls. What can't be sent any more is dropped.
    pub fn write(self: &Rc<Self>, frames: &[u8]) {
        if self.closed.get() {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            if waiting.len() + frames.len() > WAITING_BYTES_MAX {
                self.closed.set(true);
            } else {
                waiting.extend_from_slice(frames);
            }
            return;
        }
        let sent = match self.half.try_write(frames) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return self.closed.set(true),
        };
        if sent < frames.len() {
            waiting.extend_from_slice(&frames[sent..]);
            tokio::task::spawn_local(Rc::clone(self).flush());
        }
    }

    /// Whether it was cut off or the other side went.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    async fn flush(self: Rc<Self>) {
        while !self.closed.get() {
            if self.half.writable().await.is_err() {
                self.closed.set(true);
            }
            let mut waiting = self.waiting.borrow_mut();
            match self.half.try_write(&waiting) {
                Ok(sent) if sent == waiting.len() => {
                    *waiting = Vec::new();
                    return;
                }
                Ok(sent) => drop(waiting.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.closed.set(true),
            }
        }
    }
}

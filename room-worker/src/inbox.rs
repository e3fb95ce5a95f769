//! Where asks wait for the partition's loop, bounded in number and bytes.
//!
//! The bounds count every ask from its arrival to its answer, wherever in the loop it waits: what a stuck store holds up
//! is bounded with it. When full, an ask is answered `unavailable` at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hubbub_core::ports::bus::Reply;
use hubbub_wire::tier::act::Told;
use hubbub_wire::tier::parcel;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics;

/// The asks of one partition.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    notify: Notify,
    asks: AtomicUsize,
    bytes: AtomicUsize,
    asks_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Asked>,
    closed: bool,
}

/// An ask as it came.
pub(crate) struct Asked {
    pub(crate) payload: Bytes,
    pub(crate) asker: Asker,
    pub(crate) arrived: Instant,
}

/// Somebody who waits for an answer and gets one: dropped, it is `unavailable`.
pub(crate) struct Asker {
    reply: Option<Reply>,
    inbox: Arc<Inbox>,
    bytes: usize,
}

impl Inbox {
    pub(crate) fn new(asks_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            notify: Notify::new(),
            asks: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            asks_max,
            bytes_max,
        })
    }

    /// Takes an ask, or answers it: the inbox is full or closed.
    pub(crate) fn push(self: &Arc<Self>, payload: Bytes, reply: Reply) {
        let bytes = payload.len();
        let asks_before = self.asks.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let asker = Asker { reply: Some(reply), inbox: self.clone(), bytes };
        if asks_before >= self.asks_max || bytes_before + bytes > self.bytes_max {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            // Answering may run the asker's code: not under the lock.
            drop(queue);
            return;
        }
        queue.waiting.push(Asked { payload, asker, arrived: Instant::now() });
        // The loop takes all that waits: only the first has to wake it.
        if queue.waiting.len() == 1 {
            drop(queue);
            self.notify.notify_one();
        }
    }

    /// Takes all that waits, in the order of arrival. `into` is empty, and lends its memory.
    pub(crate) fn take_all(&self, into: &mut Vec<Asked>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.waiting, into);
    }

    /// Waits until something is there.
    pub(crate) async fn arrival(&self) {
        self.notify.notified().await;
    }

    /// Takes no more from now on. What waits is still to be taken.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }

    /// How many asks are not answered yet.
    pub(crate) fn held(&self) -> usize {
        self.asks.load(Ordering::Relaxed)
    }
}

impl Asker {
    /// Answers.
    pub(crate) fn tell(mut self, payload: Bytes) {
        if let Some(reply) = self.reply.take() {
            reply.send(payload);
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.inbox.asks.fetch_sub(1, Ordering::Relaxed);
        self.inbox.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(reply) = self.reply.take() {
            ::metrics::counter!(metrics::ASKS.name, "outcome" => "unavailable").increment(1);
            reply.send(parcel::pack(&Told::Unavailable));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn ask(inbox: &Arc<Inbox>, bytes: usize) -> mpsc::Receiver<Bytes> {
        let (to, from) = mpsc::channel();
        inbox.push(vec![0; bytes].into(), Reply::new(move |payload| _ = to.send(payload)));
        from
    }

    fn is_unavailable(answer: &mpsc::Receiver<Bytes>) -> bool {
        answer.try_recv().is_ok_and(|mut p| matches!(parcel::header(&mut p), Ok(Told::Unavailable)))
    }

    #[test]
    fn a_full_inbox_answers_at_once() {
        let inbox = Inbox::new(2, 100);
        let first = ask(&inbox, 50);
        assert!(is_unavailable(&ask(&inbox, 51)), "over its bytes");
        let second = ask(&inbox, 50);
        assert!(is_unavailable(&ask(&inbox, 0)), "over its number");
        let mut taken = Vec::new();
        inbox.take_all(&mut taken);
        assert_eq!((taken.len(), inbox.held()), (2, 2), "what was taken counts until it is answered");
        assert!(is_unavailable(&ask(&inbox, 0)));
        taken.remove(0).asker.tell(Bytes::from_static(b"yes"));
        assert_eq!(first.try_recv().unwrap(), "yes");
        let third = ask(&inbox, 0);
        drop(taken);
        assert!(is_unavailable(&second), "dropped is not silence");
        inbox.close();
        assert!(is_unavailable(&ask(&inbox, 0)));
        assert!(third.try_recv().is_err(), "what waits when it closes is still to be taken");
    }
}

//! Where asks wait for the partition's loop, bounded in number and bytes.
//!
//! The bounds count every ask from its arrival to its answer, wherever in the loop it waits: what a stuck store holds up
//! is bounded with it. When full, an ask is answered `unavailable` at once; when closed, that the partition has moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubbub_core::ports::bus::{Message, Payload, Reply};
use hubbub_wire::tier::act::Told;
use tokio::time::Instant;

use crate::gathered::Gathered;
use crate::metrics;
use crate::traced::TracedAsk;

/// The asks of one partition.
pub(crate) struct Inbox {
    waiting: Gathered<Asked>,
    asks: AtomicUsize,
    bytes: AtomicUsize,
    asks_max: usize,
    bytes_max: usize,
}

/// An ask as it came.
pub(crate) struct Asked {
    pub(crate) payload: Payload,
    pub(crate) asker: Asker,
    pub(crate) arrived: Instant,
}

/// Somebody who waits for an answer and gets one: dropped, it is `unavailable`, or of a closed inbox that the partition has moved.
pub(crate) struct Asker {
    reply: Option<Reply>,
    inbox: Arc<Inbox>,
    bytes: usize,
    pub(crate) traced: Option<Box<TracedAsk>>,
}

impl Inbox {
    pub(crate) fn new(asks_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Gathered::default(),
            asks: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            asks_max,
            bytes_max,
        })
    }

    /// Takes an ask, or answers it: the inbox is full or closed.
    pub(crate) fn push(self: &Arc<Self>, Message { payload, traces }: Message, reply: Reply) {
        let bytes = payload.size();
        let asks_before = self.asks.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let traced = traces.first().map(|trace| TracedAsk::arrived(*trace));
        let asker = Asker { reply: Some(reply), inbox: self.clone(), bytes, traced };
        if asks_before >= self.asks_max || bytes_before + bytes > self.bytes_max {
            return;
        }
        // One that is given back is answered as it goes: that may run the asker's code, and is not under the lock.
        _ = self.waiting.push(Asked { payload, asker, arrived: Instant::now() });
    }

    /// Takes all that waits, in the order of arrival. `into` is empty, and lends its memory.
    pub(crate) fn take_all(&self, into: &mut Vec<Asked>) {
        self.waiting.take_all(into);
    }

    /// Waits until something is there.
    pub(crate) async fn arrival(&self) {
        self.waiting.arrival().await;
    }

    /// Takes no more from now on. What waits is still to be taken.
    pub(crate) fn close(&self) {
        self.waiting.close();
    }

    /// How many asks are not answered yet.
    pub(crate) fn held(&self) -> usize {
        self.asks.load(Ordering::Relaxed)
    }
}

impl Asker {
    /// Answers.
    pub(crate) fn tell(mut self, payload: impl Into<Payload>) {
        if let Some(reply) = self.reply.take() {
            // Its span ends before whoever hears the answer ends theirs.
            self.traced = None;
            reply.send(payload);
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.inbox.asks.fetch_sub(1, Ordering::Relaxed);
        self.inbox.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(reply) = self.reply.take() {
            let (outcome, told) = match self.inbox.waiting.is_closed() {
                true => ("moved", Told::Moved),
                false => ("unavailable", Told::Unavailable),
            };
            ::metrics::counter!(metrics::ASKS, "outcome" => outcome).increment(1);
            if let Some(mut traced) = self.traced.take() {
                traced.fail();
            }
            reply.send(Payload::whole(told));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;
    use hubbub_wire::tier::parcel;

    use super::*;

    fn ask(inbox: &Arc<Inbox>, bytes: usize) -> mpsc::Receiver<Payload> {
        let (to, from) = mpsc::channel();
        inbox.push(Bytes::from(vec![0; bytes]).into(), Reply::new(move |payload| _ = to.send(payload)));
        from
    }

    fn told(answer: &mpsc::Receiver<Payload>) -> Option<Told> {
        answer.try_recv().ok().map(|mut payload| parcel::header(&mut payload).unwrap())
    }

    fn is_unavailable(answer: &mpsc::Receiver<Payload>) -> bool {
        matches!(told(answer), Some(Told::Unavailable))
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
        assert_eq!(first.try_recv().unwrap().into_bytes(), "yes");
        let third = ask(&inbox, 0);
        drop(taken);
        assert!(is_unavailable(&second), "dropped is not silence");
        inbox.close();
        assert!(matches!(told(&ask(&inbox, 0)), Some(Told::Moved)));
        assert!(third.try_recv().is_err(), "what waits when it closes is still to be taken");
    }
}

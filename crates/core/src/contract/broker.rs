//! The contract of the `Broker` port.

use bytes::Bytes;

use crate::ids::Millis;
use crate::ports::PortFuture;
use crate::ports::broker::{Broker, Delivery, Outgoing, Settled};

/// A broker, and the side of it where the bots are.
pub trait Bots: Sync {
    /// The broker.
    fn broker(&self) -> &dyn Broker;
    /// The next command's id and body.
    fn take(&self) -> PortFuture<'_, (String, Bytes)>;
    /// An answer, with an id or without.
    fn say(&self, id: Option<&'static str>, body: &'static str) -> PortFuture<'_, ()>;
}

fn words(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.body).expect("text")
}

/// What was confirmed is there for the bots, as it was sent.
pub async fn a_confirmed_command_is_in_the_queue(bots: &dyn Bots) {
    for n in 0..3 {
        let (id, body) = (format!("c{n}"), Bytes::from(format!("command {n}")));
        bots.broker().send(Outgoing { id, body, at: Millis(1) }).await.expect("confirmed");
    }
    for n in 0..3 {
        let (id, body) = bots.take().await;
        assert_eq!((id, body), (format!("c{n}"), Bytes::from(format!("command {n}"))));
    }
    assert_eq!(bots.broker().trouble(), None);
}

/// What is done with, or refused, does not come again; what was dropped does, under the same id.
pub async fn what_is_not_settled_comes_again(bots: &dyn Bots) {
    for (id, body) in [(Some("a"), "done"), (Some("b"), "refused"), (Some("c"), "dropped")] {
        bots.say(id, body).await;
    }
    for how in [Settled::Done, Settled::Refused] {
        bots.broker().receive().await.settle(how);
    }
    drop(bots.broker().receive().await);
    let again = bots.broker().receive().await;
    assert_eq!((again.id.as_str(), words(&again)), ("c", "dropped"));
    again.settle(Settled::Done);
    bots.say(Some("d"), "last").await;
    let last = bots.broker().receive().await;
    assert_eq!((last.id.as_str(), words(&last)), ("d", "last"));
    last.settle(Settled::Done);
}

/// An answer without an id has one, which it keeps when it comes again; the same words said twice have two.
pub async fn an_answer_without_an_id_is_known_again(bots: &dyn Bots) {
    bots.say(None, "twice").await;
    bots.say(None, "twice").await;
    let (first, second) = (bots.broker().receive().await, bots.broker().receive().await);
    assert_eq!((words(&first), words(&second)), ("twice", "twice"));
    assert!(!first.id.is_empty() && first.id != second.id, "{} and {}", first.id, second.id);
    let mut ids = [first.id.clone(), second.id.clone()];
    drop((first, second));
    let (first, second) = (bots.broker().receive().await, bots.broker().receive().await);
    let mut again = [first.id.clone(), second.id.clone()];
    ids.sort();
    again.sort();
    assert_eq!(ids, again);
    first.settle(Settled::Done);
    second.settle(Settled::Done);
}

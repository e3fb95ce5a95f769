//! What operators order of a room's log: to erase messages of a user, or to trim what is not kept.
//!
//! An order is carried out in parts, each asked for by itself: so one costs the room no more than a page of history, and whoever asks
//! sees how far it is. A room has one at a time: what one goes through another does not trim meanwhile.

use hubbub_core::entry::{Erasure, Retention};
use hubbub_core::ids::{Epoch, Partition, RoomId, Seq, User, UserId};
use hubbub_core::ports::store::{Segment, Store};
use hubbub_wire::tier::act::{EraseFrom, Trimmed};
use tokio::time::Instant;

use crate::erasing::erase_some;
use crate::error::OpenError;
use crate::inbox::Asker;
use crate::metrics;
use crate::partition::{Done, Writer};
use crate::recovery::Link;
use crate::retry::patiently;
use crate::trimming::trim_some;

/// Somebody wants a part of it done.
pub(crate) struct Order {
    pub(crate) by: User,
    pub(crate) job: Job,
    pub(crate) asker: Asker,
    /// How long they wait.
    pub(crate) until: Instant,
}

/// What.
pub(crate) enum Job {
    /// An author's messages, from there on.
    Erase { author: UserId, from: Option<EraseFrom> },
    /// What is not kept: all of it, or what is worth an entry.
    Trim { fully: bool },
}

/// Which part of a log is known to be in the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// The epoch from whose segment it is read.
    pub(crate) newest: Epoch,
    /// Up to here.
    pub(crate) head: Seq,
    /// Our epoch.
    pub(crate) own: Epoch,
    /// Our segment, which may not be there yet.
    pub(crate) link: Link,
    /// Whose fence says whether the epoch is still ours.
    pub(crate) partition: Partition,
    /// Earlier epochs are barred since the room was opened: there are never more of them.
    pub(crate) barred: bool,
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Part {
    Erased(Slice),
    /// Rows went, or there is nothing to do.
    Trimmed(Trimmed),
    /// By what is said of the log it should begin at `first`. What is before `gone` is gone already.
    Due {
        retention: Retention,
        first: Seq,
        gone: Seq,
    },
}

/// A part of a log that was gone through.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) count: u64,
    pub(crate) reached: Reached,
}

/// How far.
#[derive(Debug)]
pub(crate) enum Reached {
    Here(EraseFrom),
    /// The end: the author's last message, and what the log says of their messages so far.
    End {
        last: Seq,
        said: Option<Erasure>,
    },
}

impl Writer {
    /// Begins what was ordered of a room, if nothing is being carried out in it.
    pub(crate) fn start_order(&mut self, room: &RoomId) {
        let (partition, epoch) = (self.voice.partition, self.voice.epoch);
        let Some(open) = self.rooms.get_mut(room).and_then(|slot| slot.open.as_mut()) else { return };
        let Some((order, scope)) = open.take_order(partition, epoch) else { return };
        let (store, room, now) = (self.tier.ports.store.clone(), room.clone(), (self.tier.config.clock)());
        self.work.push(Box::pin(async move {
            let part = match &order.job {
                Job::Erase { author, from } => {
                    let erase = || erase_some(store.clone(), room.clone(), author.clone(), *from, scope);
                    patiently(erase).await.map(Part::Erased)
                }
                Job::Trim { fully } => {
                    patiently(|| trim_some(store.clone(), room.clone(), *fully, now, scope)).await
                }
            };
            Done::Ordered(room, Box::new(order), part)
        }));
    }

    pub(crate) fn on_ordered(&mut self, room: &RoomId, order: Order, part: Result<Part, OpenError>) {
        let part = match part {
            Ok(part) => Some(part),
            Err(error @ OpenError::Damaged { .. }) => {
                tracing::error!(%error, "a log can't be gone through for what is to be erased or trimmed");
                None
            }
            Err(error) => {
                tracing::warn!(%room, %error, "what was ordered of a room can't be done now");
                None
            }
        };
        if let Some(Part::Erased(slice)) = &part {
            ::metrics::counter!(metrics::ERASED).increment(slice.count);
        }
        let turn = self.now();
        if let Some(slot) = self.rooms.get_mut(room)
            && let Some(open) = slot.open.as_mut()
        {
            open.carried_out(order, part, &turn);
            self.listed.list(room, slot);
        }
        self.start_order(room);
    }
}

/// The segments of a room; an error if there is one of a later holder: what that has committed is not ours to judge.
pub(crate) async fn segments_of(
    store: &dyn Store,
    room: &RoomId,
    scope: Scope,
) -> Result<Vec<Segment>, OpenError> {
    let segments = store.segments(room.clone()).await.map_err(|error| OpenError::of(room, error))?;
    match segments.last().filter(|segment| segment.epoch > scope.own) {
        Some(newer) => Err(OpenError::Fenced(newer.epoch)),
        None => Ok(segments),
    }
}

//! What a holder publishes. Best effort: a reader who missed something reads the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{Epoch, LogId, Partition, RoomId, Seq};
use hubbub_core::ports::bus::{Bus, Message, Payload, Subject};
use hubbub_node::trace;
use hubbub_wire::tier::event::{Batch, Committed, ENTRY_OVERHEAD, Heads, Joined, Numbered, RoomMade};
use hubbub_wire::tier::parcel;
use tokio::time::Instant;

use crate::metrics::{self, BatchMeters};
use crate::traced::{TracedEntry, is_in};

/// Bytes with which a payload ends. One more entry and all headers still fit the bus.
const PAYLOAD_BYTES: usize = 512 * 1024;

/// Heads in one payload: of rooms with the longest ids it is below the bus's limit.
const HEADS_MAX: usize = 5_000;

/// For how long the last join is said again, each second.
const SAID_AGAIN: Duration = Duration::from_secs(3);

/// The voice of one holder.
pub(crate) struct Voice {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) partition: Partition,
    pub(crate) epoch: Epoch,
    pub(crate) log: LogId,
    pub(crate) joins: Mutex<Joins>,
    /// Counts what it tells.
    pub(crate) meters: BatchMeters,
}

/// The joins that were announced.
#[derive(Default)]
pub(crate) struct Joins {
    count: u64,
    /// The last one, and when.
    last: Option<(Joined, Instant)>,
}

/// Something to tell of once the lists show it.
pub(crate) enum Announcement {
    Joined(Joined),
    Made(RoomMade),
}

impl Announcement {
    /// What there is to tell of an entry.
    pub(crate) fn of(room: &RoomId, entry: &Entry) -> impl Iterator<Item = Self> {
        let made = entry.facts.as_ref().filter(|_| entry.seq.0 == 1).map(|facts| {
            let (id, name, topic) = (room.clone(), facts.name.clone(), facts.topic.clone());
            Self::Made(RoomMade { id, name, topic, owner: facts.owner.clone() })
        });
        let joined = (entry.kind == Kind::Join).then(|| {
            let (room, user, seq) = (room.clone(), entry.shown_user(), entry.seq);
            Self::Joined(Joined { room, user, seq, numbered: None })
        });
        made.into_iter().chain(joined)
    }
}

impl Voice {
    /// Publishes committed entries, in payloads that fit the bus. `members` is how many there are after each, `traced` are
    /// those of sampled asks.
    pub(crate) fn publish_entries(
        &self,
        room: &RoomId,
        entries: &[Entry],
        members: &[u64],
        traced: &[TracedEntry],
    ) {
        let subject = Subject::Events(self.partition, room.clone());
        let mut from = 0;
        while from < entries.len() {
            let mut bytes = 0;
            let fitting = entries[from..].iter().take_while(|entry| {
                let fits = bytes < PAYLOAD_BYTES;
                bytes += entry.json.len() + ENTRY_OVERHEAD;
                fits
            });
            let upto = from + fitting.count();
            let batch =
                Batch { room: room.clone(), log: self.log, epoch: self.epoch, members: members[upto - 1] };
            let entries = &entries[from..upto];
            let payload = Payload::whole(Committed { batch, entries: entries.to_vec() });
            let traces = traced.iter().filter(|traced| is_in(traced, entries)).map(|traced| traced.trace);
            self.publish(&subject, Message { payload, traces: traces.collect() });
            from = upto;
        }
    }

    /// Publishes where rooms' logs end.
    pub(crate) fn publish_heads(&self, heads: &[(RoomId, Seq)]) {
        for heads in heads.chunks(HEADS_MAX) {
            let heads = Heads { log: self.log, epoch: self.epoch, heads: heads.to_vec() };
            self.publish(&Subject::Heads(self.partition), parcel::pack(&heads).into());
        }
    }

    /// Publishes what the lists show by now.
    pub(crate) fn announce(&self, announcement: &Announcement) {
        match announcement {
            Announcement::Joined(joined) => {
                let mut joins = self.lock_joins();
                joins.count += 1;
                let (partition, epoch) = (self.partition, self.epoch);
                let numbered = Some(Numbered { partition, epoch, number: joins.count });
                let joined = Joined { numbered, ..joined.clone() };
                self.publish(&Subject::Memberships, parcel::pack(&joined).into());
                joins.last = Some((joined, Instant::now()));
            }
            Announcement::Made(made) => self.publish(&Subject::Directory, parcel::pack(made).into()),
        }
    }

    /// Announces the last join again, if it was of late: it may have been lost, and no next one with a higher number shows that.
    pub(crate) fn say_last_join_again(&self) {
        let mut joins = self.lock_joins();
        match &joins.last {
            Some((joined, at)) if at.elapsed() <= SAID_AGAIN => {
                self.publish(&Subject::Memberships, parcel::pack(joined).into());
            }
            _ => joins.last = None,
        }
    }

    fn lock_joins(&self) -> std::sync::MutexGuard<'_, Joins> {
        // A panic elsewhere can at worst leave a number that nobody heard: a loss that is none.
        self.joins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, subject: &Subject, message: Message) {
        let _within = trace::enter(message.traces.first().copied());
        if let Err(error) = self.bus.publish(subject, message) {
            ::metrics::counter!(metrics::PUBLISH_FAILURES).increment(1);
            tracing::warn!(?subject, %error, "an event was not published");
        }
    }
}

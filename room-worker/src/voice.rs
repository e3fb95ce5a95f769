//! What a holder publishes. Best effort: a reader who missed something reads the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{Epoch, LogId, Partition, RoomId, Seq, User};
use hubbub_core::ports::bus::{Bus, Message, Payload, Subject};
use hubbub_node::trace;
use hubbub_wire::tier::event::{Announced, Batch, Committed, ENTRY_OVERHEAD, Heads, Joined, RoomMade};
use hubbub_wire::tier::parcel;

use crate::metrics::{self, BatchMeters};
use crate::traced::{TracedEntry, is_in};

/// Bytes with which a payload ends. One more entry and all headers still fit the bus.
const PAYLOAD_BYTES: usize = 512 * 1024;

/// Heads in one payload: of rooms with the longest ids it is below the bus's limit.
const HEADS_MAX: usize = 5_000;

/// The voice of one holder.
pub(crate) struct Voice {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) partition: Partition,
    pub(crate) epoch: Epoch,
    pub(crate) log: LogId,
    /// How many joins were announced.
    pub(crate) joins: AtomicU64,
    /// Counts what it tells.
    pub(crate) meters: BatchMeters,
}

/// Something to tell of once the lists show it.
pub(crate) enum Announcement {
    Joined { room: RoomId, user: User, seq: Seq },
    Made(RoomMade),
}

impl Announcement {
    /// What there is to tell of an entry.
    pub(crate) fn of(room: &RoomId, entry: &Entry) -> impl Iterator<Item = Self> {
        let made = entry.facts.as_ref().filter(|_| entry.seq.0 == 1).map(|facts| {
            let (id, name, topic) = (room.clone(), facts.name.clone(), facts.topic.clone());
            Self::Made(RoomMade { id, name, topic, owner: facts.owner.clone() })
        });
        let joined = (entry.kind == Kind::Join).then(|| Self::Joined {
            room: room.clone(),
            user: entry.shown_user(),
            seq: entry.seq,
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
            let announced = Some(self.announced(self.joins.load(Ordering::Relaxed)));
            let heads = Heads { log: self.log, epoch: self.epoch, heads: heads.to_vec(), announced };
            self.publish(&Subject::Heads(self.partition), parcel::pack(&heads).into());
        }
    }

    /// Publishes what the lists show by now.
    pub(crate) fn announce(&self, announcement: &Announcement) {
        match announcement {
            Announcement::Joined { room, user, seq } => {
                let announced = Some(self.announced(self.joins.fetch_add(1, Ordering::Relaxed) + 1));
                let joined = Joined { room: room.clone(), user: user.clone(), seq: *seq, announced };
                self.publish(&Subject::Memberships, parcel::pack(&joined).into());
            }
            Announcement::Made(made) => self.publish(&Subject::Directory, parcel::pack(made).into()),
        }
    }

    fn announced(&self, joins: u64) -> Announced {
        Announced { partition: self.partition, epoch: self.epoch, joins }
    }

    fn publish(&self, subject: &Subject, message: Message) {
        let _within = trace::enter(message.traces.first().copied());
        if let Err(error) = self.bus.publish(subject, message) {
            ::metrics::counter!(metrics::PUBLISH_FAILURES.name).increment(1);
            tracing::warn!(?subject, %error, "an event was not published");
        }
    }
}

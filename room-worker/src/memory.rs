//! Which rooms are in memory: opened at the first ask, put out when nobody asks any more.

use std::time::Duration;

use hubbub_core::ids::RoomId;
use tokio::time::Instant;

use crate::error::OpenError;
use crate::metrics;
use crate::partition::{Done, Ended, Writer};
use crate::recovery::{Opened, first_touch};
use crate::retry::patiently;
use crate::slot::{OpenRoom, Slot, Turn};

/// How often rooms that nobody asks for are looked for.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Part of the rooms that goes when there are too many.
const PUT_OUT_PART: usize = 16;

impl Writer {
    /// Begins a room's first touch, unless the room is none of this partition's.
    pub(crate) fn open(&mut self, room: &RoomId, turn: &Turn) -> bool {
        let config = &self.tier.config;
        let partition = config.partitions.of(room);
        if partition != self.voice.partition {
            // Written here, it would have two writers with two fences.
            tracing::error!(%room, belongs_to = %partition, asked = %self.voice.partition,
                "an ask for a room of another partition; do all nodes agree on their number?");
            return false;
        }
        let (store, members_max) = (self.tier.ports.store.clone(), config.members_max);
        let (id, epoch) = (room.clone(), self.voice.epoch);
        self.work.push(Box::pin(async move {
            let opened = patiently(|| first_touch(store.clone(), id.clone(), epoch, members_max)).await;
            Done::Opened(id, Box::new(opened))
        }));
        self.rooms.insert(room.clone(), Slot::opening(turn.now));
        ::metrics::gauge!(metrics::ROOMS_OPEN.name).increment(1);
        if self.rooms.len() > self.tier.config.open_rooms_max_each() {
            self.put_out_longest_idle();
        }
        true
    }

    pub(crate) fn on_opened(&mut self, room: RoomId, opened: Result<Opened, OpenError>) -> Result<(), Ended> {
        let outcome = match &opened {
            Ok(opened) if opened.found.is_empty() => "quiet",
            Ok(_) => "in_doubt",
            Err(OpenError::Fenced(_)) => "fenced",
            Err(OpenError::Damaged { .. }) => "damaged",
            Err(OpenError::Unavailable { .. }) => "unavailable",
        };
        ::metrics::counter!(metrics::RECOVERIES.name, "outcome" => outcome).increment(1);
        match opened {
            Ok(opened) => {
                if let Some(slot) = self.rooms.get_mut(&room) {
                    slot.open = Some(Box::new(OpenRoom::new(opened)));
                }
                let turn = self.now();
                self.decide(&room, None, &turn);
            }
            Err(OpenError::Fenced(by)) => return Err(Ended::Fenced(by)),
            Err(error @ OpenError::Damaged { .. }) => {
                tracing::error!(%error, "a room can't be opened");
                self.forget(&room);
            }
            Err(error @ OpenError::Unavailable { .. }) => {
                tracing::warn!(%room, %error, "a room can't be opened now");
                self.forget(&room);
            }
        }
        Ok(())
    }

    /// Brings a room's mark up to its log.
    pub(crate) fn insist(&mut self, room: &RoomId) {
        if let Some(open) = self.rooms.get_mut(room).and_then(|slot| slot.open.as_mut()) {
            open.committed.insist();
        }
        self.start_projection(room);
    }

    pub(crate) fn forget(&mut self, room: &RoomId) {
        if self.rooms.remove(room).is_some() {
            ::metrics::gauge!(metrics::ROOMS_OPEN.name).decrement(1);
        }
    }

    /// Puts rooms out of memory that nobody asked for in a while.
    pub(crate) fn sweep(&mut self) {
        let now = Instant::now();
        self.next_sweep = now + SWEEP_EVERY;
        let idle = self.tier.config.room_idle;
        let gone = self.rooms.iter().filter(|(_, slot)| slot.is_quiet() && now - slot.last_used >= idle);
        let gone: Vec<_> = gone.map(|(room, _)| room.clone()).collect();
        gone.iter().for_each(|room| self.put_out(room));
    }

    fn put_out_longest_idle(&mut self) {
        let quiet = self.rooms.iter().filter(|(_, slot)| slot.is_quiet());
        let mut quiet: Vec<_> = quiet.map(|(room, slot)| (slot.last_used, room.clone())).collect();
        // Several at once, so that the next ones find room without a search.
        let count = (self.rooms.len() / PUT_OUT_PART).max(1).min(quiet.len());
        if count < quiet.len() {
            quiet.select_nth_unstable_by_key(count, |(last_used, _)| *last_used);
        }
        quiet.truncate(count);
        quiet.iter().for_each(|(_, room)| self.put_out(room));
    }

    /// Puts a quiet room out of memory: at once, or when its mark is brought up to its log.
    pub(crate) fn put_out(&mut self, room: &RoomId) {
        let Some(slot) = self.rooms.get_mut(room) else { return };
        slot.leaving = true;
        match slot.open.as_ref().is_some_and(|open| open.committed.is_whole()) {
            true => self.forget(room),
            false => self.insist(room),
        }
    }
}

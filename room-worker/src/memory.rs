//! Which rooms are in memory: opened at the first ask, put out when nobody asks any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hubbub_core::ids::RoomId;
use tokio::runtime::Handle;
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
/// What a room takes from which on it isn't let go of in passing.
const LARGE_BYTES: usize = 1024 * 1024;

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
        ::metrics::gauge!(metrics::ROOMS_OPEN).increment(1);
        if self.rooms.len() > self.tier.config.open_rooms_max_each() {
            // Several at once, so that the next ones find room without a search.
            let some = (self.rooms.len() / PUT_OUT_PART).max(1);
            self.put_out_longest_idle(|rooms, _| rooms >= some);
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
        ::metrics::counter!(metrics::RECOVERIES, "outcome" => outcome).increment(1);
        match opened {
            Ok(opened) => {
                if let Some(slot) = self.rooms.get_mut(&room) {
                    slot.open = Some(Box::new(OpenRoom::new(opened)));
                }
                self.weigh(&room);
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
        if let Some(slot) = self.rooms.remove(room) {
            self.account(slot.bytes, 0);
            let_go(slot);
            ::metrics::gauge!(metrics::ROOMS_OPEN).decrement(1);
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

    /// Puts rooms out of memory if those of all partitions take more than they may: this one's part of what is over, and some more.
    /// One that is asked for all the time is read again the next moment, so it is looked at once a second and not at each entry.
    pub(crate) fn put_out_what_is_over(&mut self) {
        let all = self.tier.rooms_bytes.load(Ordering::Relaxed);
        let over = all.saturating_sub(self.tier.config.rooms_bytes_max);
        if over > 0 {
            let share = self.bytes as f64 / all as f64;
            let some = (over as f64 * share) as usize + self.bytes / PUT_OUT_PART;
            self.put_out_longest_idle(|_, bytes| bytes >= some);
        }
    }

    /// Puts quiet rooms out of memory, the longest idle first, until so many rooms or bytes are enough.
    fn put_out_longest_idle(&mut self, is_enough: impl Fn(usize, usize) -> bool) {
        let quiet = self.rooms.iter().filter(|(_, slot)| slot.is_quiet());
        let mut quiet: Vec<_> =
            quiet.map(|(room, slot)| (slot.last_used, slot.bytes, room.clone())).collect();
        quiet.sort_unstable_by_key(|(last_used, ..)| *last_used);
        let (mut rooms, mut bytes) = (0, 0);
        for (_, its_bytes, room) in quiet {
            if is_enough(rooms, bytes) {
                return;
            }
            (rooms, bytes) = (rooms + 1, bytes + its_bytes);
            self.put_out(&room);
        }
    }

    /// Takes note of how much memory a room takes by now.
    pub(crate) fn weigh(&mut self, room: &RoomId) {
        let Some(slot) = self.rooms.get_mut(room) else { return };
        let bytes = slot.size();
        let before = std::mem::replace(&mut slot.bytes, bytes);
        self.account(before, bytes);
    }

    fn account(&mut self, before: usize, bytes: usize) {
        self.bytes = self.bytes - before + bytes;
        // It wraps where there are fewer now.
        self.tier.rooms_bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        ::metrics::gauge!(metrics::ROOMS_BYTES).increment(bytes as f64 - before as f64);
    }

    /// All of them go.
    pub(crate) fn forget_all(&mut self) {
        let all = || self.rooms.values().map(|slot| slot.bytes).sum::<usize>();
        debug_assert!(std::thread::panicking() || self.bytes == all(), "{} {}", self.bytes, all());
        self.account(self.bytes, 0);
        ::metrics::gauge!(metrics::ROOMS_OPEN).decrement(self.rooms.len() as f64);
        self.rooms.drain().for_each(|(_, slot)| let_go(slot));
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

/// Lets a room go; what a large one takes, on a thread that nobody waits for: a million names are some 0.1 s.
fn let_go(slot: Slot) {
    let bytes = slot.bytes;
    if let (Some(open), Ok(runtime)) = (slot.open, Handle::try_current())
        && bytes >= LARGE_BYTES
    {
        let room = open.into_room();
        runtime.spawn_blocking(move || drop(room));
    }
}

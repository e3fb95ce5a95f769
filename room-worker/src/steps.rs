//! The steps of the loop between a decision and its answer: append, fence read, projection.

use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, RoomId};
use hubbub_core::ports::store::Append;
use hubbub_node::trace;
use tokio::time::Instant;

use crate::append::{append, append_again, attempt};
use crate::partition::{Done, Ended, Writer};
use crate::retry::until_done;

impl Writer {
    /// One batch for each room that has something to write and no batch in flight.
    pub(crate) fn start_appends(&mut self) {
        let epoch = self.voice.epoch;
        let mut since = None;
        for room in self.listed.to_append.drain(..) {
            let Some(open) = self.rooms.get_mut(&room).and_then(|slot| slot.open.as_mut()) else { continue };
            open.listed.to_append = false;
            if !open.has_batch() {
                continue;
            }
            let (entries, link) = open.next_batch();
            let store = &self.tier.ports.store;
            let since = *since.get_or_insert_with(Instant::now);
            let batch = Append { room, epoch, entries };
            match link {
                None => {
                    attempt(store, &batch, &self.landings);
                    self.attempts += 1;
                    open.attempted(batch, since);
                }
                Some(link) => {
                    let (store, trace) = (store.clone(), open.traced.of_batch(&batch.entries));
                    let room = batch.room.clone();
                    self.work.push(Box::pin(trace::within(trace, async move {
                        Done::Appended(room, append(store, Some(link), batch).await, since)
                    })));
                }
            }
        }
    }

    /// What came of first attempts; says whether there was anything.
    pub(crate) fn take_landings(&mut self) -> bool {
        let mut landed = std::mem::take(&mut self.landed);
        self.landings.take_all(&mut landed);
        let any = !landed.is_empty();
        self.attempts -= landed.len();
        for (room, done) in landed.drain(..) {
            let Some(slot) = self.rooms.get_mut(&room) else { continue };
            let Some(open) = slot.open.as_mut() else { continue };
            let Some((batch, since)) = open.take_attempted() else { continue };
            match done {
                Ok(()) => {
                    open.landed(batch.entries, since);
                    self.listed.list(&room, slot);
                }
                Err(error) => {
                    let trace = open.traced.of_batch(&batch.entries);
                    let store = self.tier.ports.store.clone();
                    self.work.push(Box::pin(trace::within(trace, async move {
                        Done::Appended(room, append_again(store, error, batch).await, since)
                    })));
                }
            }
        }
        self.landed = landed;
        any
    }

    /// A batch is in the store.
    pub(crate) fn on_appended(&mut self, room: &RoomId, entries: Vec<Entry>, since: Instant) {
        if let Some(slot) = self.rooms.get_mut(room)
            && let Some(open) = slot.open.as_mut()
        {
            open.landed(entries, since);
            self.listed.list(room, slot);
        }
    }

    /// One fence read for all that waits for one.
    pub(crate) fn start_fence_read(&mut self) {
        if self.covering.is_some() || self.listed.to_cover.is_empty() {
            return;
        }
        let mut covering = Vec::with_capacity(self.listed.to_cover.len());
        for room in self.listed.to_cover.drain(..) {
            let Some(open) = self.rooms.get_mut(&room).and_then(|slot| slot.open.as_mut()) else { continue };
            open.listed.to_cover = false;
            covering.push(open.cover(room));
            open.weigh_on_the_way(&mut self.listed.on_the_way);
        }
        let trace = covering.iter().find_map(|covered| covered.traced.first()).map(|traced| traced.trace);
        self.covering = Some(covering);
        let (store, partition) = (self.tier.ports.store.clone(), self.voice.partition);
        self.work.push(Box::pin(trace::within(trace, async move {
            Done::Fence(until_done("fence", || store.fence(partition)).await)
        })));
    }

    /// The fence as it was read after all that is covered had become durable.
    pub(crate) fn on_fence(&mut self, epoch: Epoch) -> Result<(), Ended> {
        if epoch != self.voice.epoch {
            return Err(Ended::Fenced(epoch));
        }
        for covered in self.covering.take().unwrap_or_default() {
            let room = covered.room.clone();
            let Some(slot) = self.rooms.get_mut(&room) else { continue };
            let Some(open) = slot.open.as_mut() else { continue };
            open.uncover();
            if !covered.entries.is_empty() {
                self.busy.note(&room, &mut open.listed.busy);
            }
            open.committed.settle(covered, &self.voice, &mut self.outcomes);
            let (is_made, is_due) = (open.room.is_made(), open.committed.has_projection());
            // What was found beyond a batch goes with the next fence read.
            self.listed.list(&room, slot);
            // A room that nobody made must not be a way to fill the memory.
            if !is_made && slot.is_quiet() {
                self.forget(&room);
            } else if is_due {
                self.start_projection(&room);
            }
        }
        Ok(())
    }

    /// Drops what nobody waits for any more, wherever the store holds it up.
    pub(crate) fn drop_late(&mut self) {
        let now = Instant::now();
        let mut holding = std::mem::take(&mut self.listed.holding);
        holding.retain(|room| {
            let Some(slot) = self.rooms.get_mut(room) else { return false };
            // One that was put out and came back is listed twice: the second time it is marked no more.
            if !std::mem::take(&mut slot.holding) {
                return false;
            }
            slot.drop_late(now);
            slot.is_holding()
        });
        for room in &holding {
            self.rooms.get_mut(room).into_iter().for_each(|slot| slot.holding = true);
        }
        self.listed.holding = holding;
    }

    pub(crate) fn start_projection(&mut self, room: &RoomId) {
        let Some(open) = self.rooms.get_mut(room).and_then(|slot| slot.open.as_mut()) else { return };
        let Some(projection) = open.committed.take_projection(room) else { return };
        let (store, room) = (self.tier.ports.store.clone(), room.clone());
        self.work.push(Box::pin(async move {
            until_done("project", || store.project(projection.clone())).await;
            Done::Projected(room, projection.mark)
        }));
    }
}

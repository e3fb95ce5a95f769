//! The rules by which a holder goes from one step to the next.

use crate::holder::{Append, Holder, Phase, Write};
use crate::model::{Mistake, Move, RoomLog, SegmentIsWritten, Step, World};
use crate::store::{Entry, Key, On, Says, Seen, Seq};
use crate::told::is_member;

impl RoomLog {
    fn errs(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Takes a step, or says that it can't be taken.
    pub fn take(&self, world: &mut World, step: Step) -> bool {
        let (epoch, does) = match step {
            Step::Claim => {
                let epoch = world.holders.len() as u8 + 1;
                world.holders.push(Holder::claimed(epoch, self.member_at_first()));
                return true;
            }
            Step::Project => {
                world.store.mark = self.projected(world);
                return true;
            }
            Step::By(epoch, does) => (epoch, does),
        };
        let own = usize::from(epoch) - 1;
        match does {
            Move::ReadSegments(seen) => self.read_segments(world, own, seen),
            Move::ReadRows(seen) => self.read_rows(world, own, seen),
            Move::WriteBack => self.write_back_what_is_in_doubt(world, own),
            Move::SendSegment => self.send_segment(world, own),
            Move::SegmentLands(on) => self.segment_lands(world, own, on),
            Move::Open => self.open(world, own),
            Move::Append(says) => self.append(world, own, says),
            Move::Repeat(key) => self.repeat(world, own, key),
            Move::Refuse => self.refuse(world, own),
            Move::ReadFenceEarly(nth) => self.read_fence_early(world, own, nth),
            Move::RowLands(nth, on) => self.row_lands(world, own, nth, on),
            Move::Commit => self.commit(world, own),
        }
    }

    /// Whether the fence row still has this holder's epoch.
    fn fence_is_own(&self, world: &World, own: usize) -> bool {
        self.errs(Mistake::NoFenceRead) || world.holders.len() == own + 1
    }

    fn read_segments(&self, world: &mut World, own: usize, seen: Seen) -> bool {
        let holder = &mut world.holders[own];
        let segments = &world.store.segments;
        let newest = segments.keys(seen).into_iter().rfind(|epoch| *epoch < holder.epoch);
        holder.newest = newest.and_then(|epoch| segments.get(epoch, seen).map(|segment| (epoch, segment)));
        holder.phase = Phase::ReadsRows;
        true
    }

    /// Reads the next bucket of the newest segment, and before the first one all that is below it.
    fn read_rows(&self, world: &mut World, own: usize, seen: Seen) -> bool {
        let mut holder = world.holders[own].clone();
        let mut goes_on = false;
        if let Some((epoch, segment)) = holder.newest {
            let below = segment.start - 1;
            let mut rows = match segment.prev {
                Some(prev) if holder.head() < below => self.read_up_to(world, prev, below),
                _ => Vec::new(),
            };
            let from = segment.start.max(holder.head() + 1);
            let (rest, full) = self.rest_of_bucket(world, epoch, from, seen);
            goes_on = full;
            rows.extend(rest);
            world.told.gap |= rows.contains(&None);
            holder.log.extend(rows.into_iter().flatten());
        }
        if !goes_on {
            self.recovered(world, &mut holder);
        }
        world.holders[own] = holder;
        true
    }

    fn recovered(&self, world: &World, holder: &mut Holder) {
        let (at_first, mark) = (self.member_at_first(), world.store.mark);
        holder.phase = Phase::Recovered;
        holder.start = holder.head() + 1;
        holder.origin = self.origin(world, holder);
        // All up to the mark is known to be committed, and so known to all who claimed later.
        holder.in_doubt = holder.head() > mark || self.segment_is_written == SegmentIsWritten::AtFirstTouch;
        holder.member = match self.errs(Mistake::MembersFromProjection) {
            true => is_member(at_first, &world.told.committed[..usize::from(mark)]),
            false => is_member(at_first, &holder.log),
        };
    }

    fn write_back_what_is_in_doubt(&self, world: &mut World, own: usize) -> bool {
        if !self.errs(Mistake::WriteBackAfterSegment) {
            self.write_back(world, own);
        }
        let holder = &mut world.holders[own];
        holder.in_doubt = false;
        if self.segment_is_written != SegmentIsWritten::AlwaysWithFirstAppend {
            holder.segment = Write::Sent;
        }
        true
    }

    /// Writes the newest segment once more, its rows under their own epoch: what is seen in part is there for good now.
    fn write_back(&self, world: &mut World, own: usize) {
        let World { store, holders, .. } = world;
        let holder = &holders[own];
        let Some((epoch, segment)) = holder.newest.filter(|_| !self.errs(Mistake::NoWriteBack)) else {
            return;
        };
        store.segments.land(epoch, segment, On::Quorum);
        for seq in segment.start..holder.start {
            store.log.land(self.row_key(epoch, seq), holder.log[usize::from(seq) - 1], On::Quorum);
        }
    }

    fn send_segment(&self, world: &mut World, own: usize) -> bool {
        self.write_back(world, own);
        world.holders[own].segment = Write::Sent;
        true
    }

    fn segment_lands(&self, world: &mut World, own: usize, on: On) -> bool {
        let World { store, holders, .. } = world;
        let holder = &mut holders[own];
        if on == On::Quorum {
            holder.segment = Write::Durable;
        }
        store.segments.land(holder.epoch, holder.segment_row(), on)
    }

    fn open(&self, world: &mut World, own: usize) -> bool {
        if !self.fence_is_own(world, own) && !self.errs(Mistake::OpensWithoutFenceRead) {
            return false;
        }
        if self.errs(Mistake::WriteBackAfterSegment) {
            self.write_back(world, own);
        }
        let World { holders, told, .. } = world;
        let holder = &mut holders[own];
        holder.phase = Phase::Open;
        for (index, entry) in holder.log.iter().enumerate() {
            told.commit(index as Seq + 1, *entry);
        }
        // Both are true: the entries are in that segment, and ours hangs on it.
        if let Some(origin) = holder.origin {
            told.name_head(origin, holder.head());
        }
        if holder.segment == Write::Durable {
            told.name_head(holder.epoch, holder.head());
        }
        true
    }

    /// Where a message is in the log, as far as the holder knows.
    fn place_of(&self, holder: &Holder, key: Key) -> Option<Seq> {
        let loaded = match self.errs(Mistake::KeysNotLoaded) {
            true => usize::from(holder.start) - 1,
            false => 0,
        };
        let mut known = holder.log.iter().enumerate().skip(loaded);
        known.find(|(_, entry)| entry.says == Says::Message(key)).map(|(index, _)| index as Seq + 1)
    }

    fn append(&self, world: &mut World, own: usize, says: Says) -> bool {
        let holder = &mut world.holders[own];
        let is_new = match says {
            Says::Message(key) => holder.member && self.place_of(holder, key).is_none(),
            Says::Join | Says::Leave => true,
        };
        if !is_new || holder.head() >= self.seqs || holder.in_flight.len() >= self.in_flight {
            return false;
        }
        let entry = Entry { says, made_in: holder.epoch };
        holder.member = is_member(holder.member, &[entry]);
        holder.log.push(entry);
        holder.in_flight.push(Append { durable: false, fence_read: false });
        true
    }

    fn repeat(&self, world: &mut World, own: usize, key: Key) -> bool {
        let holder = &world.holders[own];
        let early = self.errs(Mistake::RepeatAnsweredEarly);
        let place = self.place_of(holder, key).filter(|seq| early || *seq <= holder.committed());
        match place.filter(|seq| world.told.acked.get(&key) != Some(seq)) {
            Some(seq) if self.fence_is_own(world, own) => {
                world.told.ack(key, seq);
                true
            }
            _ => false,
        }
    }

    fn refuse(&self, world: &mut World, own: usize) -> bool {
        let holder = &world.holders[own];
        let rests_on_committed = holder.in_flight.is_empty() || self.errs(Mistake::RefusedEarly);
        if holder.member || !rests_on_committed || !self.fence_is_own(world, own) {
            return false;
        }
        world.told.refused.insert(holder.head())
    }

    fn read_fence_early(&self, world: &mut World, own: usize, nth: usize) -> bool {
        world.holders[own].in_flight[nth].fence_read = true;
        self.fence_is_own(world, own)
    }

    fn row_lands(&self, world: &mut World, own: usize, nth: usize, on: On) -> bool {
        let World { store, holders, .. } = world;
        let holder = &mut holders[own];
        let (seq, entry) = holder.flying(nth);
        if on == On::Quorum {
            holder.in_flight[nth].durable = true;
        }
        store.log.land(self.row_key(holder.epoch, seq), entry, on)
    }

    /// Of what is durable: the first in flight, and the own segment.
    fn commit(&self, world: &mut World, own: usize) -> bool {
        if !self.errs(Mistake::FenceReadBeforeTheWrite) && !self.fence_is_own(world, own) {
            return false;
        }
        let World { holders, told, .. } = world;
        let holder = &mut holders[own];
        let (seq, entry) = holder.flying(0);
        holder.in_flight.remove(0);
        told.commit(seq, entry);
        if let Says::Message(key) = entry.says {
            told.ack(key, seq);
        }
        told.name_head(holder.epoch, seq);
        true
    }
}

//! What is checked: a world of one room, the steps that can be taken in it, and what must hold after each.

use stateright::{Model, Property};

use crate::holder::{Holder, Phase, Write};
use crate::store::{Entry, Epoch, Key, On, Says, Seen, Seq, Store};
use crate::told::Told;

/// When a holder writes its own segment's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentIsWritten {
    /// The plain rule of the design.
    AtFirstTouch,
    /// With the first append, unless something was in doubt at the first touch: the rule of decision 3.
    WithFirstAppendUnlessInDoubt,
    /// With the first append, whatever was found: wrong.
    AlwaysWithFirstAppend,
}

/// What a holder or a reader does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// It never reads the fence.
    NoFenceRead,
    /// It reads the fence before an entry is sent, and not when it is there.
    FenceReadBeforeTheWrite,
    /// It reads the fence for what it commits, and not for what it found.
    OpensWithoutFenceRead,
    /// It takes all segments in the order of their epochs, and does not follow their `prev`.
    NoPrevChain,
    /// Holders write under the same keys.
    SharedKeys,
    /// It takes the last row it finds for the end of the log.
    LastRowIsTheEnd,
    /// It does not write again what was in doubt.
    NoWriteBack,
    /// It writes again what was in doubt when its own segment, which says that it is there, has been written.
    WriteBackAfterSegment,
    /// It projects what is durable before it has read the fence: the mark is above what is committed.
    MarkBeforeCommit,
    /// It looks for repeats among its own entries only.
    KeysNotLoaded,
    /// It answers a repeat from memory before the first is committed.
    RepeatAnsweredEarly,
    /// It takes the members from the projection, and does not bring them up to the log.
    MembersFromProjection,
    /// It refuses who left before the leave is committed.
    RefusedEarly,
    /// It reads the rows of one bucket, and none of the next.
    RecoveryStopsAtBucket,
}

/// A room's log, its holders and its clients, within bounds.
#[derive(Clone, Copy, Debug)]
pub struct RoomLog {
    pub segment_is_written: SegmentIsWritten,
    pub mistake: Option<Mistake>,
    /// How many claims there are.
    pub holders: usize,
    /// How many messages clients send, each as often as they like.
    pub keys: Key,
    /// At which seq no entry is added any more.
    pub seqs: Seq,
    /// How many entries of a holder are in flight at most: a batch.
    pub in_flight: usize,
    /// How many seqs are in a bucket.
    pub bucket: u8,
    /// Whether the user who sends the messages joins and leaves, or is a member all the time.
    pub joins: bool,
}

impl Default for RoomLog {
    /// Right holders in a small world, in which most mistakes would be found.
    fn default() -> Self {
        Self {
            segment_is_written: SegmentIsWritten::WithFirstAppendUnlessInDoubt,
            mistake: None,
            holders: 3,
            keys: 2,
            seqs: 2,
            in_flight: 1,
            bucket: Seq::MAX,
            joins: false,
        }
    }
}

/// All that is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    /// By their epochs. The last one is whose epoch the fence row has.
    pub holders: Vec<Holder>,
    pub told: Told,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody claims: at any time, as neither leases nor clocks are trusted.
    Claim,
    /// The projections are brought up to what is committed.
    Project,
    /// The holder of an epoch does something, or a client or the store to it.
    By(Epoch, Move),
}

/// What can happen to one holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It finds the newest segment of an older epoch.
    ReadSegments(Seen),
    /// It reads that segment's rows in the next bucket.
    ReadRows(Seen),
    /// What was in doubt is durable; if the rule says so, its own segment's row is sent next.
    WriteBack,
    /// Its own segment's row is sent for the first append. What it names is durable.
    SendSegment,
    /// That row is there.
    SegmentLands(On),
    /// It reads the fence: all that it found is vouched for.
    Open,
    /// A client asks for something that gets a place in the log.
    Append(Says),
    /// A client asks again for what has its place.
    Repeat(Key),
    /// A client asks who is not a member.
    Refuse,
    /// Of one that is mistaken about when: it reads the fence, then sends the nth entry in flight.
    ReadFenceEarly(usize),
    /// The row of the nth entry in flight is there.
    RowLands(usize, On),
    /// It reads the fence after the first entry in flight was durable: that is published, and its sender answered.
    Commit,
}

/// The names of the properties. That an entry acked before another one was sent has the lower seq needs none: what is
/// committed up to it does not change, and the other is not in there.
pub mod promise {
    pub const ACKED_IS_KEPT: &str = "an acked entry is at its seq for ever";
    pub const ONCE: &str = "one key is at one seq";
    pub const ONE_ANSWER: &str = "all answers for one key name one seq";
    pub const ONE_ORDER: &str = "a seq's bytes never change once it is committed";
    pub const NO_GAP: &str = "the log has no gap";
    pub const HEADS_ARE_READABLE: &str = "a head that was named reads the committed log for ever";
    pub const ONLY_MEMBERS_SPEAK: &str = "a message is by a member at its seq";
    pub const ONLY_OTHERS_ARE_REFUSED: &str = "who is refused is no member there";
    pub const GETS_THERE: &str = "the last holder has all messages acked";
}

impl RoomLog {
    /// Whether the user is a member of a room with an empty log.
    pub fn member_at_first(&self) -> bool {
        !self.joins
    }

    /// Up to where the projections can be brought.
    pub fn projected(&self, world: &World) -> Seq {
        let committed = world.told.committed.len() as Seq;
        match self.mistake {
            Some(Mistake::MarkBeforeCommit) => {
                world.holders.iter().filter_map(Holder::durable).fold(committed, Seq::max)
            }
            _ => committed,
        }
    }

    /// What the named heads read now, each from its epoch on.
    fn named(&self, world: &World) -> impl Iterator<Item = Vec<Option<Entry>>> {
        world.told.heads.iter().map(|(epoch, head)| self.read_up_to(world, *epoch, *head))
    }

    fn heads_are_readable(&self, world: &World) -> bool {
        self.named(world).all(|read| {
            let committed = world.told.committed.iter().copied().map(Some);
            let (head, whole) = (read.len(), read.len() <= world.told.committed.len());
            whole && read.into_iter().eq(committed.take(head))
        })
    }

    /// Whether what an `ok` named is committed there, and is what every named head reads there. A log that does not reach
    /// there says nothing yet: if the entry is lost, another one will take its place.
    fn acked_is_kept(&self, world: &World) -> bool {
        let acked = &world.told.acked;
        let has_them = |log: Vec<Option<Entry>>| {
            acked.iter().all(|(key, seq)| match log.get(usize::from(*seq) - 1) {
                Some(entry) => entry.is_some_and(|entry| entry.says == Says::Message(*key)),
                None => true,
            })
        };
        let committed = || world.told.committed.iter().copied().map(Some).collect();
        acked.is_empty() || has_them(committed()) && self.named(world).all(has_them)
    }

    fn gets_there(&self, world: &World) -> bool {
        let all_acked = world.told.acked.len() == usize::from(self.keys);
        all_acked
            && world.holders.len() == self.holders
            && world.told.heads.contains_key(&(self.holders as u8))
    }

    /// Whether nothing is left to find out: a promise is broken, and that it stays so is of no interest.
    fn is_over(&self, world: &World) -> bool {
        let right =
            self.mistake.is_none() && self.segment_is_written != SegmentIsWritten::AlwaysWithFirstAppend;
        let broken = |property: Property<Self>| {
            property.name != promise::GETS_THERE && !(property.condition)(self, world)
        };
        !right && self.properties().into_iter().any(broken)
    }
}

impl Model for RoomLog {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if self.is_over(world) {
            return;
        }
        if world.holders.len() < self.holders {
            steps.push(Step::Claim);
        }
        // Only members read it, and the rule that asks whether something is beyond it.
        let mark_matters = self.joins || self.segment_is_written != SegmentIsWritten::AtFirstTouch;
        if mark_matters && world.store.mark < self.projected(world) {
            steps.push(Step::Project);
        }
        let mut moves = Vec::new();
        for holder in &world.holders {
            self.moves(world, holder, &mut moves);
            steps.extend(moves.drain(..).map(|does| Step::By(holder.epoch, does)));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        self.take(&mut next, step).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(promise::ACKED_IS_KEPT, Self::acked_is_kept),
            Property::always(promise::ONCE, |_, world: &World| world.told.each_key_is_once()),
            Property::always(promise::ONE_ANSWER, |_, world: &World| !world.told.two_answers),
            Property::always(promise::ONE_ORDER, |_, world: &World| !world.told.forked),
            Property::always(promise::NO_GAP, |_, world: &World| !world.told.gap),
            Property::always(promise::HEADS_ARE_READABLE, Self::heads_are_readable),
            Property::always(promise::ONLY_MEMBERS_SPEAK, |room: &Self, world: &World| {
                world.told.only_members_speak(room.member_at_first())
            }),
            Property::always(promise::ONLY_OTHERS_ARE_REFUSED, |room: &Self, world: &World| {
                world.told.only_others_are_refused(room.member_at_first())
            }),
            Property::sometimes(promise::GETS_THERE, Self::gets_there),
        ]
    }
}

impl RoomLog {
    /// What can happen to one holder and to what it sent. Whether the rules let it is in `steps`.
    fn moves(&self, world: &World, holder: &Holder, moves: &mut Vec<Move>) {
        match holder.phase {
            Phase::Claimed => moves.extend(world.store.segments.kinds_of_reads().map(Move::ReadSegments)),
            Phase::ReadsRows => moves.extend(world.store.log.kinds_of_reads().map(Move::ReadRows)),
            Phase::Recovered if holder.in_doubt => moves.push(Move::WriteBack),
            Phase::Recovered if holder.segment == Write::Sent => {}
            Phase::Recovered => moves.push(Move::Open),
            Phase::Open => self.asks(world, holder, moves),
        }
        match holder.segment {
            Write::Unsent if !holder.in_flight.is_empty() => moves.push(Move::SendSegment),
            Write::Sent => moves.extend([On::Few, On::Quorum].map(Move::SegmentLands)),
            Write::Unsent | Write::Durable => {}
        }
        for (nth, append) in holder.in_flight.iter().enumerate().filter(|(_, append)| !append.durable) {
            match append.fence_read || self.mistake != Some(Mistake::FenceReadBeforeTheWrite) {
                true => moves.extend([On::Few, On::Quorum].map(|on| Move::RowLands(nth, on))),
                false => moves.push(Move::ReadFenceEarly(nth)),
            }
        }
        if holder.in_flight.first().is_some_and(|append| append.durable) && holder.segment == Write::Durable {
            moves.push(Move::Commit);
        }
    }

    /// What clients ask an open holder.
    fn asks(&self, world: &World, holder: &Holder, moves: &mut Vec<Move>) {
        let was_sent = |says| world.holders.iter().any(|holder| holder.log.iter().any(|e| e.says == says));
        for key in 0..self.keys {
            // Messages are alike, so let them be sent for the first time in the order of their keys: whatever else may
            // happen is the same by other names.
            if key == 0 || was_sent(Says::Message(key - 1)) {
                moves.extend([Move::Repeat(key), Move::Append(Says::Message(key))]);
            }
        }
        if self.joins {
            let says = if holder.member { Says::Leave } else { Says::Join };
            moves.extend([Move::Append(says), Move::Refuse]);
        }
    }
}

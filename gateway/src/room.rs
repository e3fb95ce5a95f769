//! One room as its shard knows it: where in the log it is, who is live in it, and what this turn will send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_core::entry::{Entry, RoomFacts};
use hubbub_core::ids::{Epoch, LogId, RoomId, Seq, UserId};
use hubbub_core::map::FastMap;
use hubbub_core::ports::bus::Subscription;
use hubbub_core::position::{Arrival, Position};
use hubbub_core::trace::TraceContext;
use hubbub_node::trace::{Span, SpanKind};
use hubbub_wire::tier::act::{ReadTo, Synced};
use tokio::sync::oneshot;

use crate::arrivals::Arrivals;
use crate::error::Failure;
use crate::fanout::Turn;
use crate::member::Second;
use crate::recent::Recent;

/// Entries that came before their turn, and their bytes; beyond it they are dropped and read again.
const AHEAD_ENTRIES_MAX: usize = 1_024;
const AHEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much later than the log a list may say that somebody left: the worker brings it there with its next write of the store, or as
/// soon as that takes one.
const LISTS_LATE_MAX: Duration = Duration::from_secs(60);

/// What is known of a room's log once it was synced.
pub struct Synchronized {
    /// Name, topic, owner.
    pub facts: RoomFacts,
    /// Which log.
    pub log: LogId,
    /// From whose segment it is read.
    pub epoch: Epoch,
    /// The last entry that this shard took.
    pub position: Position,
    /// When it became live here.
    pub live_at: Instant,
    /// How many members the room has.
    pub member_count: u64,
    /// The last entry that said that messages were erased.
    pub erased: Seq,
    /// Where the log begins; 0 if nothing of it ever went.
    pub first: Seq,
}

impl Synchronized {
    /// Whether what a holder says, asked when this shard was at `asked_at`, is of another log than the one we read, or of one of which
    /// what we have not read is gone. What was heard while the answer was on its way may well be above its head; what was taken before,
    /// not.
    pub fn is_cut_off_from(&self, asked_at: Option<Seq>, synced: &Synced) -> bool {
        self.log != synced.log
            || asked_at.is_some_and(|position| position > synced.info.head)
            || synced.info.kept.first > self.position.0.next()
    }

    /// Up to where the log may be read.
    pub fn read_to(&self) -> ReadTo {
        ReadTo { epoch: self.epoch, head: self.position.0, erased: self.erased, first: self.first }
    }
}

/// A leave that was heard.
struct Left {
    seq: Seq,
    /// Up to where joins are that their connections were in the room from, if any was.
    joined: Option<Seq>,
}

/// A room with members on this shard.
#[derive(Default)]
pub struct RoomHere {
    /// What keeps the bus telling us of it.
    pub subscriptions: Vec<Subscription>,
    /// `None` until the first sync.
    pub synced: Option<Synchronized>,
    /// Those who wait for the end of the sync that is under way.
    pub waiting: Vec<oneshot::Sender<Result<(), Failure>>>,
    /// Those who wait for the end of the one after it: what is under way was asked before they came.
    pub waiting_longer: Vec<oneshot::Sender<Result<(), Failure>>>,
    /// Whether a sync is under way, and whether another was asked for meanwhile.
    pub syncing: Option<bool>,
    /// Whether something of it was lost that may be the word of an erasure: until a sync has read on, what is in memory may have more
    /// in it than there is to be shown.
    pub doubted: bool,
    /// Slots of the connections that are live in it.
    pub members: Vec<u32>,
    /// What this turn will send.
    pub turn: Turn,
    /// Who came and went, which it is still to be told.
    pub arrivals: Arrivals,
    /// When it is read again from its holder without another reason; 0 for not yet known.
    pub resync_at: Second,
    /// Whether it waits for the end of the turn.
    pub dirty: bool,
    /// Whether it rests: its last flush was long.
    pub resting: bool,
    /// Since when it has no member here.
    pub empty_since: Option<Instant>,
    /// In a large room: whether the number of those present changed since it was told.
    pub count_changed: bool,
    /// What it was told last.
    pub count_told: Option<u64>,
    /// Its newest entries.
    pub recent: Recent,
    /// Spans of batches that no member was sent yet, with the last seq of each.
    delivering: Vec<(Seq, Span)>,
    ahead: BTreeMap<Seq, Entry>,
    ahead_bytes: usize,
    /// The newest holder that was heard before the room was synced: what came of it is in its segment, whatever an answer says that was
    /// on its way.
    pub heard_epoch: Epoch,
    /// Who left of late and is not back, as far as it was heard; and when that was.
    left: FastMap<UserId, Left>,
    left_at: VecDeque<(Instant, UserId, Seq)>,
}

impl RoomHere {
    /// Up to where it may be read, as far as that is known here and not doubted.
    pub fn read_to(&self) -> Option<ReadTo> {
        self.synced.as_ref().filter(|_| !self.doubted).map(Synchronized::read_to)
    }

    /// Holds an entry that came before its turn.
    pub fn hold(&mut self, entry: Entry) {
        let bytes = entry.json.len();
        let has_room = self.ahead.len() < AHEAD_ENTRIES_MAX && self.ahead_bytes + bytes <= AHEAD_BYTES_MAX;
        if has_room && !self.ahead.contains_key(&entry.seq) {
            self.ahead.insert(entry.seq, entry);
            self.ahead_bytes += bytes;
        }
    }

    /// The held entry that follows `position`; older ones are dropped.
    pub fn next_held(&mut self, position: Position) -> Option<Entry> {
        while let Some(first) = self.ahead.first_entry() {
            let arrival = position.arrival(*first.key());
            if arrival == Arrival::Gap {
                break;
            }
            let held = first.remove();
            self.ahead_bytes -= held.json.len();
            if arrival == Arrival::Next {
                return Some(held);
            }
        }
        None
    }

    /// Keeps in mind who left, for longer than the lists may take to say so and a hello to look at them; and since which join their
    /// connections were in it.
    pub fn note_leave(&mut self, user: &UserId, left: Seq, joined: Option<Seq>, now: Instant) {
        while let Some((_, user, left)) =
            self.left_at.pop_front_if(|(heard, ..)| now - *heard > LISTS_LATE_MAX)
        {
            if self.left.get(&user).is_some_and(|newest| newest.seq == left) {
                self.left.remove(&user);
            }
        }
        // One that is there still was followed by no join, or that would have taken it away: it was the same membership.
        let joined = joined.or(self.left.get(user).and_then(|earlier| earlier.joined));
        self.left.insert(user.clone(), Left { seq: left, joined });
        self.left_at.push_back((now, user.clone(), left));
    }

    /// Who joins is back, however late the lists say so.
    pub fn note_join(&mut self, user: &UserId) {
        self.left.remove(user);
    }

    /// Whether this user was heard to leave after their join at `joined`, and was not heard to join since.
    pub fn has_left_since(&self, user: &UserId, joined: Seq) -> bool {
        self.left.get(user).is_some_and(|left| left.seq > joined)
    }

    /// Whether this user's connections were in the room from their join at `joined` on, and have left it since.
    pub fn was_followed(&self, user: &UserId, joined: Seq) -> bool {
        self.left.get(user).is_some_and(|left| left.joined.is_some_and(|since| since >= joined))
    }

    /// Whether all that comes after `seq` is there to be read.
    pub fn keeps_all_after(&self, seq: Seq) -> bool {
        self.synced.as_ref().is_none_or(|synced| synced.first <= seq.next())
    }

    /// Forgets what was heard: the log is another one, or what comes next is not what follows.
    pub fn forget_heard(&mut self) {
        self.recent = Recent::default();
        self.ahead.clear();
        self.ahead_bytes = 0;
        self.delivering.clear();
        self.left.clear();
        self.left_at.clear();
    }

    /// A batch was heard that is part of these traces. What every member has by now is no delivery.
    pub fn begin_delivery(&mut self, last: Seq, traces: &[TraceContext]) {
        let is_new = self.synced.as_ref().is_none_or(|synced| synced.position.0 < last);
        if is_new && self.delivering.len() < AHEAD_ENTRIES_MAX {
            let spans = traces.iter().map(|trace| Span::part_of(*trace, "deliver", SpanKind::Consumer));
            self.delivering.extend(spans.map(|span| (last, span)));
        }
    }

    /// The spans of what this turn sends.
    pub fn take_deliveries(&mut self) -> Vec<(Seq, Span)> {
        let position = self.synced.as_ref().map_or(Seq(0), |synced| synced.position.0);
        self.delivering.extract_if(.., |(last, _)| *last <= position).collect()
    }

    /// Takes what a holder says of the room for the first time.
    pub fn begin(&mut self, synced: Synced) {
        self.synced = Some(Synchronized {
            facts: synced.info.facts,
            log: synced.log,
            epoch: synced.epoch.max(std::mem::take(&mut self.heard_epoch)),
            position: Position(synced.info.head),
            live_at: Instant::now(),
            member_count: synced.info.members,
            erased: synced.erased,
            first: synced.info.kept.first,
        });
    }

    /// Name and topic, for a welcome.
    pub fn names(&self) -> (Arc<str>, Arc<str>) {
        self.synced.as_ref().map_or_else(
            || ("".into(), "".into()),
            |synced| (synced.facts.name.clone(), synced.facts.topic.clone()),
        )
    }
}

/// Why a room is read again from its holder: the label of the metric.
#[derive(Debug, Clone, Copy)]
pub enum SyncCause {
    /// It had no member here.
    First,
    /// An entry came before its turn.
    Gap,
    /// Our own inbox was full.
    Overflow,
    /// A client had seen more than we have.
    Ahead,
    /// The bus may have lost messages.
    BusLost,
    /// The holder named a later head: the last entry was lost.
    Head,
    /// It is time: whatever else may go wrong is found by this.
    Periodic,
}

impl SyncCause {
    /// Whether something is known to be lost, or late. What a client says that it saw is no such knowledge: one that makes it up would
    /// have everybody else wait.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::First | Self::Periodic | Self::Ahead)
    }

    /// The label.
    pub fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Gap => "gap",
            Self::Overflow => "overflow",
            Self::Ahead => "ahead",
            Self::BusLost => "bus_lost",
            Self::Head => "head",
            Self::Periodic => "periodic",
        }
    }
}

/// A room's id with why it is to be read again.
pub type SyncNeed = (RoomId, SyncCause);

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Millis, User};
    use hubbub_core::limits::Content;

    use super::*;

    fn entry(seq: u64, says: Says<'_>) -> Entry {
        let ann = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        Entry::new(&RoomId::parse("lobby").unwrap(), Seq(seq), Millis(1), &ann, None, says)
    }

    #[test]
    fn who_is_back_has_not_left_however_late_the_lists_are() {
        let (mut here, ann) = (RoomHere::default(), UserId::parse("ann").unwrap());
        here.note_leave(&ann, Seq(5), None, Instant::now());
        assert!(here.has_left_since(&ann, Seq(2)) && !here.has_left_since(&ann, Seq(6)));
        here.note_join(&ann);
        assert!(!here.has_left_since(&ann, Seq(2)));
        here.note_leave(&ann, Seq(9), Some(Seq(6)), Instant::now());
        assert!(here.was_followed(&ann, Seq(6)) && !here.was_followed(&ann, Seq(7)));
        here.note_leave(&ann, Seq(10), None, Instant::now());
        assert!(here.was_followed(&ann, Seq(6)), "no join was heard between: it is the same membership");
        here.note_join(&ann);
        here.note_leave(&ann, Seq(12), None, Instant::now());
        assert!(!here.was_followed(&ann, Seq(6)), "of the newest nothing was heard");
        let long_after = Instant::now() + LISTS_LATE_MAX * 2;
        here.note_leave(&ann, Seq(14), None, long_after);
        assert!(here.has_left_since(&ann, Seq(12)), "the older ones are forgotten, and not the newest");
        assert_eq!((here.left.len(), here.left_at.len()), (1, 1));
    }

    #[test]
    fn what_comes_before_its_turn_is_held_up_to_a_bound_of_bytes() {
        let mut here = RoomHere::default();
        let content = Content::text("a".repeat(4_000)).unwrap();
        for seq in 3..2_000 {
            here.hold(entry(seq, Says::Message(&content)));
            // Once more is not more.
            here.hold(entry(seq, Says::Message(&content)));
        }
        assert!(
            (AHEAD_BYTES_MAX - 5_000..=AHEAD_BYTES_MAX).contains(&here.ahead_bytes),
            "{}",
            here.ahead_bytes
        );
        assert!(here.next_held(Position(Seq(1))).is_none(), "2 is missing");
        let mut position = Position(Seq(2));
        while let Some(next) = here.next_held(position) {
            position.advance(next.seq);
        }
        assert_eq!((here.ahead.len(), here.ahead_bytes), (0, 0));
    }
}

//! One room in memory, from the ask to the batch: decided on the newest state, held until that is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use hubbub_core::code::Code;
use hubbub_core::entry::Entry;
use hubbub_core::held::Held;
use hubbub_core::ids::{Epoch, LogId, Millis, Partition, RoomId, Seq};
use hubbub_core::ports::bus::Payload;
use hubbub_core::ports::store::Append;
use hubbub_core::room::{Action, Answer, Decision, Room};
use hubbub_wire::tier::act::{Ask, Erased, Synced, Told, Trimmed, What};
use hubbub_wire::tier::parcel;
use tokio::time::Instant;

use crate::commit::{Committed, Covered};
use crate::inbox::Asker;
use crate::metrics::Outcomes;
use crate::orders::{Job, Order, Part, Reached, Scope};
use crate::recovery::{Link, Opened};
use crate::tail::Tail;
use crate::traced::Traced;

/// Most asks that wait for a room to be opened or its keys to be read.
const WAITING_MAX: usize = 4_096;
/// Most entries of one batch.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bytes with which a batch ends.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Bytes of entries that a room may have on their way, from their decision until a fence read takes them: a dozen pictures, or some
/// ten thousand who join at once. What the store takes more slowly than it is asked for would grow without a bound, also where answers
/// are dropped that came too late.
const ON_THE_WAY_MAX: usize = 4 * 1024 * 1024;
/// Most entries whose keys are read at one go: a page or less, if they are short, and not very many of pictures.
const KEYS_PIECE: u64 = 500;
/// Most entries that a sync sends along.
const NEWEST_MAX: u32 = 1_000;

/// About how many bytes an open room takes by itself, with its places in tables.
const OPEN_BYTES: usize = 1_024;

/// An ask that is not decided yet.
pub(crate) struct Waiting {
    pub(crate) ask: Arc<Ask>,
    pub(crate) asker: Asker,
    /// Work that starts later is work for nobody.
    pub(crate) until: Instant,
}

/// An answer that is decided, and not to be told yet.
pub(crate) struct Due {
    asker: Asker,
    say: Say,
    /// Told later, it is told to nobody.
    until: Instant,
}

enum Say {
    Done(Answer),
    Synced {
        synced: Box<Synced>,
        newest: u32,
    },
    /// How many messages, and the entry that says so.
    Erased(u64, Answer),
    /// That more of the log may go.
    Trimmed(Trimmed),
    NoSuchRoom,
}

/// A room, opened or about to be.
pub(crate) struct Slot {
    /// Asks in the order of arrival, while the room or its keys are read.
    waiting: VecDeque<Waiting>,
    /// `None` until the first touch is done.
    pub(crate) open: Option<Box<OpenRoom>>,
    reading_keys: bool,
    /// What it is known to take of memory.
    pub(crate) bytes: usize,
    pub(crate) last_used: Instant,
    /// To be put out of memory as soon as its mark is brought up; until somebody asks for it.
    pub(crate) leaving: bool,
    /// In the loop's list of rooms in which somebody waits.
    pub(crate) holding: bool,
}

/// When and by whom things are decided.
pub(crate) struct Turn {
    pub(crate) at: Millis,
    pub(crate) now: Instant,
    pub(crate) epoch: Epoch,
    pub(crate) log: LogId,
}

impl Slot {
    pub(crate) fn opening(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            open: None,
            reading_keys: false,
            bytes: 0,
            last_used: now,
            leaving: false,
            holding: false,
        }
    }

    /// Puts an ask behind those that wait. It is dropped, and so refused, when too many do.
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.leaving = false;
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(waiting);
        }
    }

    /// Decides what waits, in order, up to an ask that needs keys which are not in memory: the newest of those are named, once.
    pub(crate) fn decide(&mut self, room: &RoomId, turn: &Turn) -> Option<(Seq, Seq)> {
        let open = self.open.as_mut()?;
        self.last_used = turn.now;
        if self.reading_keys {
            return None;
        }
        while let Some(next) = self.waiting.pop_front() {
            // What only reads adds nothing to what is on its way; an order adds an entry, and is one at a time.
            let is_too_much = matches!(next.ask.what, What::Do { .. }) && open.is_too_much(room);
            if next.until < turn.now || open.is_stuck() || is_too_much {
                // Undecided, and too late or sure to be answered too late: dropped is unavailable.
                continue;
            }
            if let What::Do { verb, .. } = &next.ask.what
                && let Some(missing) = open.room.missing_keys(verb)
            {
                self.waiting.push_front(next);
                self.reading_keys = true;
                return Some(newest_of(missing));
            }
            open.decide(next, turn);
        }
        None
    }

    /// Takes the keys that were named, or gives up on the asks that can't do without.
    pub(crate) fn learn(&mut self, keys: Option<(Seq, Vec<Entry>)>) {
        self.reading_keys = false;
        let Some(open) = &mut self.open else { return };
        match keys {
            Some((from, entries)) => open.room.learn_keys(from, &entries),
            None => self.waiting.retain(|waiting| match &waiting.ask.what {
                What::Do { verb, .. } => open.room.missing_keys(verb).is_none(),
                What::Sync { .. } | What::Erase { .. } | What::Trim { .. } => true,
            }),
        }
    }

    /// Whether somebody waits, wherever.
    pub(crate) fn is_holding(&self) -> bool {
        !self.waiting.is_empty() || self.open.as_ref().is_some_and(|open| open.is_holding())
    }

    /// Drops what nobody waits for any more: it is part of what the inbox takes, and that is of all rooms.
    pub(crate) fn drop_late(&mut self, now: Instant) {
        self.waiting.retain(|waiting| waiting.until >= now);
        if let Some(open) = &mut self.open {
            open.drop_late(now);
        }
    }

    /// About how many bytes of memory the room takes, but for what is under way.
    pub(crate) fn size(&self) -> usize {
        self.open.as_ref().map_or(0, |open| OPEN_BYTES + open.room.size() + open.committed.size())
    }

    /// Whether nothing of the room is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && !self.reading_keys && self.open.as_ref().is_some_and(|o| o.is_quiet())
    }
}

/// The first entries to read of those whose keys are missing. What a piece says is known from then on, also if another can't be read.
fn newest_of((from, upto): (Seq, Seq)) -> (Seq, Seq) {
    (from.max(Seq(upto.0.saturating_sub(KEYS_PIECE))), upto)
}

/// A room whose log is known to its end.
pub(crate) struct OpenRoom {
    pub(crate) room: Room,
    /// How its segment hangs on those before.
    pub(crate) link: Link,
    /// Decided, and in no batch yet.
    next: VecDeque<Entry>,
    /// A batch is on its way to the store.
    appending: bool,
    /// The one whose first attempt is, and since when.
    attempted: Option<(Append, Instant)>,
    /// All up to here is in the store.
    durable: Seq,
    /// Those that the first touch found beyond the mark, as far as no fence read has taken them.
    found: VecDeque<Entry>,
    /// Decided here, in the store, and taken by no fence read yet.
    landed: Vec<Entry>,
    /// When the oldest of `landed` was sent to the store.
    landed_since: Option<Instant>,
    /// Bytes of what was decided here and is in `next`, in a batch or in `landed`; those of `landed`.
    on_the_way: usize,
    landed_bytes: usize,
    held: Held<Due>,
    /// Answers were dropped since what they wait for last moved.
    stuck: bool,
    pub(crate) traced: Traced,
    /// Orders that came, and whether one is being carried out: one at a time.
    orders: VecDeque<Order>,
    carrying_out: bool,
    /// What holders before this one may still write is barred.
    barred: bool,
    /// A fence read that runs has something of this room.
    covered: bool,
    /// In the loop's list of rooms that have a batch to send; of those that have something for a fence read; of the busy ones.
    pub(crate) listed: Listed,
    pub(crate) committed: Committed,
}

/// Where the loop has this room listed.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) to_append: bool,
    pub(crate) to_cover: bool,
    pub(crate) busy: bool,
    /// Its part of what all rooms have on their way.
    pub(crate) on_the_way: usize,
}

impl OpenRoom {
    pub(crate) fn new(opened: Opened) -> Self {
        let head = opened.room.head();
        let found_members = opened.room.info().map_or(0, |info| info.members);
        Self {
            committed: Committed::new(opened.mark, found_members, &opened.found),
            room: opened.room,
            link: opened.link,
            next: VecDeque::new(),
            appending: false,
            attempted: None,
            durable: head,
            found: opened.found.into(),
            landed: Vec::new(),
            landed_since: None,
            on_the_way: 0,
            landed_bytes: 0,
            held: Held::default(),
            stuck: false,
            traced: Traced::default(),
            orders: VecDeque::new(),
            carrying_out: false,
            barred: false,
            covered: false,
            listed: Listed::default(),
        }
    }

    /// All but the room goes.
    pub(crate) fn into_room(self) -> Room {
        self.room
    }

    fn decide(&mut self, waiting: Waiting, turn: &Turn) {
        let Waiting { ask, mut asker, until } = waiting;
        let (say, rests_on) = match &ask.what {
            What::Do { user, verb } => {
                let decision = self.room.decide(Action { user, at: turn.at, verb });
                if let Some(traced) = &mut asker.traced {
                    traced.decided(decision.entry.as_ref());
                    let trace = traced.trace;
                    decision.entry.iter().for_each(|entry| self.traced.push(entry.seq, trace));
                }
                self.write(decision.entry);
                (Say::Done(decision.answer), decision.rests_on)
            }
            What::Erase { .. } | What::Trim { .. } if self.room.info().is_none() => {
                (Say::NoSuchRoom, self.room.head())
            }
            What::Erase { by, author, from } => {
                let job = Job::Erase { author: author.clone(), from: *from };
                self.orders.push_back(Order { by: by.clone(), job, asker, until });
                return;
            }
            What::Trim { by, fully } => {
                let job = Job::Trim { fully: *fully };
                self.orders.push_back(Order { by: by.clone(), job, asker, until });
                return;
            }
            What::Sync { newest, users } => {
                let members = users.iter().filter(|user| self.room.is_member(user)).cloned().collect();
                let say = match self.room.info() {
                    None => Say::NoSuchRoom,
                    Some(info) => {
                        let epoch = self.link.epoch_of(info.head, turn.epoch);
                        let erased = self.room.erased();
                        let synced = Box::new(Synced { info, log: turn.log, epoch, members, erased });
                        Say::Synced { synced, newest: (*newest).min(NEWEST_MAX) }
                    }
                };
                (say, self.room.head())
            }
        };
        self.held.hold(rests_on, Due { asker, say, until });
    }

    /// Whether there are orders or answers that wait.
    fn is_holding(&self) -> bool {
        self.covered || !self.held.is_empty() || !self.orders.is_empty() || self.committed.is_settling()
    }

    fn drop_late(&mut self, now: Instant) {
        self.orders.retain(|order| order.until >= now);
        self.stuck |= self.held.retain(|due| due.is_awaited(now));
        self.committed.drop_late(now);
    }

    /// Whether what answers wait for takes longer than anybody waits. What is decided meanwhile would be held without a bound.
    fn is_stuck(&self) -> bool {
        self.stuck || self.committed.is_stuck()
    }

    /// Whether as much waits for the store as may: for its log to be taken, or its lists.
    fn is_too_much(&mut self, room: &RoomId) -> bool {
        self.on_the_way >= ON_THE_WAY_MAX || self.committed.is_far_behind(room, self.durable)
    }

    /// Whether there is an order to be carried out.
    pub(crate) fn has_order(&self) -> bool {
        !self.carrying_out && !self.orders.is_empty()
    }

    /// The next order, if none is being carried out, and which part of the log it is about: what is in the store by now.
    pub(crate) fn take_order(&mut self, partition: Partition, own: Epoch) -> Option<(Order, Scope)> {
        let order = if self.carrying_out { None } else { self.orders.pop_front() }?;
        self.carrying_out = true;
        let newest = self.link.epoch_of(self.durable, own);
        Some((
            order,
            Scope { newest, head: self.durable, own, link: self.link, partition, barred: self.barred },
        ))
    }

    /// A part of an order was carried out; at its end the room says so.
    pub(crate) fn carried_out(&mut self, order: Order, part: Option<Part>, turn: &Turn) {
        self.carrying_out = false;
        let Order { by, job, asker, until } = order;
        match (job, part) {
            (Job::Erase { author, .. }, Some(Part::Erased(slice))) => {
                let count = slice.count;
                self.barred |= matches!(slice.reached, Reached::End { .. });
                let told = |next, seq| Payload::whole(Told::Erased(Erased { count, next, seq }));
                match slice.reached {
                    Reached::Here(next) => asker.tell(told(Some(next), None)),
                    Reached::End { last: Seq(0), .. } => asker.tell(told(None, None)),
                    Reached::End { last, said } => {
                        said.into_iter().for_each(|said| self.room.learn_erasure(&author, said));
                        let decision = self.room.erase(&by, &author, last, turn.at);
                        self.decided(decision, (asker, until), |answer| Say::Erased(count, answer));
                    }
                }
            }
            (Job::Trim { .. }, Some(Part::Trimmed(trimmed))) => {
                asker.tell(Payload::whole(Told::Trimmed(trimmed)));
            }
            (Job::Trim { .. }, Some(Part::Due { retention, first, gone })) => {
                let decision = self.room.trim(&by, retention, first, turn.at);
                // Where it begins now, which is not what was found to be due if another word was said meanwhile. And an order before this one may
                // have said it, and no row went yet.
                let first = self.room.info().map_or(Seq(0), |info| info.kept.first);
                let more = decision.entry.is_some() || gone < first;
                let say = |_| Say::Trimmed(Trimmed { first, gone, more });
                self.decided(decision, (asker, until), say);
            }
            // Dropped, it is unavailable.
            _ => {}
        }
    }

    fn decided(
        &mut self,
        decision: Decision,
        (asker, until): (Asker, Instant),
        say: impl FnOnce(Answer) -> Say,
    ) {
        self.write(decision.entry);
        self.held.hold(decision.rests_on, Due { asker, say: say(decision.answer), until });
    }

    fn write(&mut self, entry: Option<Entry>) {
        self.on_the_way += entry.as_ref().map_or(0, |entry| entry.json.len());
        self.next.extend(entry);
    }

    /// Brings the sum over all rooms up to what this one has on its way by now.
    pub(crate) fn weigh_on_the_way(&mut self, all: &mut usize) {
        *all = *all - self.listed.on_the_way + self.on_the_way;
        self.listed.on_the_way = self.on_the_way;
    }

    /// Whether a batch could be sent to the store.
    pub(crate) fn has_batch(&self) -> bool {
        !self.appending && !self.next.is_empty()
    }

    /// The next batch, and the links that its segment still needs.
    pub(crate) fn next_batch(&mut self) -> (Vec<Entry>, Option<Link>) {
        let count = batch_of(&self.next);
        self.appending = true;
        (self.next.drain(..count).collect(), self.link.take_unwritten())
    }

    /// A batch is on its way for the first time.
    pub(crate) fn attempted(&mut self, batch: Append, since: Instant) {
        self.attempted = Some((batch, since));
    }

    /// The batch whose first attempt is over.
    pub(crate) fn take_attempted(&mut self) -> Option<(Append, Instant)> {
        self.attempted.take()
    }

    /// A batch is in the store.
    pub(crate) fn landed(&mut self, entries: Vec<Entry>, since: Instant) {
        self.appending = false;
        self.stuck = false;
        self.traced.landed(&entries);
        self.durable = entries.last().map_or(self.durable, |last| last.seq);
        self.landed_since.get_or_insert(since);
        self.landed_bytes += entries.iter().map(|entry| entry.json.len()).sum::<usize>();
        match self.landed.is_empty() {
            true => self.landed = entries,
            false => self.landed.extend(entries),
        }
    }

    /// Whether there is something that waits for a fence read.
    pub(crate) fn has_to_cover(&self) -> bool {
        !self.found.is_empty() || !self.landed.is_empty() || self.held.has_ready(self.durable)
    }

    /// Hands over what a fence read that begins now will cover, exactly: of what was found a batch, so that other rooms' turns come between, and
    /// what landed after that.
    pub(crate) fn cover(&mut self, room: RoomId) -> Covered {
        self.covered = true;
        self.stuck = false;
        let (entries, upto, since) = if self.found.is_empty() {
            self.on_the_way -= std::mem::take(&mut self.landed_bytes);
            (std::mem::take(&mut self.landed), self.durable, self.landed_since.take())
        } else {
            let rest = self.found.split_off(batch_of(&self.found));
            let found = Vec::from(std::mem::replace(&mut self.found, rest));
            let upto = found.last().map_or(Seq(0), |last| last.seq);
            (found, upto, None)
        };
        let answers = std::iter::from_fn(|| self.held.release(upto)).collect();
        Covered { room, entries, answers, traced: self.traced.take(upto), since }
    }

    /// The fence read said that we may tell.
    pub(crate) fn uncover(&mut self) {
        self.covered = false;
    }

    fn is_quiet(&self) -> bool {
        let landed = self.found.is_empty() && self.landed.is_empty();
        let appended = self.next.is_empty() && !self.appending && landed;
        let orders = self.orders.is_empty() && !self.carrying_out;
        appended && orders && self.held.is_empty() && !self.covered && self.committed.is_quiet()
    }
}

/// How many of the first entries are one batch.
fn batch_of(entries: &VecDeque<Entry>) -> usize {
    let mut bytes = 0;
    let fitting = entries.iter().take(BATCH_ENTRIES_MAX).take_while(|entry| {
        let fits = bytes < BATCH_BYTES_MAX;
        bytes += entry.json.len();
        fits
    });
    fitting.count()
}

impl Due {
    /// Whether somebody still waits for it.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        self.until >= now
    }

    /// Tells the asker.
    pub(crate) fn tell(self, tail: &Tail, outcomes: &mut Outcomes) {
        outcomes.count(match &self.say {
            Say::Done(Answer::Refused(refusal)) => refusal.code().as_str(),
            Say::Done(_) => "ok",
            Say::Synced { .. } => "synced",
            Say::Erased(..) => "erased",
            Say::Trimmed(_) => "trimmed",
            Say::NoSuchRoom => Code::NoSuchRoom.as_str(),
        });
        let payload = match self.say {
            Say::Done(answer) => Payload::whole(Told::Done(answer)),
            Say::Erased(count, answer) => {
                let seq = match answer {
                    Answer::Kept { seq, .. } => Some(seq),
                    Answer::Made(_) | Answer::Refused(_) => None,
                };
                Payload::whole(Told::Erased(Erased { count, next: None, seq }))
            }
            Say::Trimmed(trimmed) => Payload::whole(Told::Trimmed(trimmed)),
            Say::NoSuchRoom => Payload::whole(Told::NoSuchRoom),
            Say::Synced { synced, newest } => {
                let (room, head) = (synced.info.id.clone(), synced.info.head);
                let newest = tail.newest(head, newest as usize).cloned().collect();
                parcel::whole_with(Told::Synced(synced), room, newest)
            }
        };
        self.asker.tell(payload);
    }
}

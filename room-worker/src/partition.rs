//! The single writer's loop: owns the state of all rooms of a partition, and never waits for one thing only.
//!
//! # Cost
//! A wake takes all that waits. An ask costs its JSON, a hash of its room, the decision and the entry's JSON; a room with
//! something to write one boxed call a batch; a fence read is shared by all rooms. No JSON of an entry is copied after it
//! was made but into payloads and the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, Partition, RoomId, Seq};
use hubbub_core::map::FastMap;
use hubbub_core::ports::store::Stored;
use hubbub_node::trace;
use hubbub_wire::tier::act::{Ask, What};
use hubbub_wire::tier::parcel;
use tokio::time::Instant;

use crate::Tier;
use crate::append::Landings;
use crate::commit::Covered;
use crate::error::OpenError;
use crate::heads::{Busy, HEADS_EVERY};
use crate::inbox::{Asked, Inbox};
use crate::lease::Fresh;
use crate::memory::SWEEP_EVERY;
use crate::metrics::{self, BatchMeters, Outcomes};
use crate::orders::{Order, Part};
use crate::recovery::{Opened, keyed};
use crate::retry::patiently;
use crate::slot::{Slot, Turn, Waiting};
use crate::voice::Voice;

/// Rounds of a turn after which others of this thread have theirs.
const ROUNDS_MAX: usize = 64;

/// Why a partition is held no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    ShutDown,
    LeaseLost,
    /// A newer holder of this epoch was seen.
    Fenced(Epoch),
}

/// Something of the store that is done.
pub(crate) enum Done {
    Opened(RoomId, Box<Result<Opened, OpenError>>),
    Keys(RoomId, Seq, Result<Vec<Entry>, OpenError>),
    Appended(RoomId, Vec<Entry>, Instant),
    Fence(Epoch),
    Projected(RoomId, Seq),
    /// A part of an operator's order.
    Ordered(RoomId, Box<Order>, Result<Part, OpenError>),
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Rooms that a step is due for, each once.
#[derive(Default)]
pub(crate) struct Lists {
    /// They have a batch to send.
    pub(crate) to_append: Vec<RoomId>,
    /// They have something for a fence read.
    pub(crate) to_cover: Vec<RoomId>,
    /// Somebody waits in them; looked at once a second.
    pub(crate) holding: Vec<RoomId>,
    /// Bytes of entries that they all have on their way.
    pub(crate) on_the_way: usize,
}

impl Lists {
    /// Lists a room for what there is to do by now.
    pub(crate) fn list(&mut self, room: &RoomId, slot: &mut Slot) {
        if slot.is_holding() && !std::mem::replace(&mut slot.holding, true) {
            self.holding.push(room.clone());
        }
        let Some(open) = slot.open.as_mut() else { return };
        if open.has_batch() && !std::mem::replace(&mut open.listed.to_append, true) {
            self.to_append.push(room.clone());
        }
        if open.has_to_cover() && !std::mem::replace(&mut open.listed.to_cover, true) {
            self.to_cover.push(room.clone());
        }
        open.weigh_on_the_way(&mut self.on_the_way);
    }
}

/// The writer of one partition in one epoch. Dropped, it is mute: all that waits is told `unavailable`.
pub(crate) struct Writer {
    pub(crate) tier: Arc<Tier>,
    pub(crate) voice: Voice,
    inbox: Arc<Inbox>,
    /// While the lease was not looked at of late, asks are left to wait.
    fresh: Fresh,
    held_back: bool,
    arrivals: Vec<Asked>,
    pub(crate) rooms: FastMap<RoomId, Slot>,
    pub(crate) work: FuturesUnordered<Work>,
    pub(crate) landings: Arc<Landings>,
    /// Batches whose first attempt is under way.
    pub(crate) attempts: usize,
    /// Memory for what landed.
    pub(crate) landed: Vec<(RoomId, Stored<()>)>,
    pub(crate) listed: Lists,
    /// What the fence read that runs will let go.
    pub(crate) covering: Option<Vec<Covered>>,
    pub(crate) outcomes: Outcomes,
    /// Asks that the gauge shows as held.
    shown_held: usize,
    /// What its rooms take of memory, as far as they were weighed.
    pub(crate) bytes: usize,
    pub(crate) next_sweep: Instant,
    pub(crate) busy: Busy,
    pub(crate) next_heads: Instant,
}

impl Writer {
    pub(crate) fn new(
        tier: Arc<Tier>,
        partition: Partition,
        epoch: Epoch,
        (inbox, fresh): (Arc<Inbox>, Fresh),
    ) -> Self {
        let (bus, log) = (tier.ports.bus.clone(), tier.ports.store.log_id());
        Self {
            tier,
            voice: Voice { bus, partition, epoch, log, joins: Mutex::default(), meters: BatchMeters::new() },
            inbox,
            fresh,
            held_back: false,
            arrivals: Vec::new(),
            rooms: FastMap::default(),
            work: FuturesUnordered::new(),
            landings: Arc::default(),
            attempts: 0,
            landed: Vec::new(),
            listed: Lists::default(),
            covering: None,
            outcomes: Outcomes::default(),
            shown_held: 0,
            bytes: 0,
            next_sweep: Instant::now() + SWEEP_EVERY,
            busy: Busy::default(),
            next_heads: Instant::now() + HEADS_EVERY,
        }
    }

    /// Serves until it is fenced, or dropped.
    pub(crate) async fn run(&mut self) -> Ended {
        let mut woken = Instant::now();
        // One for all turns: a timer costs more to begin and to end than to look at.
        let mut heads = std::pin::pin!(tokio::time::sleep_until(self.next_heads));
        loop {
            if let Err(fenced) = self.turn().await {
                return fenced;
            }
            self.voice.meters.turn_seconds.record(woken.elapsed());
            let done = tokio::select! {
                () = self.inbox.arrival() => None,
                () = self.fresh.looked_at(), if self.held_back => None,
                () = self.landings.arrival() => None,
                Some(done) = self.work.next() => Some(done),
                () = &mut heads => {
                    self.say_heads();
                    self.drop_late();
                    self.put_out_what_is_over();
                    heads.as_mut().reset(self.next_heads);
                    if self.next_heads >= self.next_sweep {
                        self.sweep();
                    }
                    None
                }
            };
            woken = Instant::now();
            if let Some(Err(fenced)) = done.map(|done| self.on_done(done)) {
                return fenced;
            }
        }
    }

    /// Finishes what was taken, and brings the projections up to the logs. Says if it is fenced meanwhile.
    pub(crate) async fn drain(&mut self) -> Option<Ended> {
        let mut insisted = false;
        loop {
            if let Err(fenced) = self.turn().await {
                return Some(fenced);
            }
            tokio::select! {
                () = self.landings.arrival(), if self.attempts > 0 => {}
                Some(done) = self.work.next() => {
                    if let Err(fenced) = self.on_done(done) {
                        return Some(fenced);
                    }
                }
                else => {
                    if std::mem::replace(&mut insisted, true) {
                        self.voice.say_last_join_again();
                        return None;
                    }
                    let rooms: Vec<_> = self.rooms.keys().cloned().collect();
                    rooms.iter().for_each(|room| self.insist(room));
                }
            }
        }
    }

    /// Does all that can be done without waiting.
    async fn turn(&mut self) -> Result<(), Ended> {
        for round in 1.. {
            self.take_asks();
            self.start_appends();
            self.start_fence_read();
            if !self.reap()? {
                break;
            }
            if round % ROUNDS_MAX == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.show();
        Ok(())
    }

    fn show(&mut self) {
        self.outcomes.flush();
        let held = self.inbox.held();
        if held != self.shown_held {
            self.voice.meters.asks_held.increment(held as f64 - self.shown_held as f64);
            self.shown_held = held;
        }
    }

    fn take_asks(&mut self) {
        self.held_back = !self.fresh.is_fresh();
        if self.held_back {
            return;
        }
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.inbox.take_all(&mut arrivals);
        if !arrivals.is_empty() {
            let turn = self.now();
            arrivals.drain(..).for_each(|asked| self.on_ask(asked, &turn));
        }
        self.arrivals = arrivals;
    }

    pub(crate) fn now(&self) -> Turn {
        Turn {
            at: (self.tier.config.clock)(),
            now: Instant::now(),
            epoch: self.voice.epoch,
            log: self.voice.log,
        }
    }

    fn on_ask(&mut self, asked: Asked, turn: &Turn) {
        let Asked { mut payload, mut asker, arrived } = asked;
        let _within = trace::enter(asker.traced.as_ref().map(|traced| traced.trace));
        let ask: Arc<Ask> = match parcel::shared(&mut payload) {
            Ok(ask) => ask,
            Err(error) => {
                tracing::warn!(partition = %self.voice.partition, %error, "an ask can't be read");
                return;
            }
        };
        if let Some(traced) = &mut asker.traced {
            traced.about(&ask.room);
        }
        // Of those that nobody waits for any more the inbox knows nothing. Dropped is unavailable.
        let is_too_much = self.listed.on_the_way >= self.tier.config.inbox_bytes_max;
        if is_too_much && matches!(ask.what, What::Do { .. }) {
            return;
        }
        let until = arrived + Duration::from_millis(ask.timeout_ms.into());
        let room = ask.room.clone();
        let asked = Waiting { ask, asker, until };
        if let Some(asked) = self.decide(&room, Some(asked), turn)
            && self.open(&room, turn)
        {
            self.decide(&room, Some(asked), turn);
        }
    }

    /// Decides what waits in a room, behind that what was just asked, and lists the room for what comes of it. What was asked is
    /// given back if the room is not here.
    pub(crate) fn decide(&mut self, room: &RoomId, asked: Option<Waiting>, turn: &Turn) -> Option<Waiting> {
        let Some(slot) = self.rooms.get_mut(room) else { return asked };
        asked.into_iter().for_each(|asked| slot.push(asked));
        let missing = slot.decide(room, turn);
        self.listed.list(room, slot);
        let open = slot.open.as_ref()?;
        let (origin, has_order) = (open.link.origin, open.has_order());
        if has_order {
            self.start_order(room);
        }
        if let Some(missing) = missing {
            let (store, room) = (self.tier.ports.store.clone(), room.clone());
            self.work.push(Box::pin(async move {
                let keys = patiently(|| keyed(store.clone(), room.clone(), origin, missing)).await;
                Done::Keys(room, missing.0, keys)
            }));
        }
        None
    }

    /// Takes all that is done by now; says whether there was anything.
    fn reap(&mut self) -> Result<bool, Ended> {
        let mut any = self.take_landings();
        while let Some(Some(done)) = self.work.next().now_or_never() {
            any = true;
            self.on_done(done)?;
        }
        Ok(any)
    }

    fn on_done(&mut self, done: Done) -> Result<(), Ended> {
        match done {
            Done::Opened(room, opened) => self.on_opened(room, *opened),
            Done::Keys(room, from, keys) => {
                self.on_keys(&room, from, keys);
                Ok(())
            }
            Done::Appended(room, entries, since) => {
                self.on_appended(&room, entries, since);
                Ok(())
            }
            Done::Fence(epoch) => self.on_fence(epoch),
            Done::Ordered(room, order, part) => {
                self.on_ordered(&room, *order, part);
                Ok(())
            }
            Done::Projected(room, mark) => {
                if let Some(open) = self.rooms.get_mut(&room).and_then(|slot| slot.open.as_mut()) {
                    open.committed.projected(mark, &self.voice, &mut self.outcomes);
                }
                self.start_projection(&room);
                if self.rooms.get(&room).is_some_and(|slot| slot.leaving && slot.is_quiet()) {
                    self.put_out(&room);
                }
                Ok(())
            }
        }
    }

    fn on_keys(&mut self, room: &RoomId, from: Seq, keys: Result<Vec<Entry>, OpenError>) {
        let keys = match keys {
            Ok(keys) => Some((from, keys)),
            Err(error @ OpenError::Damaged { .. }) => {
                tracing::error!(%error, "keys can't be read");
                None
            }
            Err(error) => {
                tracing::warn!(%room, %error, "keys can't be read now");
                None
            }
        };
        if let Some(slot) = self.rooms.get_mut(room) {
            slot.learn(keys);
        }
        self.weigh(room);
        let turn = self.now();
        self.decide(room, None, &turn);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.forget_all();
        ::metrics::gauge!(metrics::ASKS_HELD).decrement(self.shown_held as f64);
    }
}

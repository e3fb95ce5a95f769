//! Up to where a log may be read: its holder knows.
//!
//! A room's holder is asked one question at a time, for all who came before it was sent: who came later may know of entries that its answer
//! lacks. Who waits for one takes nothing that reads of the store need, and the rooms of a partition whose holder is away nothing that those
//! of the others need.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubbub_core::ids::{Partition, Partitions, RoomId};
use hubbub_core::ports::bus::{Bus, BusError, Payload, Subject};
use hubbub_wire::tier::act::{Ask, ReadTo, Told, What};
use hubbub_wire::tier::parcel;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Failure;

/// How long to wait before a holder that is not there, or not able, is asked again: takeovers pass.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an answer is waited for before the question is asked again: its holder may have died with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rooms of a partition that are asked about at a time: of one whose holder is away, all that the bus has to carry.
const ASKED_ABOUT_MAX: usize = 16;

/// Asks holders.
pub(crate) struct Holders {
    bus: Arc<dyn Bus>,
    partitions: Partitions,
    waiting_max: usize,
    /// Of each partition.
    turns: Vec<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// Who waits.
struct Waiting {
    all: usize,
    of_partition: Vec<usize>,
    /// Those whom no question that was sent is for. A room is here as long as a task asks about it.
    of_room: HashMap<RoomId, Vec<Waiter>>,
}

struct Waiter {
    tell: oneshot::Sender<Result<ReadTo, Failure>>,
    until: Instant,
}

impl Holders {
    /// So many may wait at a time.
    pub(crate) fn new(bus: Arc<dyn Bus>, partitions: Partitions, waiting_max: usize) -> Arc<Self> {
        let count = usize::from(partitions.count());
        let waiting = Waiting { all: 0, of_partition: vec![0; count], of_room: HashMap::new() };
        let turns = (0..count).map(|_| Semaphore::new(ASKED_ABOUT_MAX)).collect();
        Arc::new(Self { bus, partitions, waiting_max, turns, waiting: Mutex::new(waiting) })
    }

    /// Asks the holder where the log ends, until it tells or `until` has passed.
    pub(crate) async fn sync(self: &Arc<Self>, room: &RoomId, until: Instant) -> Result<ReadTo, Failure> {
        let partition = self.partitions.of(room);
        let Some(_place) = Place::take(self, partition) else { return Err(Failure::Full) };
        let (tell, told) = oneshot::channel();
        let waiter = Waiter { tell, until };
        let nobody_asks = match self.lock().of_room.entry(room.clone()) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(waiter);
                false
            }
            Entry::Vacant(room) => {
                room.insert(vec![waiter]);
                true
            }
        };
        if nobody_asks {
            // Not a part of this read, which may be given up before the others'.
            tokio::spawn(self.clone().ask_about(room.clone(), partition));
        }
        match timeout_at(until, told).await {
            Ok(Ok(told)) => told,
            _ => Err(Failure::Holder("no answer in time".to_owned())),
        }
    }

    /// Asks about a room as long as somebody waits.
    async fn ask_about(self: Arc<Self>, room: RoomId, partition: Partition) {
        loop {
            // It is never closed.
            let _turn = self.turns[usize::from(partition.0)].acquire().await;
            let Some(waiting) = self.take(&room) else { return };
            let until = waiting.iter().map(|waiter| waiter.until).max().unwrap_or_else(Instant::now);
            match self.ask(&room, partition, until).await {
                Ok(told) => waiting.into_iter().for_each(|waiter| _ = waiter.tell.send(told.clone())),
                Err(failed) => {
                    self.put_back(&room, waiting, &failed);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Asks once; an error says why it may be otherwise the next time.
    async fn ask(
        &self,
        room: &RoomId,
        partition: Partition,
        until: Instant,
    ) -> Result<Result<ReadTo, Failure>, String> {
        let left = until.saturating_duration_since(Instant::now());
        let ask = Ask {
            room: room.clone(),
            what: What::Sync { newest: 0, users: vec![] },
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        };
        let asked =
            self.bus.request(&Subject::Act(partition), Payload::whole(ask).into(), left.min(PATIENCE));
        Ok(match asked.await {
            Ok(mut told) => match parcel::header(&mut told) {
                Ok(Told::Synced(synced)) => Ok(synced.read_to()),
                Ok(Told::NoSuchRoom) => Err(Failure::NoSuchRoom),
                Ok(Told::Unavailable | Told::Moved) => return Err("it is not able just now".to_owned()),
                Ok(Told::Done(_) | Told::Erased(_) | Told::Trimmed(_)) => {
                    Err(Failure::Holder("it answered something else".to_owned()))
                }
                Err(bad) => Err(bad.into()),
            },
            Err(error @ BusError::TooLarge) => Err(Failure::Holder(error.to_string())),
            Err(error) => return Err(error.to_string()),
        })
    }

    /// Those who wait for the next question. If there are none the room is asked about no more.
    fn take(&self, room: &RoomId) -> Option<Vec<Waiter>> {
        let mut all = self.lock();
        let waiting = all.of_room.get_mut(room)?;
        waiting.retain(|waiter| !waiter.tell.is_closed());
        if waiting.is_empty() {
            all.of_room.remove(room);
            return None;
        }
        Some(std::mem::take(waiting))
    }

    /// Has those wait for the next question for whom it comes in time.
    fn put_back(&self, room: &RoomId, waiting: Vec<Waiter>, failed: &str) {
        let next = Instant::now() + PAUSE;
        let (in_time, late): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiter| waiter.until > next);
        if let Some(waiting) = self.lock().of_room.get_mut(room) {
            waiting.extend(in_time);
        }
        late.into_iter().for_each(|waiter| _ = waiter.tell.send(Err(Failure::Holder(failed.to_owned()))));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic happens under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait, until this is dropped.
struct Place<'a> {
    holders: &'a Holders,
    partition: usize,
}

impl<'a> Place<'a> {
    /// A partition may have as many places as are free: one whose holder is away has a half of them, two have a third each, and some are always
    /// left for the others.
    ///
    /// Dynamic thresholds: A. K. Choudhury, E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.
    fn take(holders: &'a Holders, partition: Partition) -> Option<Self> {
        let partition = usize::from(partition.0);
        let mut waiting = holders.lock();
        if waiting.of_partition[partition] >= holders.waiting_max.saturating_sub(waiting.all) {
            return None;
        }
        waiting.all += 1;
        waiting.of_partition[partition] += 1;
        Some(Self { holders, partition })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.holders.lock();
        waiting.all -= 1;
        waiting.of_partition[self.partition] -= 1;
    }
}

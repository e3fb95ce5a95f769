//! The worker's settings.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hubbub_core::ids::{Millis, NodeId, Partitions};

use crate::placement::Placement;

/// Tells the time that entries are given.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The wall clock of this machine.
pub fn wall_clock() -> Clock {
    Arc::new(|| SystemTime::now().into())
}

/// The worker's settings.
#[derive(Clone)]
pub struct Config {
    /// This run of this process: another one at every start.
    pub node: NodeId,
    /// How many partitions there are.
    pub partitions: Partitions,
    /// Which of the partitions are for this worker.
    pub placement: Placement,
    /// Most members of a room.
    pub members_max: usize,
    /// How long a lease lives that nobody renews. It is renewed each third of this.
    pub lease_ttl: Duration,
    /// Most asks of one partition that are taken and not answered yet. Above it an ask is answered `unavailable` at once.
    pub inbox_asks_max: usize,
    /// Most bytes of them; and of the entries that all rooms of a partition have on their way to the store. Above it, likewise.
    pub inbox_bytes_max: usize,
    /// How many rooms to keep in memory, over all partitions; above it those idle for the longest are put out.
    pub open_rooms_max: usize,
    /// About how many bytes they may take; above it, likewise.
    pub rooms_bytes_max: usize,
    /// How long a room nobody asks for stays in memory.
    pub room_idle: Duration,
    /// How often rooms are trimmed that keep not all of their log. The first time is a sixtieth of it after the start.
    pub retention_every: Duration,
    /// How long a shutdown may take to finish what is in flight.
    pub drain_max: Duration,
    /// The time that entries are given.
    pub clock: Clock,
}

impl Config {
    /// The defaults, for one node and so many partitions.
    pub fn new(node: NodeId, partitions: Partitions) -> Self {
        Self {
            node,
            partitions,
            placement: Placement::Alone,
            members_max: 1_000_000,
            lease_ttl: Duration::from_secs(3),
            inbox_asks_max: 20_000,
            inbox_bytes_max: 64 * 1024 * 1024,
            open_rooms_max: 100_000,
            rooms_bytes_max: 1024 * 1024 * 1024,
            room_idle: Duration::from_secs(600),
            retention_every: Duration::from_secs(3_600),
            drain_max: Duration::from_secs(5),
            clock: wall_clock(),
        }
    }

    /// A partition's part of the rooms in memory.
    pub(crate) fn open_rooms_max_each(&self) -> usize {
        self.open_rooms_max.div_ceil(usize::from(self.partitions.count())).max(1)
    }
}

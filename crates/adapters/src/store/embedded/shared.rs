//! What the writer thread and the store's handle share.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hubbub_core::ids::{Epoch, Partition};
use hubbub_core::ports::store::{StoreError, Stored};

use super::failure::unavailable;
use super::queue::Queue;
use super::recent::Recent;
use super::write::Write;

/// A commit that takes longer than this may be one that never ends: a disk that hangs gives no error.
const COMMIT_MAX: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 5_000 });

/// The queue to the writer, and what is known of its work without asking it.
pub(super) struct Shared {
    pub(super) queue: Queue<Write>,
    /// What is durable and not yet in the tables.
    pub(super) recent: Recent,
    fences: Mutex<HashMap<Partition, Epoch>>,
    made: Instant,
    /// When the commit began that is under way, in milliseconds after `made`, and one more: 0 is that there is none.
    under_way: AtomicU64,
    /// Why a commit failed, until a probe shows that the store can be written to again.
    failing: Mutex<Option<StoreError>>,
    /// Why entries can't be taken from the journal into the tables, if so.
    unfoldable: Mutex<Option<StoreError>>,
    /// That a sync of the file failed. Nothing is written any more.
    sync_failed: OnceLock<StoreError>,
    /// That the data is not this process's any more, likewise.
    lost: OnceLock<StoreError>,
}

impl Shared {
    pub(super) fn new(queue: Queue<Write>, fences: HashMap<Partition, Epoch>) -> Self {
        Self {
            queue,
            recent: Recent::default(),
            fences: Mutex::new(fences),
            made: Instant::now(),
            under_way: AtomicU64::new(0),
            failing: Mutex::new(None),
            unfoldable: Mutex::new(None),
            sync_failed: OnceLock::new(),
            lost: OnceLock::new(),
        }
    }

    /// The newest claim that is durable.
    pub(super) fn fence(&self, partition: Partition) -> Epoch {
        let fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        fences.get(&partition).copied().unwrap_or_default()
    }

    pub(super) fn fence_is(&self, partition: Partition, epoch: Epoch) {
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        let fence = fences.entry(partition).or_default();
        *fence = epoch.max(*fence);
    }

    /// A commit begins.
    pub(super) fn commit_begins(&self, at: Instant) {
        self.under_way.store(self.millis(at) + 1, Ordering::Relaxed);
    }

    /// It ended, however.
    pub(super) fn commit_ends(&self) {
        self.under_way.store(0, Ordering::Relaxed);
    }

    /// An error while a commit is under way that should have ended.
    pub(super) fn is_moving(&self) -> Stored<()> {
        let Some(began) = self.under_way.load(Ordering::Relaxed).checked_sub(1) else { return Ok(()) };
        let lasts = Duration::from_millis(self.millis(Instant::now()).saturating_sub(began));
        if lasts < COMMIT_MAX {
            return Ok(());
        }
        Err(unavailable(format_args!(
            "a commit has been under way for {} s: look at the disk",
            lasts.as_secs()
        )))
    }

    fn millis(&self, at: Instant) -> u64 {
        // They fit 64 bits for half a billion years.
        at.saturating_duration_since(self.made).as_millis() as u64
    }

    /// Why nothing can be written, as far as is known.
    pub(super) fn failing(&self) -> Option<StoreError> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a commit failed, or that commits can be made again; returns whether one had failed.
    pub(super) fn set_failing(&self, failing: Option<StoreError>) -> bool {
        let mut last = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, failing).is_some()
    }

    /// An error once a sync of the file failed, for what a sync says after that is worth nothing; and once the data is another's.
    pub(super) fn may_write(&self) -> Stored<()> {
        self.is_ours().and(self.sync_failed.get().cloned().map_or(Ok(()), Err))
    }

    /// An error once the data is not this process's any more, as far as is known.
    pub(super) fn is_ours(&self) -> Stored<()> {
        self.lost.get().cloned().map_or(Ok(()), Err)
    }

    /// Notes that it is not; returns what that is to whoever writes from now on.
    pub(super) fn lost(&self, why: impl Display) -> StoreError {
        let refused = || {
            tracing::error!(%why, "the data is not this server's any more: it writes nothing from now on");
            unavailable(why)
        };
        self.lost.get_or_init(refused).clone()
    }

    /// Notes that a sync of the file failed; returns what that is to whoever writes from now on.
    pub(super) fn sync_failed(&self, error: &impl Display) -> StoreError {
        let refused = || {
            tracing::error!(%error, "a sync of the store's file failed: the store takes no writes until it is started again");
            unavailable(format_args!(
                "the disk failed to keep what was written to the store's file ({error}): look at the disk and start again, \
                 which loses nothing"
            ))
        };
        self.sync_failed.get_or_init(refused).clone()
    }

    /// Why entries stay in the journal, if they do.
    pub(super) fn unfoldable(&self) -> Option<StoreError> {
        self.unfoldable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the last folding ended; returns whether the one before had failed.
    pub(super) fn set_unfoldable(&self, why: Option<StoreError>) -> bool {
        let mut last = self.unfoldable.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, why).is_some()
    }
}

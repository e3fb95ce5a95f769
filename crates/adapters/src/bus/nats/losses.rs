//! Who is told that messages may have been lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hubbub_core::ports::bus::{LossWatcher, Subscription};
use tokio::sync::Notify;

/// The watchers, and whether there is something to tell them.
#[derive(Default)]
pub(super) struct Losses {
    watchers: Mutex<(u64, HashMap<u64, LossWatcher>)>,
    /// Told for every loss; what comes while one is told of is one more.
    pub(super) lost: Notify,
}

struct Guard(Arc<Losses>, u64);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.watchers.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.1);
    }
}

impl Losses {
    /// Has the watcher told from now on.
    pub(super) fn watch(self: &Arc<Self>, watcher: LossWatcher) -> Subscription {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.0 += 1;
        let id = watchers.0;
        watchers.1.insert(id, watcher);
        Subscription::new(Guard(self.clone(), id))
    }

    /// Tells all.
    pub(super) fn tell(&self) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = watchers.1.values().cloned().collect();
        drop(watchers);
        all.iter().for_each(|watcher| watcher());
    }
}

//! Parts of logs in memory. What is committed never changes as long as nothing is erased, and what is erased is asked for by
//! another key: so nothing here goes stale. The longest unused goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metrics;

/// Values with a size, at most so many bytes of them. Each use is two steps in a map of the order of use.
pub(crate) struct PageCache<K, V> {
    state: Mutex<State<K, V>>,
    bytes_max: usize,
}

struct State<K, V> {
    by_key: HashMap<K, Kept<V>>,
    /// By the number of the last use.
    by_use: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
}

struct Kept<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> PageCache<K, V> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let state = State { by_key: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 };
        Self { state: Mutex::new(state), bytes_max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut state = self.lock();
        let State { by_key, by_use, uses, .. } = &mut *state;
        let kept = by_key.get_mut(key)?;
        if let Some(key) = by_use.remove(&kept.used) {
            *uses += 1;
            kept.used = *uses;
            by_use.insert(*uses, key);
        }
        Some(kept.value.clone())
    }

    /// Keeps a value, unless it alone is over the limit.
    pub(crate) fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.lock();
        state.uses += 1;
        let used = state.uses;
        state.bytes += bytes;
        state.by_use.insert(used, key.clone());
        if let Some(before) = state.by_key.insert(key, Kept { value, bytes, used }) {
            state.bytes -= before.bytes;
            state.by_use.remove(&before.used);
        }
        while state.bytes > self.bytes_max {
            let Some((_, oldest)) = state.by_use.pop_first() else { break };
            if let Some(gone) = state.by_key.remove(&oldest) {
                state.bytes -= gone.bytes;
            }
        }
        ::metrics::gauge!(metrics::CACHE_BYTES).set(state.bytes as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first_and_the_bytes_are_bounded() {
        let cache = PageCache::new(100);
        for key in 0..4 {
            cache.put(key, key, 25);
        }
        assert_eq!(cache.get(&0), Some(0));
        cache.put(4, 4, 50);
        assert_eq!([0, 1, 2, 3, 4].map(|k| cache.get(&k).is_some()), [true, false, false, true, true]);
        cache.put(5, 5, 101);
        assert_eq!(cache.get(&5), None, "larger than all of it");
        cache.put(4, 44, 25);
        cache.put(6, 6, 25);
        assert_eq!([0, 3, 4, 6].map(|k| cache.get(&k)), [Some(0), Some(3), Some(44), Some(6)]);
    }
}

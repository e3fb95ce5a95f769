//! A map of so many keys: with one more, the oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map that forgets.
pub struct Bounded<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    max: usize,
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    /// Of at most `max` keys.
    pub fn new(max: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), max }
    }

    /// The value of a key, if it is remembered.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    /// Remembers a value.
    pub fn insert(&mut self, key: K, value: V) {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &K) {
        if self.values.remove(key).is_some() {
            // What is forgotten was remembered a moment ago: it is near the end.
            if let Some(at) = self.order.iter().rposition(|kept| kept == key) {
                self.order.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut map = Bounded::new(2);
        for n in 0..3 {
            map.insert(n, n);
        }
        assert_eq!((map.get(&0), map.get(&1), map.get(&2)), (None, Some(&1), Some(&2)));
        map.remove(&2);
        map.insert(3, 3);
        assert_eq!((map.get(&1), map.get(&2), map.get(&3)), (Some(&1), None, Some(&3)));
    }
}

//! The keys of the newest entries, to find repeats.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use crate::ids::{ID_BYTES_MAX, KEY_BYTES_MAX, Key, Millis, Seq, UserId};
use crate::limits::REPEAT_WINDOW;
use crate::map::FastMap;

/// A user's key in 16 bytes: the front half of BLAKE3, so that nobody can make two keys meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u128);

impl KeyHash {
    /// The hash of one user's key.
    pub fn of(user: &UserId, key: &Key) -> Self {
        let (user, key) = (user.as_str().as_bytes(), key.as_str().as_bytes());
        // In one piece: a hasher that is fed costs as much again as the hash.
        let mut both = [0; ID_BYTES_MAX + 1 + KEY_BYTES_MAX];
        both[..user.len()].copy_from_slice(user);
        // No id has a zero byte: the two parts can't be cut elsewhere.
        let key_at = user.len() + 1;
        let end = key_at + key.len();
        both[key_at..end].copy_from_slice(key);
        let hash = blake3::hash(&both[..end]);
        Self(u128::from_be_bytes(std::array::from_fn(|at| hash.as_bytes()[at])))
    }
}

/// Where and when a key's entry came.
pub(super) type Place = (Seq, Millis);

/// About how many bytes a keyed entry takes.
const KEY_BYTES: usize = 80;

/// Keys of all entries after `known_from`, at most the newest [`REPEAT_WINDOW`] entries' worth.
#[derive(Debug, Clone)]
pub(super) struct KeyWindow {
    known_from: Seq,
    by_key: FastMap<KeyHash, Place>,
    by_seq: VecDeque<(Seq, KeyHash)>,
}

impl KeyWindow {
    pub(super) fn starting_at(seq: Seq) -> Self {
        Self { known_from: seq, by_key: FastMap::default(), by_seq: VecDeque::new() }
    }

    pub(super) fn known_from(&self) -> Seq {
        self.known_from
    }

    /// About how many bytes of memory they take.
    pub(super) fn size(&self) -> usize {
        self.by_seq.len() * KEY_BYTES
    }

    pub(super) fn find(&self, key: KeyHash) -> Option<Place> {
        self.by_key.get(&key).copied()
    }

    /// The log's next entry.
    pub(super) fn push(&mut self, (seq, at): Place, key: Option<KeyHash>) {
        if let Some(key) = key {
            self.by_key.insert(key, (seq, at));
            self.by_seq.push_back((seq, key));
        }
        self.forget(Seq(seq.0.saturating_sub(REPEAT_WINDOW)));
    }

    /// Forgets all entries up to `oldest`.
    pub(super) fn forget(&mut self, oldest: Seq) {
        while self.by_seq.front().is_some_and(|(seq, _)| *seq <= oldest) {
            if let Some((seq, key)) = self.by_seq.pop_front()
                && let Entry::Occupied(place) = self.by_key.entry(key)
                // One that came again beyond the window has a newer place.
                && place.get().0 == seq
            {
                place.remove();
            }
        }
        self.known_from = self.known_from.max(oldest);
    }

    /// Older entries, all those after `from` that were not known: ascending. A newer place of a key stays its place.
    pub(super) fn learn(&mut self, from: Seq, keyed: impl DoubleEndedIterator<Item = (Place, KeyHash)>) {
        for ((seq, at), key) in keyed.rev().filter(|((seq, _), _)| *seq <= self.known_from) {
            self.by_key.entry(key).or_insert((seq, at));
            self.by_seq.push_front((seq, key));
        }
        self.known_from = self.known_from.min(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_came_twice_is_at_its_newer_place_until_that_is_forgotten() {
        let (twice, place) = (KeyHash(1), |seq| (Seq(seq), Millis(0)));
        let mut window = KeyWindow::starting_at(Seq(2));
        window.push(place(3), Some(twice));
        window.learn(Seq(0), [(place(1), twice), (place(2), KeyHash(2))].into_iter());
        assert_eq!(
            window.find(twice),
            Some(place(3)),
            "an older place that is learnt is not the newer one's"
        );
        window.forget(Seq(1));
        assert_eq!(window.find(twice), Some(place(3)), "of two places the older one was forgotten");
        window.forget(Seq(3));
        assert_eq!((window.find(twice), window.by_key.len()), (None, 0));
    }
}

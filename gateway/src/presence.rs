//! Who is there: how many connections each user has at this gateway. Several connections are one presence.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use hubbub_core::ids::UserId;

/// Connections by user, over all shards.
#[derive(Default)]
pub struct Presence {
    connections: Mutex<HashMap<UserId, u32>>,
}

/// What a new connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// The user's first: they are online now.
    First,
    /// One more.
    Another,
    /// Over the limit: not counted.
    TooMany,
}

impl Presence {
    /// A connection of the user opened.
    pub fn arrive(&self, user: &UserId, max: u32) -> Arrived {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(user.clone()).or_insert(0);
        if *count >= max {
            return Arrived::TooMany;
        }
        *count += 1;
        if *count == 1 { Arrived::First } else { Arrived::Another }
    }

    /// A counted connection closed. Whether it was the last: they are offline now.
    pub fn depart(&self, user: &UserId) -> bool {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut count) = connections.entry(user.clone()) else { return false };
        *count.get_mut() -= 1;
        if *count.get() > 0 {
            return false;
        }
        count.remove();
        true
    }

    /// Whether the user is there.
    pub fn is_online(&self, user: &UserId) -> bool {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).contains_key(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_connections_are_one_presence() {
        let presence = Presence::default();
        let ann = UserId::parse("ann").unwrap();
        assert_eq!(presence.arrive(&ann, 2), Arrived::First);
        assert_eq!(presence.arrive(&ann, 2), Arrived::Another);
        assert_eq!(presence.arrive(&ann, 2), Arrived::TooMany);
        assert!(!presence.depart(&ann));
        assert!(presence.is_online(&ann));
        assert!(presence.depart(&ann));
        assert!(!presence.is_online(&ann));
        assert!(!presence.depart(&ann));
    }
}

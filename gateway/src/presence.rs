//! How many connections each user, or each client's address, has at this gateway. Several connections of a user are one presence.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use hubbub_core::address::one_client;

/// Connections by user, or by [address](Addresses), over all shards.
pub struct Presence<K> {
    connections: Mutex<HashMap<K, Here>>,
}

#[derive(Default)]
struct Here {
    connections: u32,
    /// Whether it was told that they are online.
    told: bool,
}

impl<K> Default for Presence<K> {
    fn default() -> Self {
        Self { connections: Mutex::default() }
    }
}

/// What a new connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// The first: its user is online now.
    First,
    /// One more.
    Another,
    /// Over the limit: not counted.
    TooMany,
}

impl<K: Hash + Eq + Clone> Presence<K> {
    /// A connection opened.
    pub fn arrive(&self, key: &K, max: u32) -> Arrived {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = &mut connections.entry(key.clone()).or_default().connections;
        if *count >= max {
            return Arrived::TooMany;
        }
        *count += 1;
        if *count == 1 { Arrived::First } else { Arrived::Another }
    }

    /// Whether it is still to be told that they are online, which it is now. Not the first that opened tells, but the first that got in:
    /// the other may never.
    pub fn tell(&self, key: &K) -> bool {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.get_mut(key).is_some_and(|here| !std::mem::replace(&mut here.told, true))
    }

    /// A counted connection closed. Whether it was the last: they are offline now.
    pub fn depart(&self, key: &K) -> bool {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut here) = connections.entry(key.clone()) else { return false };
        here.get_mut().connections -= 1;
        if here.get().connections > 0 {
            return false;
        }
        here.remove();
        true
    }

    /// How many there are.
    pub fn count(&self, key: &K) -> u32 {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.get(key).map_or(0, |here| here.connections)
    }

    /// Whether there is one.
    pub fn is_online(&self, key: &K) -> bool {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }
}

/// Connections by where they come from. All addresses of one client count together.
#[derive(Default)]
pub struct Addresses(Presence<IpAddr>);

impl Addresses {
    /// As of [`Presence::arrive`].
    pub fn arrive(&self, address: &IpAddr, max: u32) -> Arrived {
        self.0.arrive(&one_client(*address), max)
    }

    /// As of [`Presence::depart`].
    pub fn depart(&self, address: &IpAddr) -> bool {
        self.0.depart(&one_client(*address))
    }

    /// As of [`Presence::count`].
    pub fn count(&self, address: &IpAddr) -> u32 {
        self.0.count(&one_client(*address))
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::UserId;

    use super::*;

    #[test]
    fn all_addresses_of_one_network_are_one_client() {
        let addresses = Addresses::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(addresses.arrive(&at("2001:db8::1"), 2), Arrived::First);
        assert_eq!(addresses.arrive(&at("2001:db8::2"), 2), Arrived::Another);
        assert_eq!(addresses.arrive(&at("2001:db8::3"), 2), Arrived::TooMany);
        assert_eq!(addresses.arrive(&at("2001:db8:0:1::1"), 2), Arrived::First);
        assert_eq!(addresses.count(&at("2001:db8::4")), 2);
        assert!(!addresses.depart(&at("2001:db8::2")) && addresses.depart(&at("2001:db8::1")));
    }

    #[test]
    fn who_gets_in_first_tells_that_they_are_online() {
        let presence = Presence::default();
        let ann = UserId::parse("ann").unwrap();
        assert!(!presence.tell(&ann));
        presence.arrive(&ann, 2);
        presence.arrive(&ann, 2);
        // The first to come never gets in.
        assert!(!presence.depart(&ann));
        assert!(presence.tell(&ann));
        assert!(!presence.tell(&ann));
        presence.depart(&ann);
        presence.arrive(&ann, 2);
        assert!(presence.tell(&ann));
    }

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

//! Names of things: rooms, users, keys, places in a log.
//!
//! Every identifier that came from outside is checked once, here, on its way in; after that its type
//! is the proof. A [`RoomId`] can be part of a bus subject or of a file name without further care.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::scan;

/// Longest identifier of a room or a user, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Longest idempotency key, in bytes.
pub const KEY_BYTES_MAX: usize = 64;

/// Why a string is not an identifier or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Empty, or longer than the limit.
    #[error("must be 1 to 64 bytes long")]
    Length,
    /// A character outside `A-Z a-z 0-9 _ -` (in a key: a control character).
    #[error("has a character that is not allowed")]
    Character,
}

fn check_id(text: &str) -> Result<(), BadId> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(BadId::Length);
    }
    match scan::any(text, |b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b'-')) {
        true => Err(BadId::Character),
        false => Ok(()),
    }
}

fn check_key(text: &str) -> Result<(), BadId> {
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        return Err(BadId::Length);
    }
    // Beyond ASCII there are more of them, and few keys.
    let any = scan::any(text, |b| b.is_ascii_control());
    match any || (!text.is_ascii() && text.chars().any(char::is_control)) {
        true => Err(BadId::Character),
        false => Ok(()),
    }
}

macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the string if it is one.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                $check(text).map(|()| Self(text.into()))
            }

            /// The string.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

checked_string!(
    /// A room: 1 to 64 of `A-Z a-z 0-9 _ -`.
    RoomId, check_id
);
checked_string!(
    /// A user: 1 to 64 of `A-Z a-z 0-9 _ -`.
    UserId, check_id
);
checked_string!(
    /// A client's name for one action, so that a repeat of it is found: 1 to 64 bytes without control characters.
    Key, check_key
);

checked_string!(
    /// One run of one process, 1 to 64 of `A-Z a-z 0-9 _ -`: a restarted one has another.
    NodeId, check_id
);

/// A user as an entry shows them: the id, and the name they had at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// What to call them.
    pub name: Arc<str>,
}

impl User {
    /// Whoever runs the server, as members are shown them: that it was an operator, and not which.
    pub fn operator() -> Self {
        Self { id: UserId::parse("admin").expect("letters are an id"), name: "Admin".into() }
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// An entry's place in its room's log: 1, 2, 3 … without gaps. 0 is the place before the first.
    Seq, u64
);
number!(
    /// The number that a claim of a partition gives; it only rises. 0 means that nobody ever claimed it.
    Epoch, u64
);
number!(
    /// A share of the rooms, leased whole.
    Partition, u16
);
number!(
    /// An instant: Unix milliseconds.
    Millis, u64
);

impl From<SystemTime> for Millis {
    /// An instant before 1970 is 0: by a clock that is wrong in that way every token has expired, which is the safe side.
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Seq {
    /// The place after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// Which store a log lives in. A store that was made anew has another one, and a reader's position in
/// the old one means nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub u128);

impl Serialize for LogId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // JSON numbers end long before 128 bits.
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the id of a log"))
    }
}

impl LogId {
    /// Reads what it is displayed as.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| is_plain).map(Self)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:032x}", self.0)
    }
}

/// How many partitions there are: fixed at the birth of a store, the same for every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u16);

impl Partitions {
    /// `count` partitions; `None` for 0.
    pub fn new(count: u16) -> Option<Self> {
        (count > 0).then_some(Self(count))
    }

    /// How many.
    pub fn count(self) -> u16 {
        self.0
    }

    /// The partition of a room: xxh3 of its id, modulo their number.
    pub fn of(self, room: &RoomId) -> Partition {
        let hash = xxhash_rust::xxh3::xxh3_64(room.as_str().as_bytes());
        // The remainder is below a u16, so the cast loses nothing.
        Partition((hash % u64::from(self.0)) as u16)
    }

    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_not_reach_into_another_subject_or_path() {
        for bad in ["", "a.b", "a*", "a>", "a b", "a\0", "../x", "ü", "😀", &"x".repeat(65)] {
            assert!(RoomId::parse(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["a", "A-z_09", &"x".repeat(64)] {
            assert!(RoomId::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_key_is_any_short_text_without_control_characters() {
        assert!(Key::parse("ключ 1").is_ok());
        assert_eq!(Key::parse("a\nb"), Err(BadId::Character));
        assert_eq!(Key::parse(&"k".repeat(65)), Err(BadId::Length));
    }

    #[test]
    fn json_is_checked_as_any_other_text() {
        assert!(serde_json::from_str::<RoomId>("\"a.b\"").is_err());
        assert_eq!(serde_json::from_str::<RoomId>("\"a\\u0062\"").unwrap().as_str(), "ab");
    }
}

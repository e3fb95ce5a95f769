//! What all nodes must know at once.

use std::fmt;

use hubbub_core::ids::{Millis, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Something that all nodes must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// A token was called back: no more of it until its end.
    Revoked {
        /// Whose: finds the connections.
        user: UserId,
        /// Which token.
        token: TokenId,
        /// When it ends by itself.
        until: Millis,
    },
    /// A user was banned: no more of them.
    Banned {
        /// Who.
        user: UserId,
    },
    /// A user's ban was lifted.
    BanLifted {
        /// Whose.
        user: UserId,
    },
}

/// Names a token without giving it away: the first half of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TokenId(pub [u8; 16]);

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(number.to_be_bytes()))
    }
}

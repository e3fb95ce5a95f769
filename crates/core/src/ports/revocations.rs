//! `Revocations`: access tokens that were called back, kept beside the logs so that every node and every start refuses them, until
//! they end by themselves.
//!
//! # The contract
//! - An `Ok` of a write means *durable*, and a read that begins after it sees it.
//! - A token may be called back again, and is then refused until the latest of its ends.
//! - What has ended may be gone; what has not is never left out: [`Revocations::revocations`] is whole or an error.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Millis;
use crate::ports::PortFuture;
use crate::ports::store::Stored;

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

/// A token that was called back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub token: TokenId,
    /// When it ends by itself.
    pub until: Millis,
}

/// Where revocations are kept. See the [module](self) for what it promises.
pub trait Revocations: Send + Sync + 'static {
    /// Keeps a revocation.
    fn put_revocation(&self, revocation: Revocation) -> PortFuture<'_, Stored<()>>;

    /// Those that were kept at this time or later, by the clocks of the nodes that kept them, in no order: all of them from 0 on.
    /// There may be others among them, and a token may be there several times.
    fn revocations(&self, since: Millis) -> PortFuture<'_, Stored<Vec<Revocation>>>;
}

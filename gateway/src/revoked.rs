//! Calling a token back: kept first, then refused here, and at every node as soon as it hears of it (`State::hear` on the other side).

use std::collections::HashSet;
use std::sync::Arc;

use hubbub_core::ids::{Millis, UserId};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::bus::Subject;
use hubbub_core::ports::revocations::{Revocation, TokenId};
use hubbub_core::ports::store::StoreError;
use hubbub_node::revoked::token_id;
use hubbub_wire::tier::control::Control;
use hubbub_wire::tier::parcel;

use crate::Gateway;
use crate::error::Failure;

/// Does a thing of which one half without the other would be wrong, whoever asked for it hangs up meanwhile.
pub(crate) async fn done_to_its_end(
    work: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<(), Failure> {
    // Gone only with the process, or in a panic.
    tokio::spawn(work).await.unwrap_or(Err(Failure::Unavailable))
}

impl Gateway {
    /// Calls a token of a user back: refused here from now on, and everywhere as soon as it is heard or read; its connections are
    /// closed. What is kept counts, whether or not the others can be told just now.
    ///
    /// # Errors
    /// `Unavailable`: it may be kept, or not. The token is taken meanwhile, and so it can be asked for again.
    ///
    /// # Cancel safety
    /// What was begun is done to its end, whoever hangs up.
    pub async fn revoke(
        self: &Arc<Self>,
        user: UserId,
        token: &Secret,
        until: Millis,
    ) -> Result<(), Failure> {
        let (this, token) = (self.clone(), token_id(token));
        done_to_its_end(async move { this.call_back(user, token, until).await }).await
    }

    async fn call_back(&self, user: UserId, token: TokenId, until: Millis) -> Result<(), Failure> {
        self.revocations.put_revocation(Revocation { token, until }).await.map_err(|error| {
            match error {
                StoreError::Unavailable { inside } => {
                    tracing::warn!(inside, "that a token is called back can't be kept just now");
                }
                StoreError::Damaged { what } => tracing::error!(what, "the store is damaged"),
            }
            Failure::Unavailable
        })?;
        self.revoked.add(token, until);
        // Not by what is told: it may not come.
        for shard in self.shards() {
            shard.with(|state| state.close_revoked_of(&user, token));
        }
        let told = self
            .bus
            .publish(&Subject::Control, parcel::pack(&Control::Revoked { user, token, until }).into());
        told.unwrap_or_else(|error| tracing::debug!(%error, "that a token is called back was not told"));
        Ok(())
    }

    /// Keeps a revocation for longer, beside what goes on: of a token that is shown again, and of which nobody tells the end.
    pub(crate) fn keep_on(&self, revocation: Revocation) {
        let revocations = self.revocations.clone();
        tokio::spawn(async move {
            if let Err(error) = revocations.put_revocation(revocation).await {
                tracing::debug!(%error, "that a token is called back can't be kept for longer just now");
            }
        });
    }

    /// Closes all connections here of tokens that were called back. They are refused by now: a hello that is being looked at finds its
    /// token there, or is found among the connections.
    pub fn close_revoked(&self, tokens: &HashSet<TokenId>) {
        for shard in self.shards() {
            shard.with(|state| state.close_revoked(tokens));
        }
    }
}

//! Tokens that were called back while this gateway could not hear of it: before it began, or while it was cut off. It asks each gateway
//! that comes into sight, for whichever of the two was away.

use std::collections::HashSet;
use std::sync::Arc;

use hubbub_core::ids::{Millis, NodeId};
use hubbub_node::revoked::{Revoked, told_by};
use hubbub_wire::tier::control::TokenId;
use hubbub_wire::tier::presence::RevokedPage;

use crate::Gateway;

/// Tokens in one answer, some 60 bytes each.
const PAGE: usize = 4_096;

/// The page after this token.
pub fn page(revoked: &Revoked, after: Option<(Millis, TokenId)>) -> RevokedPage {
    let mut tokens = revoked.after(after, PAGE + 1);
    let more = tokens.len() > PAGE;
    tokens.truncate(PAGE);
    RevokedPage { tokens, more }
}

/// Asks a gateway which tokens were called back, and closes their connections here.
pub async fn learn(gateway: Arc<Gateway>, node: NodeId) {
    if let Some(tokens) = told_by(&*gateway.bus, &node).await {
        gateway.called_back(&tokens);
    }
}

impl Gateway {
    /// Takes note of tokens that were called back elsewhere.
    fn called_back(&self, tokens: &[(Millis, TokenId)]) {
        let news: HashSet<TokenId> =
            tokens.iter().map(|(_, token)| *token).filter(|token| !self.revoked.has(*token)).collect();
        // First: a hello that is being looked at finds it there, or is found among the connections.
        tokens.iter().for_each(|(until, token)| self.revoked.add(*token, *until));
        if !news.is_empty() {
            for shard in self.shards() {
                shard.with(|state| state.close_revoked(&news));
            }
        }
    }
}

//! Calling a token back: refused here at once, and at every node as soon as it hears of it (`State::hear` on the other side).

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{Millis, UserId};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::bus::Subject;
use hubbub_node::revoked::token_id;
use hubbub_wire::tier::control::Control;
use hubbub_wire::tier::parcel;

use crate::Gateway;
use crate::error::Failure;

/// It is said again after these pauses: the bus may lose a message, and nothing else would bring it.
const SAID_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

impl Gateway {
    /// Calls a token of a user back: refused here from now on, and everywhere as soon as it is heard; its connections are
    /// closed.
    ///
    /// # Errors
    /// `Unavailable`: nobody was told, and nothing changed.
    pub fn revoke(self: &Arc<Self>, user: UserId, token: &Secret, until: Millis) -> Result<(), Failure> {
        let token = token_id(token);
        let payload = parcel::pack(&Control::Revoked { user, token, until });
        // First: refused here and not said, it could not be asked for again, for want of a valid token.
        self.bus.publish(&Subject::Control, payload.clone().into())?;
        self.revoked.add(token, until);
        if self.peers.is_some() {
            let gateway = self.clone();
            tokio::spawn(async move {
                for pause in SAID_AGAIN {
                    tokio::time::sleep(pause).await;
                    if let Err(error) = gateway.bus.publish(&Subject::Control, payload.clone().into()) {
                        tracing::debug!(%error, "a token's end was not said again");
                    }
                }
            });
        }
        Ok(())
    }
}

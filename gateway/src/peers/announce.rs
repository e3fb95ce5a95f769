//! Telling rooms of users who are not, or not any more, on a connection here: their rooms are asked for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hubbub_core::ids::User;
use hubbub_wire::tier::ephemera::Passing;

use crate::Gateway;
use crate::peers::{Peers, Verdict};

/// Users whose rooms are asked for at once: thousands go at once when a gateway dies, and the reads have others to serve.
pub const AT_ONCE: usize = 16;
/// Before a user is told offline whom nobody told so: longer than a change takes to be told, for they may be back.
const SETTLE: Duration = Duration::from_millis(500);

/// Does what was found to be due, in a task of its own.
pub(super) fn announce(gateway: &Arc<Gateway>, peers: &Arc<Peers>, verdict: Verdict) {
    for (users, online) in [(verdict.online, true), (verdict.offline, false)] {
        if !users.is_empty() {
            tokio::spawn(tell_rooms(gateway.clone(), peers.clone(), users, online));
        }
    }
}

async fn tell_rooms(gateway: Arc<Gateway>, peers: Arc<Peers>, users: Vec<User>, online: bool) {
    if !online {
        tokio::time::sleep(SETTLE).await;
    }
    let users = futures_util::stream::iter(users);
    users.for_each_concurrent(AT_ONCE, |user| tell_rooms_of(&gateway, &peers, user, online)).await;
}

async fn tell_rooms_of(gateway: &Gateway, peers: &Peers, user: User, online: bool) {
    // Nobody closes it.
    let Ok(_permit) = peers.announcing.acquire().await else { return };
    if gateway.is_online(&user.id) != online {
        return;
    }
    match gateway.asker.rooms_of(user.id.clone()).await {
        Ok(rooms) => {
            for joined in rooms {
                gateway.publish_passing(&joined.room, Passing::Presence { user: user.clone(), online });
            }
        }
        Err(error) => tracing::debug!(%error, user = %user.id, online, "could not tell the rooms of a user"),
    }
}

//! Who writes: told at most once a user, room and second, lapsing by itself, never kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hubbub_core::ids::{RoomId, User, UserId};
use hubbub_wire::tier::ephemera::Passing;

use crate::Gateway;

/// At most one in this time.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// A user who does not say it again stopped.
const LAPSE: Duration = Duration::from_secs(5);

struct Writing {
    user: User,
    told_at: Instant,
    until: Instant,
}

/// The users of this gateway who write now. Memory: those who said so in the last seconds.
#[derive(Default)]
pub struct Typing {
    writing: Mutex<HashMap<(RoomId, UserId), Writing>>,
}

impl Typing {
    /// The user writes in the room, or stopped.
    pub fn tell(&self, gateway: &Gateway, room: &RoomId, user: &User, on: bool, now: Instant) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (room.clone(), user.id.clone());
        match (writing.get_mut(&key), on) {
            (Some(known), true) => {
                known.until = now + LAPSE;
                if now.duration_since(known.told_at) < TOLD_EVERY {
                    return;
                }
                known.told_at = now;
            }
            (None, true) => {
                writing.insert(key, Writing { user: user.clone(), told_at: now, until: now + LAPSE });
            }
            // Too soon to be told: the next sweep does it.
            (Some(known), false) if now.duration_since(known.told_at) < TOLD_EVERY => {
                known.until = now;
                return;
            }
            (Some(_), false) => _ = writing.remove(&key),
            (None, false) => return,
        }
        drop(writing);
        gateway.publish_passing(room, Passing::Typing { user: user.clone(), on });
    }

    /// Tells of those who stopped. To be called every second.
    pub fn sweep(&self, gateway: &Gateway, now: Instant) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let over: Vec<_> = writing
            .extract_if(|_, known| known.until <= now && now.duration_since(known.told_at) >= TOLD_EVERY)
            .collect();
        drop(writing);
        for ((room, _), known) in over {
            gateway.publish_passing(&room, Passing::Typing { user: known.user, on: false });
        }
    }
}

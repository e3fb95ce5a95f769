//! Says once a second where the logs of busy rooms end. Events may be lost, and nothing follows a last one: a reader that
//! hears of a head above its position knows that it missed something.

use std::time::Duration;

use hubbub_core::ids::{RoomId, Seq};
use tokio::time::Instant;

use crate::partition::Writer;

/// How often heads are said.
pub(crate) const HEADS_EVERY: Duration = Duration::from_secs(1);
/// How long a room counts as busy after its last entry.
const BUSY: Duration = Duration::from_secs(10);

/// The rooms that had an entry of late. Each is listed once.
#[derive(Default)]
pub(crate) struct Busy {
    rooms: Vec<RoomId>,
}

impl Busy {
    /// The room had an entry; `listed` is its own mark of being in the list.
    pub(crate) fn note(&mut self, room: &RoomId, listed: &mut bool) {
        if !std::mem::replace(listed, true) {
            self.rooms.push(room.clone());
        }
    }
}

impl Writer {
    /// Says the heads of busy rooms and the last join, and lets go of those that are quiet by now.
    pub(crate) fn say_heads(&mut self) {
        let now = Instant::now();
        self.next_heads = now + HEADS_EVERY;
        let mut heads: Vec<(RoomId, Seq)> = Vec::new();
        let mut busy = std::mem::take(&mut self.busy.rooms);
        for room in &busy {
            self.weigh(room);
        }
        busy.retain(|room| {
            let Some(open) = self.rooms.get_mut(room).and_then(|slot| slot.open.as_mut()) else {
                return false;
            };
            let Some((head, at)) = open.committed.head() else { return false };
            heads.push((room.clone(), head));
            open.listed.busy = now - at < BUSY;
            open.listed.busy
        });
        self.busy.rooms = busy;
        self.voice.publish_heads(&heads);
        self.voice.say_last_join_again();
    }
}

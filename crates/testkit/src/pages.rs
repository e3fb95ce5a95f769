//! What one reads of a room who is sent nothing: page after page, always on from the last one.

use std::time::Duration;

use hubbub_client::answer::Range;
use hubbub_client::{Client, Error};
use hubbub_core::ids::{RoomId, Seq};

use crate::checker::{Reader, Seen, Shown, Step};

/// Entries a page.
const PAGE: u32 = 1_000;

/// The pages of one room.
#[derive(Debug, Default)]
pub struct Pages {
    position: u64,
    read: Reader,
}

impl Pages {
    /// Those that this reader is going to read.
    pub fn of(name: impl Into<String>) -> Self {
        Self { position: 0, read: Reader { name: name.into(), ..Reader::default() } }
    }

    /// Reads on, to the end that the log has by then. `now` is the clock of those who send.
    ///
    /// # Errors
    /// The client's. What was read until then counts.
    ///
    /// # Cancel safety
    /// Dropped, a page may be lost that is then read again.
    pub async fn read_on(
        &mut self,
        client: &Client,
        room: &RoomId,
        now: impl Fn() -> Duration,
    ) -> Result<(), Error> {
        loop {
            let asked = now();
            let page = client.history(room, Range::After(Seq(self.position)), Some(PAGE)).await?;
            for entry in &page.entries {
                self.position = entry.seq.0;
                self.read.steps.push(Step::Entry(Seen::from(entry)));
            }
            if !page.more {
                self.read.shown.push(Shown { asked, head: self.position });
                return Ok(());
            }
        }
    }

    /// All that was read.
    pub fn end(self) -> Reader {
        self.read
    }
}

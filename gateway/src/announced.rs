//! Whether an announcement of a join was missed: by the numbers that holders give them.
//!
//! An entry that was lost shows in its room's log. A join in a room that is not live here shows nowhere: so each holder numbers what it
//! announces, and says the last one again. All of it is on one subject, where what one publisher says keeps its order; a gap is a loss.
//!
//! Not seen is the loss of a holder's very last word, and of what was before the first word of a partition that came here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use hubbub_core::ids::{Epoch, Partition};
use hubbub_wire::tier::event::Numbered;

/// What was heard of all partitions.
#[derive(Debug, Default)]
pub struct Announcements {
    /// The last one of each.
    last: HashMap<Partition, (Epoch, u64)>,
    missed: bool,
}

impl Announcements {
    /// A join is announced.
    pub fn hear(&mut self, Numbered { partition, epoch, number }: Numbered) {
        let last = match self.last.entry(partition) {
            Entry::Vacant(first) => {
                first.insert((epoch, number));
                return;
            }
            Entry::Occupied(last) => last.into_mut(),
        };
        // Said again, or by a holder who is none any more.
        if (epoch, number) <= *last {
            return;
        }
        // A new holder begins with 1.
        let heard = if last.0 == epoch { last.1 } else { 0 };
        *last = (epoch, number);
        self.missed |= number > heard + 1;
    }

    /// Whether one was missed since this was asked last.
    pub fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_loss_but_not_what_was_before_the_first_nor_what_is_said_again() {
        let mut heard = Announcements::default();
        let mut misses = |epoch, number| {
            heard.hear(Numbered { partition: Partition(3), epoch: Epoch(epoch), number });
            heard.take_missed()
        };
        assert!(!misses(1, 5), "what was before is read by whoever says hello");
        assert!(!misses(1, 6) && !misses(1, 6));
        assert!(misses(1, 8));
        assert!(!misses(1, 9), "once");
        assert!(!misses(2, 1), "of a new holder");
        assert!(!misses(1, 20) && !misses(2, 2), "the one before");
        assert!(misses(3, 2), "its first one was lost");
        assert!(!misses(3, 3));
    }
}

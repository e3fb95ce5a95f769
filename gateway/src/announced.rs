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

/// The last one heard of each partition.
#[derive(Debug, Default)]
pub struct Announcements(HashMap<Partition, (Epoch, u64)>);

impl Announcements {
    /// A join is announced. Whether one before it was missed.
    pub fn hear(&mut self, Numbered { partition, epoch, number }: Numbered) -> bool {
        let last = match self.0.entry(partition) {
            Entry::Vacant(first) => {
                first.insert((epoch, number));
                return false;
            }
            Entry::Occupied(last) => last.into_mut(),
        };
        // A new holder begins with 1; one before it is not listened to any more.
        let heard = if last.0 == epoch { last.1 } else { 0 };
        if (epoch, number) <= *last {
            return false;
        }
        *last = (epoch, number);
        number > heard + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_loss_but_not_what_was_before_the_first_nor_what_is_said_again() {
        let mut heard = Announcements::default();
        let mut hear =
            |epoch, number| heard.hear(Numbered { partition: Partition(3), epoch: Epoch(epoch), number });
        assert!(!hear(1, 5), "what was before is read by whoever says hello");
        assert!(!hear(1, 6) && !hear(1, 6));
        assert!(hear(1, 8));
        assert!(!hear(1, 9), "once");
        assert!(!hear(2, 1), "of a new holder");
        assert!(!hear(1, 20) && !hear(2, 2), "the one before");
        assert!(hear(3, 2), "its first one was lost");
        assert!(!hear(3, 3));
    }
}

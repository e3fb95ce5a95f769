//! Whether an announcement of a join was missed: by the numbers that holders give them.
//!
//! An entry that was lost shows in its room's log. A join in a room that is not live here shows nowhere: so each holder numbers what it
//! announces, and says once a second, with the heads, how far it is. What the bus brings on two subjects may come in another order
//! than it was sent: only what was due at the last such word and is still missing at the next one was lost.
//!
//! Not seen are the last announcements of a holder that died before it said how many they are, and those of a partition before
//! the first word of it that came here.

use std::collections::HashMap;

use hubbub_core::ids::{Epoch, Partition};
use hubbub_wire::tier::event::Announced;

/// What was heard of all partitions.
#[derive(Debug, Default)]
pub struct Announcements(HashMap<Partition, Heard>);

#[derive(Debug)]
struct Heard {
    epoch: Epoch,
    /// How many joins were heard of.
    joins: u64,
    /// How many there were at the holder's last word.
    due: u64,
}

impl Announcements {
    /// A join is announced. Whether one before it was missed.
    pub fn hear(&mut self, announced: Announced) -> bool {
        let Some(heard) = self.of(announced, announced.joins.saturating_sub(1)) else { return false };
        let missed = announced.joins > heard.joins + 1;
        heard.joins = heard.joins.max(announced.joins);
        missed
    }

    /// A holder says how many joins it has announced. Whether one of them was missed.
    pub fn hear_count(&mut self, announced: Announced) -> bool {
        let Some(heard) = self.of(announced, announced.joins) else { return false };
        let missed = heard.due > heard.joins;
        heard.joins = heard.joins.max(heard.due);
        heard.due = announced.joins;
        missed
    }

    /// What was heard of a holder, unless it was followed by another one. Of the first of a partition so many count as `known`.
    fn of(&mut self, announced: Announced, known: u64) -> Option<&mut Heard> {
        let Announced { partition, epoch, .. } = announced;
        let heard = self.0.entry(partition).or_insert(Heard { epoch, joins: known, due: known });
        if heard.epoch < epoch {
            *heard = Heard { epoch, joins: 0, due: 0 };
        }
        (heard.epoch == epoch).then_some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn so_many(epoch: u64, joins: u64) -> Announced {
        Announced { partition: Partition(3), epoch: Epoch(epoch), joins }
    }

    #[test]
    fn a_gap_is_seen_at_the_next_announcement_and_a_lost_last_one_at_the_second_count() {
        let mut heard = Announcements::default();
        assert!(!heard.hear(so_many(1, 5)), "what was before is read by whoever says hello");
        assert!(!heard.hear(so_many(1, 6)));
        assert!(heard.hear(so_many(1, 8)));
        assert!(!heard.hear(so_many(1, 9)), "once");
        assert!(!heard.hear_count(so_many(1, 10)), "it may be on its way");
        assert!(!heard.hear(so_many(1, 10)));
        assert!(!heard.hear_count(so_many(1, 11)));
        assert!(heard.hear_count(so_many(1, 11)));
        assert!(!heard.hear_count(so_many(1, 11)), "once");
        assert!(!heard.hear(so_many(1, 12)));
    }

    #[test]
    fn a_new_holder_begins_anew_and_the_one_before_is_not_listened_to() {
        let mut heard = Announcements::default();
        assert!(!heard.hear_count(so_many(1, 7)));
        assert!(!heard.hear(so_many(2, 1)));
        assert!(!heard.hear(so_many(1, 9)));
        assert!(!heard.hear(so_many(2, 2)));
        assert!(heard.hear(so_many(3, 2)), "its first one was lost");
        assert!(!heard.hear_count(so_many(4, 1)));
        assert!(heard.hear_count(so_many(4, 1)), "and that of this one");
    }
}

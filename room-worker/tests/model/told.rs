//! What the world has been told, and what must stay true of it. No holder knows this: it is what the checker remembers.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Entry, Epoch, Key, Says, Seq};

/// All that holders have vouched for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// The committed log: each was durable, then the fence was read, then it was published.
    pub committed: Vec<Entry>,
    /// Which seq an `ok` named for a key.
    pub acked: BTreeMap<Key, Seq>,
    /// The heads that syncs have named, the last of each epoch: it reads all that the ones before it did.
    pub heads: BTreeMap<Epoch, Seq>,
    /// After which seq the user was refused as not a member.
    pub refused: BTreeSet<Seq>,
    /// Two entries were committed at one seq.
    pub forked: bool,
    /// An entry is missing below what was committed, or below where a holder goes on.
    pub gap: bool,
    /// Two answers for one key named two seqs.
    pub two_answers: bool,
}

impl Told {
    pub fn commit(&mut self, seq: Seq, entry: Entry) {
        let index = usize::from(seq) - 1;
        match self.committed.get(index) {
            Some(before) => self.forked |= *before != entry,
            None if index == self.committed.len() => self.committed.push(entry),
            None => self.gap = true,
        }
    }

    pub fn ack(&mut self, key: Key, seq: Seq) {
        let before = self.acked.insert(key, seq);
        self.two_answers |= before.is_some_and(|before| before != seq);
    }

    pub fn name_head(&mut self, epoch: Epoch, head: Seq) {
        if head > 0 {
            let named = self.heads.entry(epoch).or_insert(head);
            *named = head.max(*named);
        }
    }

    pub fn each_key_is_once(&self) -> bool {
        let messages = || self.committed.iter().map(|entry| entry.says).filter(|says| is_message(*says));
        messages().count() == messages().collect::<BTreeSet<_>>().len()
    }

    /// Whether each message is by a member, by the log itself.
    pub fn only_members_speak(&self, at_first: bool) -> bool {
        let spoken = |(index, entry): (usize, &Entry)| {
            !is_message(entry.says) || is_member(at_first, &self.committed[..index])
        };
        self.committed.iter().enumerate().all(spoken)
    }

    /// Whether who was refused was no member there. A log that does not reach there says nothing yet.
    pub fn only_others_are_refused(&self, at_first: bool) -> bool {
        let log = |seq: &Seq| self.committed.get(..usize::from(*seq));
        self.refused.iter().filter_map(log).all(|log| !is_member(at_first, log))
    }
}

fn is_message(says: Says) -> bool {
    matches!(says, Says::Message(_))
}

/// Whether the user is a member after these entries.
pub fn is_member(at_first: bool, log: &[Entry]) -> bool {
    log.iter().fold(at_first, |member, entry| match entry.says {
        Says::Message(_) => member,
        Says::Join => true,
        Says::Leave => false,
    })
}

//! Bringing what the log says to the tables that lists are read from.
//!
//! One projection of a room is in flight at a time: the mark says that *all* up to it is there, so a later one may not
//! overtake an earlier one. What is committed meanwhile goes with the next.

use std::collections::HashMap;

use hubbub_core::entry::{Entry, Kept, Kind, RoomFacts};
use hubbub_core::ids::{Millis, RoomId, Seq, UserId};
use hubbub_core::ports::store::{MemberChange, Projection};

/// Entries and bytes of log after which a mark is projected even if no list changes: so much is read again at a first touch.
const MARK_EVERY_ENTRIES: u64 = 1_000;
const MARK_EVERY_BYTES: usize = 4 * 1024 * 1024;
/// What may be beyond the mark at most, where the store takes projections more slowly than entries, or takes none: a first touch has it all in
/// memory. As many who join at once as a partition's inbox takes are not too many.
const FAR_BEHIND_ENTRIES: u64 = 20 * MARK_EVERY_ENTRIES;
const FAR_BEHIND_BYTES: usize = 10 * MARK_EVERY_BYTES;

/// What is committed and not in the projections.
#[derive(Debug)]
pub(crate) struct Unprojected {
    /// All up to here is in the projections.
    mark: Seq,
    upto: Seq,
    upto_at: Millis,
    /// Of what goes with the next projection, and with the one in flight.
    bytes: usize,
    bytes_in_flight: usize,
    members: u64,
    changes: HashMap<UserId, MemberChange>,
    facts: Option<RoomFacts>,
    created_at: Option<Millis>,
    erased: Option<Seq>,
    kept: Option<(Kept, Seq)>,
    in_flight: bool,
    must: bool,
}

/// Whether an entry changes what lists or rooms' rows show.
pub(crate) fn is_listed(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Join | Kind::Leave | Kind::Retention) || entry.facts.is_some()
}

impl Unprojected {
    pub(crate) fn new(mark: Seq, members: u64) -> Self {
        Self {
            mark,
            upto: mark,
            upto_at: Millis(0),
            bytes: 0,
            bytes_in_flight: 0,
            members,
            changes: HashMap::new(),
            facts: None,
            created_at: None,
            erased: None,
            kept: None,
            in_flight: false,
            must: false,
        }
    }

    /// Takes a committed entry, and how many members there are after it.
    pub(crate) fn push(&mut self, entry: &Entry, members: u64) {
        (self.upto, self.upto_at, self.members) = (entry.seq, entry.at, members);
        self.bytes += entry.json.len();
        if entry.kind == Kind::Erase {
            self.erased = Some(entry.seq);
        }
        if !is_listed(entry) {
            return;
        }
        self.must = true;
        if let Some(kept) = entry.kept() {
            self.kept = Some((kept, entry.seq));
        }
        if matches!(entry.kind, Kind::Join | Kind::Leave) {
            let change =
                MemberChange { user: entry.shown_user(), seq: entry.seq, member: entry.kind == Kind::Join };
            self.changes.insert(entry.user.clone(), change);
        }
        if let Some(facts) = &entry.facts {
            self.facts = Some(facts.clone());
        }
        if entry.seq == Seq(1) {
            self.created_at = Some(entry.at);
        }
    }

    /// Brings the mark up to the log even if nobody waits for it.
    pub(crate) fn insist(&mut self) {
        self.must |= self.upto > self.mark;
    }

    /// Whether a projection is due, and none in flight.
    pub(crate) fn is_due(&self) -> bool {
        let far = self.upto.0 - self.mark.0 >= MARK_EVERY_ENTRIES || self.bytes >= MARK_EVERY_BYTES;
        !self.in_flight && (self.must || far)
    }

    /// The next projection, if one is due.
    pub(crate) fn take(&mut self, room: &RoomId) -> Option<Projection> {
        if !self.is_due() {
            return None;
        }
        (self.in_flight, self.must) = (true, false);
        self.bytes_in_flight = std::mem::take(&mut self.bytes);
        Some(Projection {
            room: room.clone(),
            facts: self.facts.take(),
            created_at: self.created_at.take(),
            members: std::mem::take(&mut self.changes).into_values().collect(),
            member_count: self.members,
            mark: self.upto,
            mark_at: self.upto_at,
            erased: self.erased.take(),
            kept: self.kept.take(),
        })
    }

    /// A projection is in the store.
    pub(crate) fn projected(&mut self, mark: Seq) {
        (self.in_flight, self.bytes_in_flight) = (false, 0);
        self.mark = mark;
    }

    pub(crate) fn mark(&self) -> Seq {
        self.mark
    }

    /// Whether of a log that ends at `durable` as much is not in the projections as may be.
    pub(crate) fn is_far_behind(&self, durable: Seq) -> bool {
        let entries = durable.0.saturating_sub(self.mark.0);
        entries >= FAR_BEHIND_ENTRIES || self.bytes + self.bytes_in_flight >= FAR_BEHIND_BYTES
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Whether the projections are the whole committed log.
    pub(crate) fn is_whole(&self) -> bool {
        self.mark == self.upto
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::User;
    use hubbub_core::limits::Content;

    use super::*;

    fn room() -> RoomId {
        RoomId::parse("r").unwrap()
    }

    fn entry(seq: u64, says: Says<'_>) -> Entry {
        let user = User { id: UserId::parse("u").unwrap(), name: "Ann".into() };
        Entry::new(&room(), Seq(seq), Millis(seq), &user, None, says)
    }

    #[test]
    fn a_projection_does_not_overtake_another() {
        let mut unprojected = Unprojected::new(Seq(0), 0);
        let facts = RoomFacts { name: "n".into(), topic: "".into(), owner: UserId::parse("u").unwrap() };
        unprojected.push(&entry(1, Says::Join(Some(&facts))), 1);
        let first = unprojected.take(&room()).unwrap();
        assert_eq!((first.mark, first.created_at, first.facts), (Seq(1), Some(Millis(1)), Some(facts)));
        assert_eq!(&*first.members[0].user.name, "Ann");
        unprojected.push(&entry(2, Says::Leave { by: None }), 0);
        unprojected.push(&entry(3, Says::Join(None)), 1);
        assert!(unprojected.take(&room()).is_none(), "one is in flight");
        unprojected.projected(Seq(1));
        let second = unprojected.take(&room()).unwrap();
        assert_eq!((second.mark, second.members.len(), second.member_count), (Seq(3), 1, 1));
        assert!(second.members[0].member, "the last word about a user");
    }

    #[test]
    fn a_mark_alone_is_projected_now_and_then() {
        let content = Content::text("x".into()).unwrap();
        let mut unprojected = Unprojected::new(Seq(10), 1);
        for seq in 11..11 + MARK_EVERY_ENTRIES {
            assert!(unprojected.take(&room()).is_none());
            unprojected.push(&entry(seq, Says::Message(&content)), 1);
        }
        assert_eq!(unprojected.take(&room()).unwrap().mark, Seq(10 + MARK_EVERY_ENTRIES));
    }

    #[test]
    fn a_mark_is_far_behind_by_entries_or_by_bytes_until_it_is_brought_up() {
        let mut unprojected = Unprojected::new(Seq(10), 1);
        let far = Seq(10 + FAR_BEHIND_ENTRIES);
        assert!(unprojected.is_far_behind(far) && !unprojected.is_far_behind(Seq(far.0 - 1)));
        let picture = Content::image(format!("data:image/png;base64,{}", "A".repeat(200_000))).unwrap();
        let (mut seq, mut bytes) = (11, 0);
        while !unprojected.is_far_behind(Seq(seq - 1)) {
            let entry = entry(seq, Says::Message(&picture));
            unprojected.push(&entry, 1);
            // The first that is due stays in flight.
            unprojected.take(&room());
            (seq, bytes) = (seq + 1, bytes + entry.json.len());
        }
        assert!((FAR_BEHIND_BYTES..FAR_BEHIND_BYTES + 210_000).contains(&bytes), "{bytes}");
        unprojected.projected(Seq(20));
        assert!(!unprojected.is_far_behind(Seq(seq)));
    }
}

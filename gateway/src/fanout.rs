//! Fan-out: what a room says in one turn, to each connection that is live in it.
//!
//! # What it costs
//! A room and turn: one buffer with the frames of all its entries, encoded once. A delivery: one `send` system call of that
//! buffer and a reference count; no task, wake, allocation or copy. The call is the floor (2.4 to 3.7 µs, of it
//! nearly all TCP); everything else of a delivery is below a tenth of it. Only a connection that must see other bytes
//! costs a buffer of its own: the sender, who sees its key, and one who came or went within the turn sees a
//! slice.
//!
//! # Turn and rest
//! Nothing is sent when an entry comes: it is appended to its room's turn. The shard's flusher yields once, so that all
//! that is readable now is read first, and then sends each room's turn in one write a member. Busy, turns get longer by
//! themselves and a write carries more; idle, there is no timer and no delay. A room of [`REST_MEMBERS_MIN`] or more rests
//! after a flush for as long as the flush took of this thread's CPU time, so that it can't take more than half of it.

use std::time::Duration;

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Seq, UserId};
use hubbub_wire::native::answer;
use rustix::time::{ClockId, clock_gettime};

/// Members from which on a room rests after a flush.
pub const REST_MEMBERS_MIN: usize = 100;
/// A rest shorter than this is none: the runtime's timer has steps of a millisecond.
const REST_MIN: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_millis(10);
/// Bytes of one turn of a room; then it is sent at once, so that other rooms get their turn.
pub const TURN_BYTES_MAX: usize = 64 * 1024;

/// Something to be sent to the members.
enum Item {
    Entry(Entry),
    /// A frame that nobody keeps, and whom it is not for. The first to be shed.
    Passing(Bytes, Option<UserId>),
}

/// What a room will send at the end of the turn.
#[derive(Default)]
pub struct Turn {
    items: Vec<Item>,
    bytes: usize,
    /// Connections that are live from this item on.
    from: Vec<(u32, usize)>,
    /// Connections that are live up to this item.
    to: Vec<(u32, usize)>,
}

impl Turn {
    /// Appends an entry.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.json.len();
        self.items.push(Item::Entry(entry));
    }

    /// Appends a frame that nobody keeps.
    pub fn push_passing(&mut self, frame: Bytes, not_for: Option<UserId>) {
        self.bytes += frame.len();
        self.items.push(Item::Passing(frame, not_for));
    }

    /// The connection is sent only what comes from here on.
    pub fn starts_here(&mut self, slot: u32) {
        if !self.items.is_empty() {
            self.from.push((slot, self.items.len()));
        }
    }

    /// The connection is sent only what came up to here.
    pub fn ends_here(&mut self, slot: u32) {
        self.to.push((slot, self.items.len()));
    }

    /// Whether the connection leaves with this turn.
    pub fn ends(&self, slot: u32) -> bool {
        self.to.iter().any(|(s, _)| *s == slot)
    }

    /// A connection went away: its slot may be used again within this turn.
    pub fn forget(&mut self, slot: u32) {
        self.from.retain(|(s, _)| *s != slot);
        self.to.retain(|(s, _)| *s != slot);
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it should be sent before the end of the turn.
    pub fn is_full(&self) -> bool {
        self.bytes >= TURN_BYTES_MAX
    }

    /// Encodes the frames. `number` tells which users have connections on this shard.
    pub fn encode(self, number: impl Fn(&UserId) -> Option<UserNumber>) -> Encoded {
        let mut frames = Vec::with_capacity(self.bytes + self.items.len() * 4);
        let mut offsets = Vec::with_capacity(self.items.len() + 1);
        let mut special = Vec::new();
        let mut entries = 0;
        for item in &self.items {
            offsets.push(frames.len());
            match item {
                Item::Entry(entry) => {
                    entries += 1;
                    answer::append_entry(&mut frames, entry);
                    if entry.key.is_some() {
                        special.extend(number(&entry.user).map(|number| (number, entry.user.clone())));
                    }
                }
                Item::Passing(frame, not_for) => {
                    frames.extend_from_slice(frame);
                    special.extend(not_for.clone().and_then(|user| Some((number(&user)?, user))));
                }
            }
        }
        offsets.push(frames.len());
        special.sort_unstable();
        special.dedup_by_key(|(number, _)| *number);
        let special =
            special.into_iter().map(|(number, user)| Special { number, user, made: None }).collect();
        let Self { items, mut from, mut to, .. } = self;
        from.sort_unstable();
        to.sort_unstable();
        Encoded { frames: frames.into(), offsets, items, special, from, to, entries }
    }
}

/// A user of a shard, as a number that a connection holds itself: a delivery need not follow a pointer to know whose it is.
pub type UserNumber = u32;

struct Special {
    number: UserNumber,
    user: UserId,
    made: Option<Bytes>,
}

/// A turn's frames, made once.
pub struct Encoded {
    frames: Bytes,
    offsets: Vec<usize>,
    items: Vec<Item>,
    /// Users who see other bytes than the rest, and those bytes once they are made: several connections of one user
    /// share them.
    special: Vec<Special>,
    from: Vec<(u32, usize)>,
    to: Vec<(u32, usize)>,
    /// Entries among the items.
    pub entries: u64,
}

/// What one connection is sent.
pub struct Share {
    /// The frames.
    pub frames: Bytes,
    /// The seq before its first entry; `None` if there is none: then it may be shed.
    pub after: Option<Seq>,
}

impl Encoded {
    /// What the connection at `slot` of `user` is sent; with `passing` false only entries.
    pub fn share(&mut self, slot: u32, user: UserNumber, passing: bool) -> Share {
        let all = self.items.len();
        let from = find(&self.from, slot).unwrap_or(0);
        let to = find(&self.to, slot).unwrap_or(all);
        let special = self.special.iter().position(|special| special.number == user);
        let frames = match special {
            Some(at) => self.own(at, from, to, passing),
            None if !passing && self.entries < all as u64 => self.own_entries_only(from, to),
            None if from == 0 && to == all => self.frames.clone(),
            None => self.frames.slice(self.offsets[from]..self.offsets[to]),
        };
        Share { frames, after: self.seq_before(from, to) }
    }

    /// Those who leave with this turn.
    pub fn leaving(&self) -> &[(u32, usize)] {
        &self.to
    }

    /// The seq of the last entry up to item `to`.
    pub fn last_seq(&self, to: usize) -> Option<Seq> {
        self.items[..to].iter().rev().find_map(|item| match item {
            Item::Entry(entry) => Some(entry.seq),
            Item::Passing(..) => None,
        })
    }

    fn seq_before(&self, from: usize, to: usize) -> Option<Seq> {
        self.items[from.min(to)..to].iter().find_map(|item| match item {
            Item::Entry(entry) => Some(Seq(entry.seq.0 - 1)),
            Item::Passing(..) => None,
        })
    }

    fn own(&mut self, at: usize, from: usize, to: usize, passing: bool) -> Bytes {
        let Special { user, made, .. } = &self.special[at];
        let all = from == 0 && to == self.items.len() && passing;
        if let (true, Some(made)) = (all, made) {
            return made.clone();
        }
        let mut out = Vec::with_capacity(self.offsets[to] - self.offsets[from] + 80);
        for item in &self.items[from..to] {
            match item {
                Item::Entry(entry) => append_for(&mut out, entry, user),
                Item::Passing(frame, not_for) if passing && not_for.as_ref() != Some(user) => {
                    out.extend_from_slice(frame);
                }
                Item::Passing(..) => {}
            }
        }
        let out = Bytes::from(out);
        if all {
            self.special[at].made = Some(out.clone());
        }
        out
    }

    fn own_entries_only(&self, from: usize, to: usize) -> Bytes {
        let mut out = Vec::new();
        for (n, item) in self.items[from..to].iter().enumerate() {
            if matches!(item, Item::Entry(_)) {
                out.extend_from_slice(&self.frames[self.offsets[from + n]..self.offsets[from + n + 1]]);
            }
        }
        out.into()
    }
}

fn find(list: &[(u32, usize)], slot: u32) -> Option<usize> {
    if list.is_empty() {
        return None;
    }
    list.binary_search_by_key(&slot, |(s, _)| *s).ok().map(|at| list[at].1)
}

/// Appends an entry's frame as the user's own connections see it.
pub fn append_for(out: &mut Vec<u8>, entry: &Entry, user: &UserId) {
    match &entry.key {
        Some(key) if entry.user == *user => answer::append_own_entry(out, entry, key),
        _ => answer::append_entry(out, entry),
    }
}

/// CPU time of this thread: another process's time slice must not lengthen a rest.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// How long a room rests whose flush took `spent`; `None` for not at all.
pub fn rest_after(spent: Duration) -> Option<Duration> {
    (spent >= REST_MIN).then(|| spent.min(REST_MAX))
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Key, Millis, RoomId, User};
    use hubbub_core::limits::Content;

    use super::*;

    fn id(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn entry(seq: u64, user: &str, key: Option<&str>) -> Entry {
        let user = User { id: id(user), name: user.into() };
        let content = Content::text(format!("text{seq}")).unwrap();
        let key = key.map(|k| Key::parse(k).unwrap());
        Entry::new(&RoomId::parse("r").unwrap(), Seq(seq), Millis(1), &user, key, Says::Message(&content))
    }

    fn number(user: &UserId) -> Option<UserNumber> {
        ["ann", "bob", "cyd"].iter().position(|name| *name == user.as_str()).map(|n| n as UserNumber)
    }

    fn text(share: &Share) -> String {
        String::from_utf8_lossy(&share.frames).into_owned()
    }

    #[test]
    fn all_members_share_one_buffer_and_the_sender_sees_its_key() {
        let mut turn = Turn::default();
        turn.push(entry(5, "ann", Some("k1")));
        turn.push(entry(6, "bob", None));
        let mut encoded = turn.encode(number);
        let (bob, cyd) = (
            encoded.share(1, number(&id("bob")).unwrap(), true),
            encoded.share(2, number(&id("cyd")).unwrap(), true),
        );
        assert_eq!(bob.frames.as_ptr(), cyd.frames.as_ptr(), "one buffer");
        assert!(!text(&bob).contains("\"key\""));
        let ann = text(&encoded.share(0, number(&id("ann")).unwrap(), true));
        assert!(ann.contains("\"key\":\"k1\"") && ann.contains("text6"));
        assert_eq!(bob.after, Some(Seq(4)));
    }

    #[test]
    fn who_comes_or_goes_within_a_turn_sees_their_part() {
        let mut turn = Turn::default();
        turn.push(entry(1, "ann", None));
        turn.starts_here(7);
        turn.push(entry(2, "ann", None));
        turn.ends_here(8);
        turn.push(entry(3, "ann", None));
        let mut encoded = turn.encode(number);
        let came = encoded.share(7, number(&id("bob")).unwrap(), true);
        assert!(
            !text(&came).contains("text1") && text(&came).contains("text2") && text(&came).contains("text3")
        );
        assert_eq!(came.after, Some(Seq(1)));
        let went = text(&encoded.share(8, number(&id("cyd")).unwrap(), true));
        assert!(went.contains("text1") && went.contains("text2") && !went.contains("text3"));
        assert_eq!(encoded.last_seq(encoded.leaving()[0].1), Some(Seq(2)));
    }

    #[test]
    fn what_passes_is_not_for_its_author_and_is_shed_first() {
        let mut turn = Turn::default();
        turn.push_passing(Bytes::from_static(b"[typing]"), Some(id("ann")));
        turn.push(entry(1, "bob", None));
        let mut encoded = turn.encode(number);
        assert!(!text(&encoded.share(0, number(&id("ann")).unwrap(), true)).contains("typing"));
        assert!(text(&encoded.share(1, number(&id("bob")).unwrap(), true)).contains("typing"));
        assert!(!text(&encoded.share(1, number(&id("bob")).unwrap(), false)).contains("typing"));
    }
}

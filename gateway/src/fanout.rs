//! Fan-out: what a room says in one turn, to each connection that is live in it.
//!
//! # What it costs
//! A room and turn: one buffer with the frames of all its entries for each [dialect](crate::dialect) that is spoken there,
//! encoded once. A delivery: one `send` system call of that
//! buffer; no task, wake, allocation or copy. The call is the floor (2.4 to 3.7 µs, of it
//! nearly all TCP); everything else of a delivery is below a tenth of it. Only a connection that must see other bytes
//! costs a buffer of its own: the sender, who sees its key, and one who came or went within the turn sees a
//! slice.
//!
//! # Turn and rest
//! Nothing is sent when an entry comes: it is appended to its room's turn. The shard's flusher yields once, so that all
//! that is readable now is read first, and then sends each room's turn in one write a member, a [part](crate::round) of the
//! rooms at a time. Busy, turns get longer by themselves and a write carries more; idle, there is no timer and no delay. A room
//! of [`REST_MEMBERS_MIN`] or more rests after a flush for as long as the flush took of this thread's CPU time, so that it can't
//! take more than half of it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Millis, RoomId, Seq, UserId};
use rustix::time::{ClockId, clock_gettime};

use crate::dialect::{Dialect, Passes};

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
    /// What nobody keeps. The first to be shed.
    Passing(Passes),
}

impl Item {
    /// Appends its frame as `user`'s own connections see it, or those of anyone else.
    fn append(&self, out: &mut Vec<u8>, dialect: Dialect, room: &RoomId, user: Option<&UserId>) {
        match self {
            Self::Entry(entry) => dialect.append_entry(out, room, entry, user),
            Self::Passing(passes) => dialect.append_passing(out, room, passes),
        }
    }
}

/// About how long the frame of what passes is.
const PASSING_BYTES: usize = 128;

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

    /// Appends what nobody keeps.
    pub fn push_passing(&mut self, passes: Passes) {
        self.bytes += PASSING_BYTES;
        self.items.push(Item::Passing(passes));
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

    /// What the connection of `user` at `slot` would be sent by now.
    pub fn part(&self, slot: u32, dialect: Dialect, room: &RoomId, user: &UserId) -> Bytes {
        let place = |list: &[(u32, usize)]| list.iter().find(|(s, _)| *s == slot).map(|(_, place)| *place);
        let (from, to) = (place(&self.from).unwrap_or(0), place(&self.to).unwrap_or(self.items.len()));
        let mut out = Vec::new();
        append_own(&mut out, &self.items[from..to], dialect, room, user, true);
        out.into()
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

    /// When its first entry was made.
    pub fn oldest(&self) -> Option<Millis> {
        self.items.iter().find_map(|item| match item {
            Item::Entry(entry) => Some(entry.at),
            Item::Passing(_) => None,
        })
    }

    /// Makes it ready to be shared out. `number` tells which users have connections on this shard.
    pub fn encode(self, room: RoomId, number: impl Fn(&UserId) -> Option<UserNumber>) -> Encoded {
        let mut special: Vec<Special> = Vec::new();
        let mut entries = 0;
        for item in &self.items {
            let (user, passes) = match item {
                Item::Entry(entry) => {
                    entries += 1;
                    (entry.key.is_some().then_some(&entry.user), false)
                }
                Item::Passing(passes) => (passes.not_for(), true),
            };
            let Some((number, user)) = user.and_then(|user| Some((number(user)?, user))) else { continue };
            match special.iter_mut().find(|one| one.number == number) {
                Some(one) => one.only_key &= !passes,
                None => special.push(Special {
                    number,
                    only_key: !passes,
                    user: user.clone(),
                    made: Default::default(),
                }),
            }
        }
        let Self { items, bytes, mut from, mut to } = self;
        from.sort_unstable();
        to.sort_unstable();
        let after = seq_before(&items);
        let is_plain = from.is_empty() && to.is_empty() && entries == items.len() as u64;
        Encoded { room, items, bytes, made: Default::default(), special, from, to, is_plain, entries, after }
    }
}

/// A user of a shard, as a number that a connection holds itself: a delivery need not follow a pointer to know whose it is.
pub type UserNumber = u32;

struct Special {
    number: UserNumber,
    /// Whether it is only for a key that they see other bytes: where keys are not shown, they don't.
    only_key: bool,
    user: UserId,
    made: ByDialect<Bytes>,
}

/// One for each dialect that it was needed in.
type ByDialect<T> = [Option<T>; 2];

/// The frames of all items.
struct Frames {
    bytes: Bytes,
    /// Where each begins, and where the last one ends.
    offsets: Vec<usize>,
}

/// A turn's frames, made once a dialect.
pub struct Encoded {
    room: RoomId,
    items: Vec<Item>,
    bytes: usize,
    made: ByDialect<Frames>,
    /// Users who see other bytes than the rest, and those bytes once they are made: several connections of one user
    /// share them.
    special: Vec<Special>,
    from: Vec<(u32, usize)>,
    to: Vec<(u32, usize)>,
    /// Whether it is entries alone, and all of it for everybody who is not special.
    is_plain: bool,
    /// Entries among the items.
    pub entries: u64,
    /// The seq before the first of them.
    after: Option<Seq>,
}

/// What one connection is sent.
pub struct Share<'a> {
    /// The frames: nearly always those of all.
    pub frames: Cow<'a, Bytes>,
    /// The seq before its first entry; `None` if there is none: then it may be shed.
    pub after: Option<Seq>,
}

impl Encoded {
    /// What the connection at `slot` of `user` is sent; with `passing` false only entries.
    pub fn share(&mut self, slot: u32, user: UserNumber, dialect: Dialect, passing: bool) -> Share<'_> {
        if self.is_plain && !self.special.iter().any(|one| one.number == user) {
            let after = self.after;
            return Share { frames: Cow::Borrowed(&self.frames(dialect).bytes), after };
        }
        let all = self.items.len();
        let from = find(&self.from, slot).unwrap_or(0);
        let to = find(&self.to, slot).unwrap_or(all);
        let is_whole = from == 0 && to == all;
        let after = if is_whole { self.after } else { self.seq_before(from, to) };
        let sees_key = dialect == Dialect::Native;
        let special = self.special.iter().position(|one| one.number == user && (sees_key || !one.only_key));
        let frames = match special {
            Some(at) => Cow::Owned(self.own(at, dialect, from, to, passing)),
            None if !passing && self.entries < all as u64 => {
                Cow::Owned(self.own_entries_only(dialect, from, to))
            }
            None => {
                let Frames { bytes, offsets } = self.frames(dialect);
                match is_whole {
                    true => Cow::Borrowed(bytes),
                    false => Cow::Owned(bytes.slice(offsets[from]..offsets[to])),
                }
            }
        };
        Share { frames, after }
    }

    fn frames(&mut self, dialect: Dialect) -> &Frames {
        let Self { room, items, bytes, made, .. } = self;
        made[dialect as usize].get_or_insert_with(|| {
            let mut out = Vec::with_capacity(*bytes + items.len() * 4);
            let mut offsets = Vec::with_capacity(items.len() + 1);
            for item in items {
                offsets.push(out.len());
                item.append(&mut out, dialect, room, None);
            }
            offsets.push(out.len());
            Frames { bytes: out.into(), offsets }
        })
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
        seq_before(&self.items[from.min(to)..to])
    }

    fn own(&mut self, at: usize, dialect: Dialect, from: usize, to: usize, passing: bool) -> Bytes {
        let Special { user, made, .. } = &self.special[at];
        let all = from == 0 && to == self.items.len() && passing;
        if let (true, Some(made)) = (all, &made[dialect as usize]) {
            return made.clone();
        }
        let mut out = Vec::with_capacity(self.bytes + 80);
        append_own(&mut out, &self.items[from..to], dialect, &self.room, user, passing);
        let out = Bytes::from(out);
        if all {
            self.special[at].made[dialect as usize] = Some(out.clone());
        }
        out
    }

    fn own_entries_only(&mut self, dialect: Dialect, from: usize, to: usize) -> Bytes {
        self.frames(dialect);
        let Some(Frames { bytes, offsets }) = &self.made[dialect as usize] else { return Bytes::new() };
        let mut out = Vec::new();
        for (n, item) in self.items[from..to].iter().enumerate() {
            if matches!(item, Item::Entry(_)) {
                out.extend_from_slice(&bytes[offsets[from + n]..offsets[from + n + 1]]);
            }
        }
        out.into()
    }
}

/// Appends the frames of items as `user`'s own connections see them.
fn append_own(
    out: &mut Vec<u8>,
    items: &[Item],
    dialect: Dialect,
    room: &RoomId,
    user: &UserId,
    passing: bool,
) {
    for item in items {
        match item {
            Item::Passing(passes) if !passing || passes.not_for() == Some(user) => {}
            item => item.append(out, dialect, room, Some(user)),
        }
    }
}

fn seq_before(items: &[Item]) -> Option<Seq> {
    items.iter().find_map(|item| match item {
        Item::Entry(entry) => Some(Seq(entry.seq.0 - 1)),
        Item::Passing(..) => None,
    })
}

fn find(list: &[(u32, usize)], slot: u32) -> Option<usize> {
    if list.is_empty() {
        return None;
    }
    list.binary_search_by_key(&slot, |(s, _)| *s).ok().map(|at| list[at].1)
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
    use hubbub_core::ids::{Key, Millis, User};
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

    fn room() -> RoomId {
        RoomId::parse("r").unwrap()
    }

    fn share(
        encoded: &mut Encoded,
        slot: u32,
        user: &str,
        dialect: Dialect,
        passing: bool,
    ) -> Share<'static> {
        let Share { frames, after } = encoded.share(slot, number(&id(user)).unwrap(), dialect, passing);
        Share { frames: Cow::Owned(frames.into_owned()), after }
    }

    fn text(share: &Share<'_>) -> String {
        String::from_utf8_lossy(&share.frames).into_owned()
    }

    #[test]
    fn all_members_share_one_buffer_and_the_sender_sees_its_key() {
        let mut turn = Turn::default();
        turn.push(entry(5, "ann", Some("k1")));
        turn.push(entry(6, "bob", None));
        let mut encoded = turn.encode(room(), number);
        let (bob, cyd) = (
            share(&mut encoded, 1, "bob", Dialect::Native, true),
            share(&mut encoded, 2, "cyd", Dialect::Native, true),
        );
        assert_eq!(bob.frames.as_ptr(), cyd.frames.as_ptr(), "one buffer");
        assert!(!text(&bob).contains("\"key\""));
        let ann = text(&share(&mut encoded, 0, "ann", Dialect::Native, true));
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
        let mut encoded = turn.encode(room(), number);
        let came = share(&mut encoded, 7, "bob", Dialect::Native, true);
        assert!(
            !text(&came).contains("text1") && text(&came).contains("text2") && text(&came).contains("text3")
        );
        assert_eq!(came.after, Some(Seq(1)));
        let went = text(&share(&mut encoded, 8, "cyd", Dialect::Native, true));
        assert!(went.contains("text1") && went.contains("text2") && !went.contains("text3"));
        assert_eq!(encoded.last_seq(encoded.leaving()[0].1), Some(Seq(2)));
    }

    #[test]
    fn what_passes_is_not_for_its_author_and_is_shed_first() {
        let mut turn = Turn::default();
        turn.push_passing(Passes::Typing(User { id: id("ann"), name: "Ann".into() }, true));
        turn.push(entry(1, "bob", None));
        let mut encoded = turn.encode(room(), number);
        assert!(!text(&share(&mut encoded, 0, "ann", Dialect::Native, true)).contains("typing"));
        assert!(text(&share(&mut encoded, 1, "bob", Dialect::Native, true)).contains("typing"));
        assert!(!text(&share(&mut encoded, 1, "bob", Dialect::Native, false)).contains("typing"));
    }

    #[test]
    fn members_of_each_dialect_share_one_buffer_and_none_is_made_for_nobody() {
        let mut turn = Turn::default();
        turn.push(entry(5, "ann", Some("k1")));
        let mut encoded = turn.encode(room(), number);
        // The sender sees no key there: no buffer of their own.
        let mut told = |slot, user| share(&mut encoded, slot, user, Dialect::SocketIo, true);
        let (ann, bob) = (told(0, "ann"), told(1, "bob"));
        assert_eq!(ann.frames.as_ptr(), bob.frames.as_ptr(), "one buffer");
        assert!(text(&ann).contains("42/v1/channel,[\"message\",{\"error\":0"), "{}", text(&ann));
        assert_eq!(ann.after, Some(Seq(4)));
        assert!(encoded.made[Dialect::Native as usize].is_none());
        let cyd = share(&mut encoded, 2, "cyd", Dialect::Native, true);
        assert!(text(&cyd).contains("\"type\":\"message\",\"room\":\"r\""), "{}", text(&cyd));
    }

    #[test]
    fn what_passes_is_in_the_words_of_each_dialect() {
        let mut turn = Turn::default();
        let ann = User { id: id("ann"), name: "Ann".into() };
        turn.push_passing(Passes::Typing(ann.clone(), true));
        turn.push_passing(Passes::Presence(ann, false));
        turn.push_passing(Passes::Count(7));
        let mut encoded = turn.encode(room(), number);
        let bob = text(&share(&mut encoded, 1, "bob", Dialect::SocketIo, true));
        assert!(bob.contains("[\"writing\",{\"chatroom\":\"r\",\"source\":\"ann\",\"status\":1}]"), "{bob}");
        assert!(bob.contains("[\"status\",{\"user\":\"ann\",\"status\":0}]"), "{bob}");
        assert!(!bob.contains('7'), "{bob}");
        let ann = text(&share(&mut encoded, 0, "ann", Dialect::SocketIo, true));
        assert!(!ann.contains("writing") && ann.contains("status"), "{ann}");
    }
}

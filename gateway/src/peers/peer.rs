//! One other gateway as it told of itself: pure, so that what is lost or comes late can be tested without a bus.
//!
//! What it tells carries numbers. The next number is taken; a later one means that a message was lost, and then all of
//! it is asked for again. What it tells meanwhile is held and taken behind the answer: the changes are of the kind
//! that may be taken twice, so pages of different moments and the changes since the first of them make up its present.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use hubbub_core::ids::{RoomId, User, UserId};
use hubbub_wire::tier::presence::{Carried, Changes, Page};

/// Messages held while all is asked for; beyond it the asking begins anew.
const HELD_MAX: usize = 1_024;

/// What follows for others from what a gateway told, or from its silence.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Gone from it, and it told nobody: it took them to be somewhere else.
    pub quiet: Vec<User>,
    /// Gone from it, and it told their rooms.
    pub told: Vec<UserId>,
    /// Gone from it, and whether it told their rooms was lost.
    pub vanished: Vec<User>,
    /// There after all: it was taken for dead.
    pub back: Vec<User>,
}

/// How much is known of it.
#[derive(Debug)]
enum Standing {
    /// What is known has a gap: all is to be asked for, but not before this.
    Unknown(Option<Instant>),
    /// All is being asked for; meanwhile this was heard.
    Asking(u64, Vec<Changes>),
    /// All, up to its last message.
    Known,
    /// It ended: by its own word, or by its silence.
    Gone { since: Instant, by_its_word: bool },
}

/// All that a gateway has told, collected from its pages.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The last message that is in the first page for certain.
    number: Option<u64>,
    users: HashMap<UserId, Arc<str>>,
    counts: HashMap<RoomId, u64>,
}

impl Snapshot {
    /// Takes the next page.
    pub fn take(&mut self, page: Page) {
        self.number.get_or_insert(page.number);
        self.users.extend(page.users);
        self.counts.extend(page.counts);
    }
}

/// One other gateway.
#[derive(Debug)]
pub struct Peer {
    standing: Standing,
    /// Of the last message that was taken.
    number: u64,
    users: HashMap<UserId, Arc<str>>,
    counts: HashMap<RoomId, u64>,
    carried: Option<Carried>,
    /// Since when the roster does not have it.
    missing_since: Option<Instant>,
    /// Whether its users were dropped for its silence since all was known of it.
    was_dropped: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            standing: Standing::Unknown(None),
            number: 0,
            users: HashMap::new(),
            counts: HashMap::new(),
            carried: None,
            missing_since: None,
            was_dropped: false,
        }
    }
}

impl Peer {
    /// Whether the user is there.
    pub fn has(&self, user: &UserId) -> bool {
        self.users.contains_key(user)
    }

    /// How many of a large room's members are there.
    pub fn count(&self, room: &RoomId) -> u64 {
        self.counts.get(room).copied().unwrap_or(0)
    }

    /// What it carries, if it told.
    pub fn carried(&self) -> Option<Carried> {
        self.carried
    }

    /// Whether all that it told is known.
    pub fn is_known(&self) -> bool {
        matches!(self.standing, Standing::Known)
    }

    /// Whether it said that it ends.
    pub fn has_left(&self) -> bool {
        matches!(self.standing, Standing::Gone { by_its_word: true, .. })
    }

    /// Whether it ended, one way or the other.
    pub fn is_gone(&self) -> bool {
        matches!(self.standing, Standing::Gone { .. })
    }

    /// Takes what it tells.
    pub fn hear(&mut self, changes: Changes, now: Instant, news: &mut News) {
        self.carried = changes.carried;
        if changes.leaving {
            // What it told at last counts before its users are dropped: of whom it told nobody else must.
            if changes.number == self.number + 1 {
                self.take(changes, news);
            }
            return self.end(now, true, news);
        }
        match &mut self.standing {
            Standing::Known if changes.number <= self.number => {}
            Standing::Known if changes.number == self.number + 1 && changes.is_news() => {
                self.number += 1;
                self.take(changes, news);
            }
            Standing::Known => self.standing = Standing::Unknown(None),
            Standing::Asking(_, held) if held.len() < HELD_MAX => {
                if changes.is_news() {
                    held.push(changes);
                }
            }
            Standing::Asking(..) => self.standing = Standing::Unknown(None),
            Standing::Unknown(_) | Standing::Gone { .. } => {}
        }
    }

    fn take(&mut self, changes: Changes, news: &mut News) {
        for user in changes.came {
            self.users.insert(user.id, user.name);
        }
        for went in changes.went {
            let name = self.users.remove(&went.user);
            match (went.told, name) {
                (true, _) => news.told.push(went.user),
                (false, Some(name)) => news.quiet.push(User { id: went.user, name }),
                (false, None) => {}
            }
        }
        for (room, count) in changes.counts {
            match count {
                0 => _ = self.counts.remove(&room),
                _ => _ = self.counts.insert(room, count),
            }
        }
    }

    /// The roster has it.
    pub fn lives(&mut self) {
        self.missing_since = None;
        if matches!(self.standing, Standing::Gone { by_its_word: false, .. }) {
            self.standing = Standing::Unknown(None);
        }
    }

    /// The roster does not have it. Since when.
    pub fn is_missing(&mut self, now: Instant) -> Instant {
        *self.missing_since.get_or_insert(now)
    }

    /// The roster can't be believed just now.
    pub fn may_be_missing(&mut self) {
        self.missing_since = None;
    }

    /// It ended: its users are not there any more.
    pub fn end(&mut self, now: Instant, by_its_word: bool, news: &mut News) {
        if self.is_gone() {
            return;
        }
        self.standing = Standing::Gone { since: now, by_its_word };
        self.was_dropped = true;
        self.counts = HashMap::new();
        let users = std::mem::take(&mut self.users);
        news.quiet.extend(users.into_iter().map(|(id, name)| User { id, name }));
    }

    /// Since when it is gone.
    pub fn gone_since(&self) -> Option<Instant> {
        match self.standing {
            Standing::Gone { since, .. } => Some(since),
            _ => None,
        }
    }

    /// Begins to ask for all, if it is time. Whether to ask now.
    pub fn begin_asking(&mut self, attempt: u64, now: Instant) -> bool {
        let Standing::Unknown(not_before) = self.standing else { return false };
        if not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        self.standing = Standing::Asking(attempt, Vec::new());
        true
    }

    /// There was no answer: it is asked again, but not before `again`.
    pub fn end_asking(&mut self, attempt: u64, again: Instant) {
        if matches!(self.standing, Standing::Asking(of, _) if of == attempt) {
            self.standing = Standing::Unknown(Some(again));
        }
    }

    /// Takes the answer, and what was heard since its first page.
    pub fn learn(&mut self, attempt: u64, snapshot: Snapshot, news: &mut News) {
        let Standing::Asking(of, held) = &mut self.standing else { return };
        if *of != attempt {
            return;
        }
        let held = std::mem::take(held);
        let before = std::mem::replace(&mut self.users, snapshot.users);
        self.counts = snapshot.counts;
        self.number = snapshot.number.unwrap_or(0);
        self.standing = Standing::Known;
        // Who was not known before did not come only now, as far as we can tell: nothing follows from it.
        let mut since = News::default();
        for changes in held.into_iter().filter(|changes| changes.number > 0) {
            if changes.number == self.number + 1 {
                self.number += 1;
                self.take(changes, &mut since);
            } else if changes.number > self.number {
                self.standing = Standing::Unknown(None);
                break;
            }
        }
        news.told.extend(since.told);
        let gone = before.into_iter().filter(|(id, _)| !self.users.contains_key(id));
        news.vanished.extend(gone.map(|(id, name)| User { id, name }));
        if std::mem::take(&mut self.was_dropped) {
            let back = self.users.iter().map(|(id, name)| User { id: id.clone(), name: name.clone() });
            news.back.extend(back);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hubbub_core::ids::NodeId;
    use hubbub_wire::tier::presence::Went;

    use super::*;

    fn user(name: &str) -> User {
        User { id: UserId::parse(name).unwrap(), name: name.into() }
    }

    fn changes(number: u64, came: &[&str], went: &[&str]) -> Changes {
        Changes {
            node: NodeId::parse("n").unwrap(),
            number,
            came: came.iter().map(|name| user(name)).collect(),
            went: went.iter().map(|name| Went { user: user(name).id, told: false }).collect(),
            counts: Vec::new(),
            carried: None,
            leaving: false,
        }
    }

    fn page(number: u64, users: &[&str]) -> Page {
        let users = users.iter().map(|name| (user(name).id, (*name).into())).collect();
        Page { number, users, counts: Vec::new(), next: None }
    }

    fn names(peer: &Peer) -> Vec<&str> {
        let mut names: Vec<_> = peer.users.keys().map(UserId::as_str).collect();
        names.sort_unstable();
        names
    }

    fn known(number: u64, users: &[&str]) -> Peer {
        let mut peer = Peer::default();
        assert!(peer.begin_asking(0, Instant::now()));
        let mut snapshot = Snapshot::default();
        snapshot.take(page(number, users));
        let mut news = News::default();
        peer.learn(0, snapshot, &mut news);
        assert_eq!(news, News::default());
        peer
    }

    #[test]
    fn changes_in_order_are_taken_and_a_gap_is_asked_about() {
        let (now, mut news) = (Instant::now(), News::default());
        let mut peer = known(3, &["ann"]);
        peer.hear(changes(4, &["bob"], &[]), now, &mut news);
        peer.hear(changes(4, &["twice"], &[]), now, &mut news);
        peer.hear(changes(4, &[], &[]), now, &mut news);
        assert_eq!(names(&peer), ["ann", "bob"]);
        assert!(!peer.begin_asking(1, now));
        peer.hear(changes(5, &[], &["ann"]), now, &mut news);
        assert_eq!(news.quiet, [user("ann")]);
        peer.hear(changes(7, &["cat"], &[]), now, &mut news);
        assert_eq!(names(&peer), ["bob"], "what follows a gap is not taken");
        assert!(peer.begin_asking(1, now));
    }

    #[test]
    fn a_lost_last_message_is_seen_by_the_number_of_the_next_sign() {
        let mut peer = known(3, &["ann"]);
        peer.hear(changes(4, &[], &[]), Instant::now(), &mut News::default());
        assert!(peer.begin_asking(1, Instant::now()));
    }

    #[test]
    fn what_is_told_while_all_is_asked_for_counts_once_and_in_order() {
        let (now, mut news) = (Instant::now(), News::default());
        let mut peer = Peer::default();
        assert!(peer.begin_asking(1, now));
        for told in [changes(8, &[], &["ann"]), changes(9, &["bob"], &[]), changes(10, &[], &["bob"])] {
            peer.hear(told, now, &mut news);
        }
        let mut snapshot = Snapshot::default();
        snapshot.take(page(8, &["cat"]));
        // A later page is of a later moment: bob had come by then.
        snapshot.take(page(9, &["bob", "dan"]));
        peer.learn(1, snapshot, &mut news);
        assert_eq!(names(&peer), ["cat", "dan"]);
        assert_eq!(peer.number, 10);
        assert!(!peer.begin_asking(2, now));
    }

    #[test]
    fn who_went_unheard_vanishes_with_the_answer() {
        let (now, mut news) = (Instant::now(), News::default());
        let mut peer = known(3, &["ann", "bob"]);
        peer.hear(changes(5, &[], &[]), now, &mut news);
        assert!(peer.begin_asking(1, now));
        let mut snapshot = Snapshot::default();
        snapshot.take(page(5, &["bob", "cat"]));
        peer.learn(1, snapshot, &mut news);
        assert_eq!(news, News { vanished: vec![user("ann")], ..News::default() });
    }

    #[test]
    fn an_answer_without_what_was_lost_meanwhile_is_not_enough() {
        let now = Instant::now();
        let mut peer = Peer::default();
        assert!(peer.begin_asking(1, now));
        peer.hear(changes(10, &["bob"], &[]), now, &mut News::default());
        let mut snapshot = Snapshot::default();
        snapshot.take(page(8, &[]));
        peer.learn(1, snapshot, &mut News::default());
        assert!(peer.begin_asking(2, now));
        peer.end_asking(2, now + Duration::from_secs(1));
        assert!(!peer.begin_asking(3, now));
        assert!(peer.begin_asking(3, now + Duration::from_secs(1)));
        peer.learn(2, Snapshot::default(), &mut News::default());
        assert!(!peer.begin_asking(4, now), "an old answer ends no new question");
    }

    #[test]
    fn one_taken_for_dead_comes_back_with_its_users_and_one_that_left_does_not() {
        let (now, mut news) = (Instant::now(), News::default());
        let mut peer = known(3, &["ann"]);
        peer.end(now, false, &mut news);
        assert_eq!(std::mem::take(&mut news).quiet, [user("ann")]);
        peer.lives();
        assert!(peer.begin_asking(1, now));
        let mut snapshot = Snapshot::default();
        snapshot.take(page(3, &["ann"]));
        peer.learn(1, snapshot, &mut news);
        assert_eq!(news, News { back: vec![user("ann")], ..News::default() });
        peer.hear(Changes { leaving: true, ..changes(3, &[], &[]) }, now, &mut News::default());
        peer.lives();
        assert!(!peer.begin_asking(2, now));
    }
}

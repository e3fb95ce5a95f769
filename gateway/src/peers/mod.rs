//! The other gateways, and who is there: so that a user is online while they have a connection anywhere.
//!
//! A gateway tells the others what changed at it (batched, numbered), and gives all of it to one who missed something;
//! see [`peer`] for what one makes of that, and [`life`] for who lives and what is asked when. It tells them how much it carries
//! as well, and who has more than their share lets some go: [`balance`].
//!
//! # Who tells a room
//! The gateway of the first connection tells `online`, the gateway of the last one `offline`, as far as each knows. It
//! may be wrong about what others did in the last moment, and says in its changes whether it told. So:
//! - Gone, told, and yet here: it did not know of us. We tell `online` again (the first by id of those who have the user).
//! - Gone, not told, and nowhere: each took the other to have them. One who lives tells `offline`: each has a [`share`] of
//!   the users, and a while later, for they may have come back and we not heard of it yet.
//! - A gateway that died or left is the second case for each of its users.
//!
//! Nothing else is promised of presence than that it settles. Without other gateways there is no [`Peers`] at all.

pub mod announce;
pub mod balance;
pub mod life;
pub mod peer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hubbub_core::ids::{NodeId, RoomId, User, UserId};
use hubbub_node::roster::Roster;
use hubbub_wire::tier::node::HEARTBEAT_MS;
use hubbub_wire::tier::presence::{Changes, Page, Place, Went};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::peers::peer::{News, Peer};
use crate::presence::Presence;

/// Bytes of users and counts in one message: far enough below what the bus takes.
const MESSAGE_BYTES: usize = 512 * 1024;

/// What a gateway needs to be one of several.
#[derive(Clone)]
pub struct Cluster {
    /// Which one it is: the node whose signs of life as a gateway the process gives.
    pub node: NodeId,
    /// The gateways that live.
    pub roster: Arc<Roster>,
    /// The history services that live.
    pub readers: Arc<Roster>,
    /// The bridges to bots that live.
    pub bridges: Arc<Roster>,
}

/// The other gateways, as this one knows them.
pub struct Peers {
    cluster: Cluster,
    known: Mutex<Known>,
    /// Something is to be told.
    news: Notify,
    /// Users whose rooms are asked for at once.
    announcing: Semaphore,
    /// Cancelled once those who lived at the start have told all.
    acquainted: CancellationToken,
}

#[derive(Default)]
struct Known {
    /// Who is here, in the order of the pages.
    here: BTreeMap<UserId, Arc<str>>,
    /// How many members of large rooms are here.
    counts: BTreeMap<RoomId, u64>,
    /// Of the last message with changes.
    number: u64,
    /// Users to be told of, and of those who went whether their rooms were told. Memory: who came or went in the last moment.
    changed: BTreeMap<UserId, Change>,
    /// Rooms whose count is to be told.
    recounted: BTreeSet<RoomId>,
    others: HashMap<NodeId, Peer>,
    /// This gateway and those that live, by ascending id; empty while the roster can't be believed.
    living: Vec<NodeId>,
    /// Since when this gateway hears itself.
    heard_since: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Change {
    Came,
    Went { told: bool },
}

/// Whom to tell of: what follows from [`News`].
#[derive(Default)]
struct Verdict {
    online: Vec<User>,
    offline: Vec<User>,
}

impl Peers {
    /// Knows of nobody yet.
    pub fn new(cluster: Cluster) -> Arc<Self> {
        let announcing = Semaphore::new(announce::AT_ONCE);
        let (news, acquainted) = (Notify::new(), CancellationToken::new());
        Arc::new(Self { cluster, known: Mutex::default(), news, announcing, acquainted })
    }

    /// Waits until those gateways that live have told who is there and which tokens were called back. Before that this one would say of
    /// people elsewhere that they are offline, and take a token that nobody is to take.
    ///
    /// Never returns where one of them does not answer: give it a bound. Cancel safe.
    pub async fn acquainted(&self) {
        self.acquainted.cancelled().await;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere can at worst leave a change untold, which the next snapshot makes good.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a user's first connection here opened or the last one closed, whichever is so now: two shards may
    /// come here in another order than they counted in. Whether the user is at another gateway.
    pub fn note(&self, user: &User, presence: &Presence<UserId>) -> bool {
        let mut known = self.lock();
        let elsewhere = known.elsewhere(&user.id);
        match (presence.is_online(&user.id), known.here.contains_key(&user.id)) {
            (true, false) => {
                known.here.insert(user.id.clone(), user.name.clone());
                known.changed.insert(user.id.clone(), Change::Came);
            }
            (false, true) => {
                known.here.remove(&user.id);
                known.changed.insert(user.id.clone(), Change::Went { told: !elsewhere });
            }
            (true, true) | (false, false) => return elsewhere,
        }
        self.news.notify_one();
        elsewhere
    }

    /// Takes note of how many members of a large room are here.
    pub fn note_count(&self, room: &RoomId, count: u64) {
        let mut known = self.lock();
        let before = match count {
            0 => known.counts.remove(room),
            _ => known.counts.insert(room.clone(), count),
        };
        if before.unwrap_or(0) != count {
            known.recounted.insert(room.clone());
            self.news.notify_one();
        }
    }

    /// Whether the user is at another gateway.
    pub fn elsewhere(&self, user: &UserId) -> bool {
        self.lock().elsewhere(user)
    }

    /// How many members of a large room are at other gateways.
    pub fn count_elsewhere(&self, room: &RoomId) -> u64 {
        self.lock().others.values().map(|peer| peer.count(room)).sum()
    }
}

impl Known {
    /// Whether all who live have told all. Who lives is known a beat after this gateway hears itself, and half a one for the way.
    fn is_acquainted(&mut self, me: &NodeId, now: Instant) -> bool {
        const HEARD_ALL: Duration = Duration::from_millis(HEARTBEAT_MS * 3 / 2);
        let since = *self.heard_since.get_or_insert(now);
        let mut others = self.living.iter().filter(|node| *node != me);
        now.duration_since(since) >= HEARD_ALL
            && others.all(|node| self.others.get(node).is_some_and(Peer::is_known))
    }

    fn elsewhere(&self, user: &UserId) -> bool {
        self.others.values().any(|peer| peer.has(user))
    }

    /// Whether it is this gateway that tells of users of whom nobody else does.
    fn is_ours(&self, me: &NodeId, user: &UserId) -> bool {
        share(&self.living, user) == Some(me)
    }

    /// Whether the user is here, and at no gateway with a lower id.
    fn is_first_with(&self, me: &NodeId, user: &UserId) -> bool {
        self.here.contains_key(user) && !self.others.iter().any(|(node, peer)| node < me && peer.has(user))
    }

    /// Whom this gateway is to tell of, after news, and of which gateway if it is news of one.
    fn weigh(&self, me: &NodeId, news: News, of: Option<&NodeId>) -> Verdict {
        let mut verdict = Verdict::default();
        let nowhere = |user: &UserId| !self.here.contains_key(user) && !self.elsewhere(user);
        for id in news.told.iter().chain(news.vanished.iter().map(|user| &user.id)) {
            if self.is_first_with(me, id)
                && let Some(name) = self.here.get(id)
            {
                verdict.online.push(User { id: id.clone(), name: name.clone() });
            }
        }
        let gone = news.quiet.into_iter().chain(news.vanished);
        verdict.offline.extend(gone.filter(|user| nowhere(&user.id) && self.is_ours(me, &user.id)));
        let only_there = |id: &UserId| self.others.values().filter(|peer| peer.has(id)).count() == 1;
        let returned = |user: &User| !self.here.contains_key(&user.id) && only_there(&user.id);
        // All but the one that was taken for dead: it does not know.
        let tell: Vec<_> = self.living.iter().filter(|node| Some(*node) != of).cloned().collect();
        let back = news.back.into_iter().filter(returned);
        verdict.online.extend(back.filter(|user| share(&tell, &user.id) == Some(me)));
        verdict
    }

    /// The next message of what changed, as much as one carries; nothing if nothing did.
    fn next_changes(&mut self, me: &NodeId) -> Option<Changes> {
        let mut changes = Changes {
            node: me.clone(),
            number: self.number,
            came: Vec::new(),
            went: Vec::new(),
            counts: Vec::new(),
            carried: None,
            leaving: false,
        };
        let mut room = MESSAGE_BYTES;
        while let Some(first) = self.changed.first_entry() {
            let name = self.here.get(first.key()).cloned().unwrap_or_default();
            let Some(left) = room.checked_sub(user_bytes(first.key(), &name)) else { break };
            room = left;
            let (id, change) = first.remove_entry();
            match change {
                Change::Came => changes.came.push(User { id, name }),
                Change::Went { told } => changes.went.push(Went { user: id, told }),
            }
        }
        while let Some(left) = room.checked_sub(COUNT_BYTES) {
            let Some(id) = self.recounted.pop_first() else { break };
            room = left;
            let count = self.counts.get(&id).copied().unwrap_or(0);
            changes.counts.push((id, count));
        }
        if !changes.is_news() {
            return None;
        }
        self.number += 1;
        changes.number = self.number;
        Some(changes)
    }

    /// Nobody listens: whoever comes later asks for all, and sees by the number that it has to.
    fn keep_to_itself(&mut self) {
        if !self.changed.is_empty() || !self.recounted.is_empty() {
            self.number += 1;
            self.changed.clear();
            self.recounted.clear();
        }
    }

    /// A page of all that was and would be told. What is not told yet is in it and will be told: taken twice, it is the
    /// same.
    fn page(&self, from: Place) -> Page {
        let mut page = Page { number: self.number, users: Vec::new(), counts: Vec::new(), next: None };
        let mut room = MESSAGE_BYTES;
        let counts_after = match from {
            Place::Users(after) => {
                for (id, name) in behind(&self.here, after) {
                    let Some(left) = room.checked_sub(user_bytes(id, name)) else {
                        page.next = Some(Place::Users(page.users.last().map(|(id, _)| id.clone())));
                        return page;
                    };
                    room = left;
                    page.users.push((id.clone(), name.clone()));
                }
                None
            }
            Place::Counts(after) => after,
        };
        for (id, count) in behind(&self.counts, counts_after) {
            let Some(left) = room.checked_sub(COUNT_BYTES) else {
                page.next = Some(Place::Counts(page.counts.last().map(|(id, _)| id.clone())));
                return page;
            };
            room = left;
            page.counts.push((id.clone(), *count));
        }
        page
    }
}

fn behind<K: Ord, V>(map: &BTreeMap<K, V>, after: Option<K>) -> impl Iterator<Item = (&K, &V)> {
    map.range::<K, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

/// The most that a user takes in a message: each byte of a name may be escaped.
fn user_bytes(id: &UserId, name: &str) -> usize {
    64 + id.as_str().len() + 6 * name.len()
}

/// The most that a room's count takes.
const COUNT_BYTES: usize = 128;

/// Of these gateways the one that tells of a user of whom none else does.
fn share<'a>(living: &'a [NodeId], user: &UserId) -> Option<&'a NodeId> {
    let hash = xxhash_rust::xxh3::xxh3_64(user.as_str().as_bytes());
    let place = hash.checked_rem(living.len() as u64)?;
    living.get(usize::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::peers::peer::Snapshot;

    fn user(name: &str) -> User {
        User { id: UserId::parse(name).unwrap(), name: name.into() }
    }

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    #[test]
    fn pages_and_messages_of_many_users_fit_the_bus_and_lose_none() {
        let mut known = Known::default();
        let name: Arc<str> = "\u{1}".repeat(80).into();
        let ids: Vec<_> = (0..3_000).map(|n| UserId::parse(&format!("{n:064}")).unwrap()).collect();
        for id in &ids {
            known.here.insert(id.clone(), name.clone());
            known.changed.insert(id.clone(), Change::Came);
        }
        for n in 0..5_000 {
            let room = RoomId::parse(&format!("{n:064}")).unwrap();
            known.counts.insert(room.clone(), u64::MAX);
            known.recounted.insert(room);
        }
        let (mut users, mut counts, mut pages) = (0, 0, 0);
        let mut from = Some(Place::Users(None));
        while let Some(place) = from {
            let page = known.page(place);
            assert!(serde_json::to_vec(&page).unwrap().len() < hubbub_core::ports::bus::PAYLOAD_BYTES_MAX);
            (users, counts, pages) = (users + page.users.len(), counts + page.counts.len(), pages + 1);
            from = page.next;
        }
        assert_eq!((users, counts), (3_000, 5_000));
        assert!(pages > 2);
        let (mut users, mut counts, mut messages) = (0, 0, 0);
        while let Some(changes) = known.next_changes(&node("me")) {
            messages += 1;
            assert_eq!(changes.number, messages);
            assert!(serde_json::to_vec(&changes).unwrap().len() < hubbub_core::ports::bus::PAYLOAD_BYTES_MAX);
            (users, counts) = (users + changes.came.len(), counts + changes.counts.len());
        }
        assert_eq!((users, counts), (3_000, 5_000));
    }

    #[test]
    fn what_nobody_hears_is_not_kept_and_the_number_says_that_it_was_not_told() {
        let mut known = Known::default();
        let room = RoomId::parse("tea").unwrap();
        known.changed.insert(user("ann").id, Change::Came);
        known.recounted.insert(room);
        known.keep_to_itself();
        assert!(known.changed.is_empty() && known.recounted.is_empty());
        assert_eq!(known.number, 1);
        known.keep_to_itself();
        assert_eq!(known.number, 1, "nothing changed");
    }

    #[test]
    fn each_user_is_the_share_of_one_who_lives() {
        let living = [node("a"), node("b"), node("c")];
        let of = |name: &str| share(&living, &user(name).id).map(ToString::to_string);
        let shares: BTreeSet<_> = (0..50).filter_map(|n| of(&format!("u{n}"))).collect();
        assert_eq!(shares.len(), 3);
        assert_eq!(share(&[], &user("ann").id), None);
    }

    #[test]
    fn who_is_back_with_a_gateway_is_told_of_by_another_one() {
        let mut known = Known { living: vec![node("a"), node("b")], ..Known::default() };
        let mut peer = Peer::default();
        assert!(peer.begin_asking(1, Instant::now()));
        let mut snapshot = Snapshot::default();
        let users = vec![(user("ann").id, user("ann").name)];
        snapshot.take(Page { number: 1, users, counts: Vec::new(), next: None });
        peer.learn(1, snapshot, &mut News::default());
        known.others.insert(node("a"), peer);
        let news = News { back: vec![user("ann")], ..News::default() };
        assert_eq!(known.weigh(&node("b"), news, Some(&node("a"))).online, [user("ann")]);
    }

    #[test]
    fn of_one_who_went_untold_one_tells_and_of_one_who_is_here_the_first_by_id() {
        let mut known = Known { living: vec![node("a"), node("b")], ..Known::default() };
        let (first, second) = (node("a"), node("b"));
        let quiet = |name: &str| News { quiet: vec![user(name)], ..News::default() };
        let told = |name: &str| News { told: vec![user(name).id], ..News::default() };
        let tellers = [&first, &second].map(|me| known.weigh(me, quiet("ann"), None).offline.len());
        assert_eq!(tellers.iter().sum::<usize>(), 1);
        known.here.insert(user("ann").id, "ann".into());
        for me in [&first, &second] {
            assert!(known.weigh(me, quiet("ann"), None).offline.is_empty(), "she is here");
            assert_eq!(known.weigh(me, told("ann"), None).online, [user("ann")]);
            assert!(known.weigh(me, told("bob"), None).online.is_empty());
        }
    }
}

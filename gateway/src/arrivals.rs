//! Who came and who went, gathered before their room is told.
//!
//! Many come and go together: when a gateway ends, when a network fails, when work begins. Told one by one, n of a room of n cost n²/2
//! sends of one event each. So a room is told half a second after the first of them, and before the next entry if one comes: what was
//! heard before it is told before it. Of each user only the last is told, so that a page which is loaded again meanwhile is not seen
//! to go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{RoomId, User, UserId};

use crate::dialect::Passes;
use crate::shard::{Chore, Shard, State};

/// How late a room is told at the latest.
const LATE: Duration = Duration::from_millis(500);

/// What a [small](crate::config::Config::presence_members_max) room is still to be told.
#[derive(Default)]
pub struct Arrivals {
    /// Each user with their name, and whether they are there.
    last: BTreeMap<UserId, (Arc<str>, bool)>,
    /// Whether there will be a time at which it is told.
    timed: bool,
}

impl Arrivals {
    /// Takes all of it.
    pub fn take(&mut self) -> impl Iterator<Item = Passes> + use<> {
        let of = |(id, (name, online))| Passes::Presence(User { id, name }, online);
        std::mem::take(&mut self.last).into_iter().map(of)
    }
}

impl State {
    /// A user of a small room came or went.
    pub(crate) fn hear_presence(&mut self, room: &RoomId, user: User, online: bool) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        here.arrivals.last.insert(user.id, (user.name, online));
        if !std::mem::replace(&mut here.arrivals.timed, true) {
            self.chores.push(Chore::TellPresence(room.clone()));
        }
    }

    fn tell_presence(&mut self, room: &RoomId) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        here.arrivals.timed = false;
        for passes in here.arrivals.take() {
            self.pass(room, passes);
        }
    }
}

impl Shard {
    /// Tells a room who came and went, when it is time.
    pub(crate) async fn tell_presence_late(self: Arc<Self>, room: RoomId) {
        tokio::time::sleep(LATE).await;
        self.with(|state| state.tell_presence(&room));
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::{Entry, Says};
    use hubbub_core::ids::{Millis, Seq};
    use hubbub_core::limits::Content;
    use hubbub_core::ports::accounts::Account;

    use super::*;
    use crate::config::Config;
    use crate::dialect::Dialect;
    use crate::http::tests::state;
    use crate::member::Connection;
    use crate::shard::tests::{connected, synced, unread};

    fn user(name: &str) -> User {
        User { id: UserId::parse(name).unwrap(), name: name.into() }
    }

    /// What the turn of the room has by now, in short.
    fn turn(state: &State, room: &RoomId) -> Vec<String> {
        let frames = state.rooms[room].turn.part(0, Dialect::Native, room, &user("eve").id);
        let text = String::from_utf8_lossy(&frames).into_owned();
        let of = |frame: &str| {
            let who = ["ann", "bob"].into_iter().find(|who| frame.contains(&format!("\"id\":\"{who}\"")));
            let what = ["\"online\":true", "\"online\":false", "hello"].into_iter();
            format!("{} {}", who.unwrap_or("?"), what.filter(|what| frame.contains(what)).collect::<String>())
        };
        text.split("\"type\":").skip(1).map(of).collect()
    }

    #[tokio::test]
    async fn who_comes_and_goes_is_told_once_before_the_next_entry_or_when_it_is_time() {
        let shard = Shard::new(state(Config::default()).gateway, 0);
        let room = RoomId::parse("lobby").unwrap();
        shard.with(|state| {
            state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
            for (who, online) in [("bob", true), ("ann", true), ("bob", false)] {
                state.hear_presence(&room, user(who), online);
            }
            assert!(turn(state, &room).is_empty(), "they wait for company");
            let timers = |state: &State| {
                state.chores.iter().filter(|chore| matches!(chore, Chore::TellPresence(_))).count()
            };
            assert_eq!(timers(state), 1);

            let content = Content::text("hello".to_owned()).unwrap();
            let said = Entry::new(&room, Seq(8), Millis(1), &user("ann"), None, Says::Message(&content));
            state.take_entries(&room, vec![said]);
            let told = ["ann \"online\":true", "bob \"online\":false", "ann hello"];
            assert_eq!(turn(state, &room), told);
            state.tell_presence(&room);
            assert_eq!(turn(state, &room), told, "nothing twice");

            state.hear_presence(&room, user("bob"), true);
            assert_eq!(timers(state), 2, "the first is over");
            state.tell_presence(&room);
            assert_eq!(turn(state, &room)[3..], ["bob \"online\":true"]);
            assert!(state.dirty_rooms.contains(&room));
        });
    }

    #[tokio::test]
    async fn who_joins_is_told_of_nobody_who_came_before() {
        let shard = Shard::new(state(Config::default()).gateway, 0);
        let (_client, socket) = connected().await;
        let room = RoomId::parse("lobby").unwrap();
        shard.with(|state| {
            state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
            let eve = user("eve");
            let account = Account { user: eve.clone(), roles: Vec::new(), expires_at: Millis(u64::MAX) };
            let account = Some(Arc::new(account));
            let id = state.insert(|serial| Connection { socket, account, ..unread(serial) });
            state.user(&eve.id).connections.push(id);
            state.hear_presence(&room, user("bob"), true);
            let joined = Entry::new(&room, Seq(8), Millis(1), &eve, None, Says::Join(None));
            state.take_entries(&room, vec![joined]);
            let frames = state.rooms[&room].turn.part(id.slot, Dialect::Native, &room, &eve.id);
            let told = String::from_utf8_lossy(&frames);
            assert!(told.contains("\"type\":\"join\"") && !told.contains("presence"), "{told}");
        });
    }
}

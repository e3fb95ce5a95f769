//! How a user's connections come to a room that the user joined: by the answer to their own request, by what the bus says of others',
//! and, where it may have lost that, by reading again which rooms they are in.
//!
//! A join in a room that is live here is seen in its log. One in a room that is not is told once, on a subject of all rooms, and
//! nothing in a log shows that it was missed: only the bus, if it noticed, or the next [number](crate::announced). So when something
//! was lost, or a room could not be followed, its users are doubted, and are no more once their rooms were read, however long that
//! can't be done.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use hubbub_core::ids::{RoomId, Seq, UserId};

use crate::announced::Announcements;
use crate::error::Failure;
use crate::member::ConnectionId;
use crate::shard::{Chore, Shard, State};

/// Users whose rooms are read at once: after the bus was away it is all of them, and the reads have others to serve.
const AT_ONCE: usize = 16;
/// Pauses before a room is followed again that could not be, though its join was told.
const TOLD_AGAIN: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// Pauses before those are read again that could not be: the first, and the longest.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Users of a shard of whom a join may not have been heard.
#[derive(Default)]
pub struct Doubted {
    users: HashSet<UserId>,
    /// Whether somebody is reading what rooms they are in.
    is_read: bool,
}

/// How a join came to be known.
#[derive(Debug, Clone, Copy)]
enum Word<'a> {
    /// It was told just now, by the answer to a request or by the bus, and these were the user's connections by then.
    Told(&'a [ConnectionId]),
    /// A list has it, which may be late.
    Listed,
}

impl Shard {
    /// The connections that a user has here now.
    pub(crate) fn connections_of(self: &Arc<Self>, user: &UserId) -> Vec<ConnectionId> {
        self.with(|state| state.users.get(user).map_or_else(Vec::new, |here| here.connections.to_vec()))
    }

    /// Lets the connections of a user follow a room that they joined at `seq`, from the join on. When that can't be done now, it is
    /// done later. If the user has left by then, `were_here` are sent what lies between: those that there were when it was asked for or
    /// heard of, for one that came later was told by its welcome where it is.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        seq: Seq,
        were_here: Vec<ConnectionId>,
    ) {
        let Err(error) = self.try_to_follow(user, room, seq, Word::Told(&were_here)).await else { return };
        tracing::warn!(%room, %error, "could not follow a room that was joined; it is tried again");
        // Nobody waits for that: the join is answered.
        let (shard, user, room) = (self.clone(), user.clone(), room.clone());
        tokio::spawn(async move {
            for pause in TOLD_AGAIN {
                tokio::time::sleep(pause).await;
                if shard.try_to_follow(&user, &room, seq, Word::Told(&were_here)).await.is_ok() {
                    return;
                }
            }
            // From then on by the lists. A membership that is over by now is in none.
            shard.with(|state| state.doubt([user]));
        });
    }

    /// # Errors
    /// `Unavailable`.
    async fn try_to_follow(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        seq: Seq,
        word: Word<'_>,
    ) -> Result<(), Failure> {
        match self.ready(room).await {
            // There is nothing to follow.
            Err(Failure::Refused(_)) => return Ok(()),
            result => result?,
        }
        if !self.with(|state| state.is_to_follow(user, room, seq)) {
            return Ok(());
        }
        // The answer to a request that is made again is that of the first, and one to a join may come after a leave: nothing of either
        // was heard here.
        let (synced, _) = self.gateway.asker.sync(room, 0, vec![user.clone()]).await?;
        self.with(|state| {
            let has_left = state.rooms.get(room).is_some_and(|here| here.has_left_since(user, seq));
            let is_member = synced.members.contains(user) && !has_left;
            if !state.is_to_follow(user, room, seq) {
                return;
            }
            let room = &state.shared(room);
            let Some(here) = state.users.get_mut(user) else { return };
            let Some(in_room) = state.rooms.get_mut(room) else { return };
            // They are sent all up to there, whatever joins and leaves are in it: none of these has to be followed any more.
            let position = in_room.synced.as_ref().map_or(seq, |synced| synced.position.0);
            let connections = match (is_member, word) {
                (true, _) => {
                    here.joined.insert(room.clone(), position);
                    here.connections.to_vec()
                }
                // What lies between, and nothing more: their task finds the leave, which is no later than what the holder had.
                (false, Word::Told(were_here)) => {
                    let left = position.min(synced.info.head);
                    in_room.note_leave(user, left, Some(position), Instant::now());
                    were_here.to_vec()
                }
                // A list may be of a membership that they were sent long ago.
                (false, Word::Listed) => return,
            };
            for id in connections {
                let Some(connection) = state.connection(id) else { continue };
                if connection.standing(room).is_none() && !connection.greeting && !connection.closing {
                    state.attach(id, room, Some(Seq(seq.0 - 1)));
                }
            }
        });
        Ok(())
    }

    /// Reads which rooms doubted users are in, until nobody is doubted.
    pub(crate) async fn read_memberships(self: Arc<Self>) {
        let mut pause = RETRY;
        while let Some(users) = self.with(|state| state.doubted.take()) {
            let read = iter(users).map(|user| self.follow_all_of(user)).buffer_unordered(AT_ONCE);
            let failed: Vec<_> = read.filter_map(async |read| read.err()).collect().await;
            let Some((_, error)) = failed.first() else { continue };
            tracing::warn!(users = failed.len(), %error, "could not read which rooms users are in; it is tried again");
            self.with(|state| state.doubted.users.extend(failed.into_iter().map(|(user, _)| user)));
            tokio::time::sleep(pause).await;
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    async fn follow_all_of(self: &Arc<Self>, user: UserId) -> Result<(), (UserId, Failure)> {
        match self.try_to_follow_all_of(&user).await {
            Ok(()) => Ok(()),
            Err(error) => Err((user, error)),
        }
    }

    async fn try_to_follow_all_of(self: &Arc<Self>, user: &UserId) -> Result<(), Failure> {
        if self.with(|state| !state.users.contains_key(user)) {
            return Ok(());
        }
        let mut followed = Ok(());
        for joined in self.gateway.asker.rooms_of(user.clone()).await? {
            if self.with(|state| state.is_unheard(user, &joined.room, joined.seq)) {
                // One that can't be read, perhaps for long, keeps them out of no other.
                let tried = self.try_to_follow(user, &joined.room, joined.seq, Word::Listed).await;
                followed = tried.and(followed);
            }
        }
        followed
    }
}

impl State {
    /// Joins of these users may not have been heard.
    pub(crate) fn doubt(&mut self, users: impl IntoIterator<Item = UserId>) {
        self.doubted.users.extend(users);
        if !self.doubted.users.is_empty() && !std::mem::replace(&mut self.doubted.is_read, true) {
            self.chores.push(Chore::Memberships);
        }
    }

    /// Joins of anybody may not have been heard if the bus may have lost some, or the numbers say that it did.
    pub(crate) fn doubt_if_missed(&mut self, may_be_lost: bool) {
        if may_be_lost {
            // All that there was until now is read now: the gaps are known.
            self.announcements = Announcements::default();
        }
        if may_be_lost || self.announcements.take_missed() {
            let users: Vec<_> = self.users.keys().cloned().collect();
            self.doubt(users);
        }
    }

    /// Whether a user who is here has a join at `seq` that is not known.
    pub(crate) fn is_unheard(&self, user: &UserId, room: &RoomId, seq: Seq) -> bool {
        let joined = self.users.get(user).map(|here| here.joined.get(room));
        joined.is_some_and(|joined| joined.is_none_or(|followed| followed < seq))
    }

    /// Whether a user's join at `seq` is not known here yet though its entry went by: before the room became live here, or while the user
    /// had no connection. One that is still to come is seen in the log.
    fn is_to_follow(&self, user: &UserId, room: &RoomId, seq: Seq) -> bool {
        let Some(here) = self.rooms.get(room) else { return false };
        let went_by = here.synced.as_ref().is_some_and(|synced| seq <= synced.position.0);
        went_by && !here.was_followed(user, seq) && self.is_unheard(user, room, seq)
    }
}

impl Doubted {
    /// All of them; `None`, and nobody reads any more, if there are none.
    pub(crate) fn take(&mut self) -> Option<HashSet<UserId>> {
        self.is_read = !self.users.is_empty();
        self.is_read.then(|| std::mem::take(&mut self.users))
    }
}

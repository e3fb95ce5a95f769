//! Who a connection is, and where it was: `hello` and `welcome`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hubbub_core::code::CloseCode;
use hubbub_core::ids::{LogId, RoomId, Seq, UserId};
use hubbub_core::ports::accounts::{Account, AccountsError, Secret};
use hubbub_core::ports::revocations::TokenId;
use hubbub_core::room::Refusal;
use hubbub_wire::native::answer::{self, Event, Limits, Welcome, WelcomeRoom, WelcomeUser};
use hubbub_wire::native::request::{Ref, Resume};
use hubbub_wire::tier::ephemera::Passing;

use crate::error::Failure;
use crate::load;
use crate::member::{ConnectionId, Standing};
use crate::presence::Arrived;
use crate::shard::{Shard, State};
use crate::socketio::entrance;
use crate::ws::connection::Flow;

/// Rooms of a hello that the user's list does not have, of which their holders are asked.
const UNLISTED_MAX: usize = 16;
/// Bytes of topics in a welcome. With them it is below the 1 MiB that stock clients take, also of a thousand rooms with the longest
/// names, and of topics that JSON escapes character by character.
const TOPICS_BYTES_MAX: usize = 256 * 1024;

/// Takes a `hello`. Nothing more is read before it is answered, so that what a client sends behind it finds it let in.
pub fn on_hello(
    shard: &Arc<Shard>,
    id: ConnectionId,
    reference: Ref,
    token: Option<Secret>,
    resume: Resume,
    client: Option<String>,
) -> Flow {
    shard.with(|state| {
        if let Some(connection) = state.connection(id) {
            (connection.paused, connection.hello_waits) = (true, true);
        }
    });
    let shard = shard.clone();
    tokio::spawn(async move {
        if let Err(failure) = shard.greet(id, &reference, token, resume).await {
            tracing::debug!(?id, client, error = %failure, "a hello was refused");
            shard.fail(id, &reference, &failure);
        }
        shard.with(|state| {
            if let Some(connection) = state.connection(id) {
                connection.hello_waits = false;
                connection.resume_reading();
            }
        });
    });
    Flow::Pause
}

/// How a connection comes in.
enum Entrance {
    /// For the first time.
    New(Arrived),
    /// It was let in before: only its token is a new one.
    Again,
}

impl Shard {
    /// Lets a connection in, and tells it so.
    pub async fn greet(
        self: &Arc<Self>,
        id: ConnectionId,
        reference: &Ref,
        token: Option<Secret>,
        resume: Resume,
    ) -> Result<(), Failure> {
        let known = self.with(|state| state.connection(id).and_then(|connection| connection.account.clone()));
        if known.is_none()
            && let Some(refusal @ (load::Refusal::Memory | load::Refusal::Late)) = self.gateway.refusal()
        {
            metrics::counter!(crate::metrics::REFUSED, "reason" => refusal.reason()).increment(1);
            let after_ms = load::come_back().as_millis() as u64;
            self.with(|state| state.close(id, CloseCode::TryAgainLater, after_ms));
            return Ok(());
        }
        let (account, token) = match token {
            Some(token) => {
                let (account, id) = self.gateway.authenticate(&token).await?;
                (Arc::new(account), Some((id, token)))
            }
            None => (known.ok_or(Failure::NotAuthenticated)?, None),
        };
        // It takes the list of their rooms, and is answered by all of them.
        self.gateway.reads.check(&account.user.id, Instant::now()).map_err(Failure::TooQuick)?;
        match self.register(id, &account, token)? {
            Entrance::New(Arrived::TooMany) => {
                self.with(|state| state.close(id, CloseCode::TooMany, 60_000));
                Ok(())
            }
            Entrance::New(Arrived::First | Arrived::Another) => {
                let entered = self.enter(id, reference, &account, resume).await;
                match entered {
                    Ok(()) => {
                        let is_in = self.with(|state| state.connection(id).is_some_and(|one| !one.closing));
                        if is_in && self.gateway.presence.tell(&account.user.id) {
                            self.tell_presence(id, &account, true);
                        }
                    }
                    Err(_) => self.unregister(id, &account),
                }
                entered
            }
            Entrance::Again => {
                for room in self.with(|state| state.rooms_of(id)) {
                    if let Some(seen) = resume.rooms.get(&room) {
                        self.come_up_to(&room, *seen).await?;
                    }
                }
                self.with(|state| self.welcome_again(state, id, reference, &account, &resume));
                Ok(())
            }
        }
    }

    fn register(
        self: &Arc<Self>,
        id: ConnectionId,
        account: &Arc<Account>,
        token: Option<(TokenId, Secret)>,
    ) -> Result<Entrance, Failure> {
        let user = &account.user.id;
        let (id_of_token, token) = token.unzip();
        let bearer = token.filter(|_| self.gateway.gives_whole_tokens()).map(Arc::new);
        self.with(|state| {
            if id_of_token.is_some_and(|token| state.revoked.has(token)) {
                // Called back while it was looked at: who closes its connections did not find this one.
                return Err(AccountsError::InvalidToken.into());
            }
            if state.banned.has(user) {
                // Likewise.
                return Err(Failure::Banned);
            }
            let Some(connection) = state.connection(id) else { return Err(Failure::Unavailable) };
            match &connection.account {
                Some(known) if known.user.id != *user => return Err(Failure::OtherUser),
                Some(_) => {
                    connection.token = id_of_token.unwrap_or(connection.token);
                    connection.bearer = bearer.or(connection.bearer.take());
                    connection.account = Some(account.clone());
                    connection.warned = false;
                    return Ok(Entrance::Again);
                }
                None => {}
            }
            connection.token = id_of_token.unwrap_or_default();
            connection.bearer = bearer;
            let arrived = self.gateway.arrive(&account.user);
            if arrived != Arrived::TooMany {
                let here = state.user(user);
                here.connections.push(id);
                let number = here.number;
                if let Some(connection) = state.connection(id) {
                    connection.account = Some(account.clone());
                    connection.user = number;
                    connection.greeting = true;
                }
            }
            Ok(Entrance::New(arrived))
        })
    }

    fn unregister(self: &Arc<Self>, id: ConnectionId, account: &Account) {
        self.with(|state| {
            let Some(connection) = state.connection(id) else { return };
            connection.account = None;
            connection.user = 0;
            connection.greeting = false;
            state.forget_user(id, &account.user.id);
            self.gateway.depart(&account.user);
        });
    }

    /// Brings the connection into all of its user's rooms, and welcomes it.
    async fn enter(
        self: &Arc<Self>,
        id: ConnectionId,
        reference: &Ref,
        account: &Arc<Account>,
        resume: Resume,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let user = &account.user.id;
        let joined = self.gateway.asker.rooms_of(user.clone()).await?;
        let mut rooms: HashMap<RoomId, Seq> =
            joined.into_iter().map(|joined| (joined.room, joined.seq)).collect();
        let unlisted = resume.rooms.iter().filter(|(room, _)| !rooms.contains_key(*room)).take(UNLISTED_MAX);
        let unlisted = unlisted.map(|(room, seen)| self.is_unlisted(room, user, *seen));
        for found in futures_util::future::join_all(unlisted).await {
            rooms.extend(found?);
        }
        let names: Vec<RoomId> = rooms.keys().cloned().collect();
        let looks = names.iter().map(|room| self.look_in(room, user, began, resume.rooms.get(room).copied()));
        for (room, member) in names.iter().zip(futures_util::future::join_all(looks).await) {
            if !member? {
                rooms.remove(room);
            }
        }
        self.with(|state| {
            // What happened while the rooms were read counts as well.
            let Some(here) = state.users.get(user) else { return Ok(()) };
            let live = here.joined.iter().filter(|(room, _)| state.position(room).is_some());
            for (room, seq) in live {
                let known = rooms.entry(room.clone()).or_insert(*seq);
                *known = (*known).max(*seq);
            }
            // The list may not say yet that they left.
            rooms.retain(|room, seq| {
                state.rooms.get(room).is_none_or(|here| !here.has_left_since(user, *seq))
            });
            if rooms.keys().any(|room| state.position(room).is_none()) {
                return Err(Failure::Unavailable);
            }
            self.welcome(state, id, reference, account, rooms, &resume);
            Ok(())
        })
    }

    /// A room that the client saw entries of, if the user is a member there by now: of a join that was told, and not acknowledged before
    /// its holder died, the list knows nothing until somebody asks for the room. Left out of the welcome, the client would come to it by
    /// joining again, and be sent its own join twice.
    async fn is_unlisted(
        &self,
        room: &RoomId,
        user: &UserId,
        seen: Seq,
    ) -> Result<Option<(RoomId, Seq)>, Failure> {
        match self.gateway.asker.sync(room, 0, vec![user.clone()]).await {
            // When they joined is not known: it may be after all that they saw.
            Ok((synced, _)) => Ok(synced.members.contains(user).then(|| (room.clone(), seen.next()))),
            Err(Failure::Refused(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Makes a room live here. Whether the user is a member of it still: a room that became live only after the list
    /// was read may have seen them leave before.
    async fn look_in(
        self: &Arc<Self>,
        room: &RoomId,
        user: &UserId,
        began: Instant,
        seen: Option<Seq>,
    ) -> Result<bool, Failure> {
        match self.ready(room).await {
            Err(Failure::Refused(Refusal::NoSuchRoom)) => return Ok(false),
            result => result?,
        }
        let new = self.with(|state| {
            let synced = state.rooms.get(room).and_then(|here| here.synced.as_ref());
            synced.is_none_or(|synced| synced.live_at >= began)
        });
        if let Some(seen) = seen {
            self.come_up_to(room, seen).await?;
        }
        match new {
            true => Ok(self.gateway.asker.sync(room, 0, vec![user.clone()]).await?.0.members.contains(user)),
            false => Ok(true),
        }
    }

    /// Reads a room that is live here again, if a client has seen more of it: another gateway was quicker, or the log is another one.
    ///
    /// # Errors
    /// `Unavailable`: the holder, who knows which, can't be asked.
    async fn come_up_to(self: &Arc<Self>, room: &RoomId, seen: Seq) -> Result<(), Failure> {
        let is_ahead = self.with(|state| {
            let is_ahead = state.position(room).is_some_and(|position| seen > position);
            if is_ahead {
                state.need_sync(room.clone(), crate::room::SyncCause::Ahead);
            }
            is_ahead
        });
        if !is_ahead {
            return Ok(());
        }
        match self.synced_again(room).await {
            // There is none in the log that there is now.
            Err(Failure::Refused(_)) => Ok(()),
            synced => synced,
        }
    }

    fn welcome(
        &self,
        state: &mut State,
        id: ConnectionId,
        reference: &Ref,
        account: &Arc<Account>,
        rooms: HashMap<RoomId, Seq>,
        resume: &Resume,
    ) {
        let user = &account.user.id;
        let Some(connection) = state.connection(id).filter(|connection| !connection.closing) else { return };
        connection.greeting = false;
        let frame = match &mut connection.session {
            Some(session) => entrance::welcome(session, account),
            None => {
                let shown = state.shown_in_welcome(rooms.keys());
                let log = rooms.keys().find_map(|room| state.log(room));
                self.welcome_frame(reference, account, shown, log)
            }
        };
        state.push(id, frame);
        for (room, joined) in rooms {
            let Some(position) = state.position(&room) else { continue };
            let room = state.shared(&room);
            if let Some(here) = state.users.get_mut(user) {
                // All up to there is sent to it or named, and a list may be of a membership before this one.
                here.joined.insert(room.clone(), joined.max(position));
            }
            let (from, told) = match resume.rooms.get(&room).copied() {
                Some(seen) if seen > position || resume.is_of_another(state.log(&room)) => {
                    (None, Some(Event::Reset { room: &room, head: position }))
                }
                Some(seen) if !self.may_resume(state, &room, seen, position) => {
                    (None, Some(Event::Behind { room: &room, after: seen, head: position }))
                }
                seen => (seen, None),
            };
            if let Some(event) = told {
                state.push(id, answer::frame(&event));
            }
            state.attach(id, &room, from);
        }
    }

    /// A second hello: a fresh token, or a resume on a connection whose token came with the upgrade. It is live already,
    /// so what it missed before that is named rather than sent out of order.
    fn welcome_again(
        &self,
        state: &mut State,
        id: ConnectionId,
        reference: &Ref,
        account: &Account,
        resume: &Resume,
    ) {
        let Some(untouched) = state.connection(id).map(|connection| connection.untouched) else { return };
        let rooms = state.rooms_of(id);
        let log = rooms.iter().find_map(|room| state.log(room));
        let frame = self.welcome_frame(reference, account, state.shown_in_welcome(&rooms), log);
        state.push(id, frame);
        for room in rooms {
            let Some(seen) = resume.rooms.get(&room).copied() else { continue };
            let Some(position) = state.position(&room) else { continue };
            let may_resume = seen <= position
                && !resume.is_of_another(state.log(&room))
                && self.may_resume(state, &room, seen, position);
            let standing = state.connection(id).and_then(|connection| connection.standing(&room).copied());
            // Who was heard to leave is in it to the end of the turn, and is not brought back.
            let stays = state.rooms.get(&room).is_some_and(|here| !here.turn.ends(id.slot));
            if let (Some(Standing::Live(place)), true, true, true) = (standing, untouched, may_resume, stays)
            {
                // Nothing was sent on it yet: it can begin where it was. What waits for the end of the turn is part of what it missed.
                state.end_live(id.slot, &room, place);
                if let Some(connection) = state.connection(id) {
                    connection.forget_room(&room);
                }
                state.attach(id, &room, Some(seen));
                continue;
            }
            // What it is sent with the end of the turn is not missed.
            state.flush_now(&room);
            if seen > position || resume.is_of_another(state.log(&room)) {
                state.push(id, answer::frame(&Event::Reset { room: &room, head: position }));
            } else if seen < position {
                state.push(id, answer::frame(&Event::Behind { room: &room, after: seen, head: position }));
            }
        }
    }

    /// Whether what came after `seen` can be sent: it is not too much, and all of it is kept.
    fn may_resume(&self, state: &State, room: &RoomId, seen: Seq, position: Seq) -> bool {
        let is_kept = state.rooms.get(room).is_none_or(|here| here.keeps_all_after(seen));
        is_kept && position.0 - seen.0 <= self.gateway.config.resume_entries_max
    }

    fn welcome_frame(
        &self,
        reference: &Ref,
        account: &Account,
        rooms: Vec<WelcomeRoom>,
        of_rooms: Option<LogId>,
    ) -> bytes::Bytes {
        let config = &self.gateway.config;
        answer::frame(&Welcome {
            type_name: "welcome",
            reference,
            user: WelcomeUser { id: &account.user.id, name: &account.user.name, roles: &account.roles },
            rooms,
            // Who has no room yet will name it all the same: rooms are made and joined before the next hello.
            log: of_rooms.unwrap_or(self.gateway.log),
            limits: &Limits {
                text_chars: hubbub_core::limits::TEXT_CHARS_MAX,
                image_bytes: hubbub_core::limits::IMAGE_BYTES_MAX,
                frame_bytes: config.frame_bytes_max,
                sends_per_second: config.sends_per_second,
                requests_in_flight: usize::from(config.requests_in_flight_max),
                resume_entries: config.resume_entries_max,
                rooms: config.rooms_of_user_max,
            },
            heartbeat: config.heartbeat.as_secs(),
        })
    }

    /// Tells the rooms of a connection that its user came or went.
    pub fn tell_presence(self: &Arc<Self>, id: ConnectionId, account: &Account, online: bool) {
        for room in self.with(|state| state.rooms_of(id)) {
            self.gateway.publish_passing(&room, Passing::Presence { user: account.user.clone(), online });
        }
    }

    /// Takes a connection that ended out of the table.
    pub fn remove(self: &Arc<Self>, id: ConnectionId) {
        let gone = self.with(|state| {
            state.connection(id)?;
            let user = state.take_user(id);
            Some((state.connections.try_remove(id.slot as usize)?, user))
        });
        let Some((connection, user)) = gone else { return };
        if let Some(session) = &connection.session {
            self.end_session(session, &connection.socket, id);
        }
        if let Some(stream) = connection.socket.stream() {
            // Who waits to write on it holds it open, and would for as long as its client takes nothing and stays. What was given
            // to the kernel is sent all the same. An error means that it is gone already.
            let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Both);
        }
        self.gateway.addresses.depart(&connection.address);
        self.gateway.connections.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(crate::metrics::CONNECTIONS).decrement(1.0);
        if let Some((account, rooms)) = user {
            self.tell_gone(&account, rooms);
        }
        self.settled.notify_waiters();
    }

    /// A connection stands for its user no more. Their rooms are told if it was the last one that did.
    pub(crate) fn tell_gone(&self, account: &Account, rooms: Vec<RoomId>) {
        let is_last = self.gateway.depart(&account.user);
        // When all end with the only gateway, nobody is left to be told.
        if is_last && !(self.gateway.is_draining() && self.gateway.peers.is_none()) {
            for room in rooms {
                let user = account.user.clone();
                self.gateway.publish_passing(&room, Passing::Presence { user, online: false });
            }
        }
    }
}

impl State {
    /// The rooms that a connection receives.
    fn rooms_of(&mut self, id: ConnectionId) -> Vec<RoomId> {
        let rooms = self.connection(id).map(|connection| &connection.rooms);
        rooms.map_or_else(Vec::new, |rooms| rooms.iter().map(|(room, _)| room.clone()).collect())
    }

    /// What a welcome shows of rooms. Once there are as many bytes of topics as fit, the rest is shown without.
    fn shown_in_welcome<'a>(&self, rooms: impl IntoIterator<Item = &'a RoomId>) -> Vec<WelcomeRoom> {
        let mut topics = 0;
        let shown = rooms.into_iter().filter_map(|room| {
            let (name, topic) = self.rooms.get(room)?.names();
            topics += topic.len();
            let topic = (topics <= TOPICS_BYTES_MAX).then_some(topic);
            Some(WelcomeRoom { id: room.clone(), name, topic, head: self.position(room)? })
        });
        shown.collect()
    }

    /// Takes its user from a connection: who that was, and the rooms that they are in.
    pub(crate) fn take_user(&mut self, id: ConnectionId) -> Option<(Arc<Account>, Vec<RoomId>)> {
        self.leave_rooms(id);
        self.watch(id, false);
        let connection = self.connection(id)?;
        let account = connection.account.take()?;
        (connection.user, connection.token, connection.bearer) = (0, TokenId::default(), None);
        connection.greeting = false;
        // Not the connection's: one that we closed is in none any more.
        let here = self.users.get(&account.user.id);
        let rooms =
            here.map_or_else(Vec::new, |here| here.joined.iter().map(|(room, _)| room.clone()).collect());
        self.forget_user(id, &account.user.id);
        Some((account, rooms))
    }

    fn forget_user(&mut self, id: ConnectionId, user: &UserId) {
        let Some(here) = self.users.get_mut(user) else { return };
        here.connections.retain(|other| *other != id);
        if here.connections.is_empty() {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests;

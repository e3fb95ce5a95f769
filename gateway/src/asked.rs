//! What a connection's user asks, in whatever dialect: what is checked before, and what is then done.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use hubbub_core::ids::{Key, Millis, RoomId, Seq};
use hubbub_core::limits::Content;
use hubbub_core::ports::accounts::Account;
use hubbub_core::room::{Answer, Refusal, RoomInfo, Verb};

use crate::actions::room_id;
use crate::bots::{Given, command_in};
use crate::ear::{Ear, Heard};
use crate::error::Failure;
use crate::member::ConnectionId;
use crate::shard::Shard;
use crate::ws::connection::Flow;

/// A read counts as so many requests in flight: its answer is up to 512 KiB, and all that are in flight may be answered
/// to a client that does not read.
pub const READ_WEIGHT: u16 = 16;

/// The most that an answer on its way may take, as the compiler sees to. An async block that only awaits another future holds it
/// twice, so that a few of them, one in the other, were 27 KiB to be moved for each message: map such a future, or box it.
const ANSWERING_BYTES_MAX: usize = 2_048;

/// Who asks, and on which connection.
pub struct Asked<'a> {
    /// Its shard.
    pub shard: &'a Arc<Shard>,
    /// The connection.
    pub id: ConnectionId,
    /// Its user.
    pub account: Arc<Account>,
}

/// What became of something that was said.
pub enum Said {
    /// It is an entry of the log.
    Kept {
        /// Its place.
        seq: Seq,
        /// Its time.
        at: Option<Millis>,
    },
    /// It is a command, and the bots have it.
    Commanded(Given),
}

impl Asked<'_> {
    /// Says something, or gives a command, and answers with the frame that `show` makes of what became of it. On its way when
    /// this returns.
    pub fn send(
        &self,
        room: RoomId,
        content: Content,
        key: Option<Key>,
        after: Option<Seq>,
        show: impl FnOnce(Result<Said, Failure>) -> Option<Bytes> + Send + 'static,
    ) -> Flow {
        if let Err(failure) = self.may_send() {
            return self.answer(show(Err(failure)));
        }
        let gateway = self.shard.gateway.clone();
        if let Some(text) = command_in(&content) {
            let bearer = self.shard.with(|state| state.connection(self.id)?.bearer.clone());
            let (user, text) = (self.account.user.clone(), text.to_owned());
            let checked = gateway.check_member(&room, &user.id);
            let given = async move {
                checked.await?;
                gateway.give_command(&user, bearer.as_deref(), room, text, key.as_ref()).await
            };
            return self.answer_later(1, Box::pin(given.map(|given| show(given.map(Said::Commanded)))));
        }
        let began = Instant::now();
        let verb = Verb::Send { content, key, after };
        let (flow, due) = self.begin(1);
        // A task for each would cost more than what it waits for.
        self.shard.gateway.asker.act_then(room, self.account.user.clone(), verb, None, move |answer| {
            gateway.ack_seconds.record(began.elapsed());
            due.answer(show(answer.and_then(|answer| match answer {
                Answer::Kept { seq, at } => Ok(Said::Kept { seq, at }),
                Answer::Made(_) | Answer::Refused(_) => Err(Failure::Unavailable),
            })));
        });
        flow
    }

    /// Makes a room. On its way when this returns.
    ///
    /// # Errors
    /// When it may not be tried.
    pub fn create(
        &self,
        name: Arc<str>,
        topic: Arc<str>,
        key: Option<&Key>,
    ) -> Result<impl Future<Output = Result<RoomInfo, Failure>> + Send + 'static + use<>, Failure> {
        self.may_send()?;
        let (shard, user) = (self.shard.clone(), self.account.user.clone());
        let room = room_id(&user.id, key);
        // Asked for once more, it may be the last that they may have.
        let taken = self.take_room(&room)?;
        let were_here = shard.connections_of(&user.id);
        let made = shard.gateway.asker.act(room, user.clone(), Verb::Create { name, topic }, None);
        Ok(async move {
            let Answer::Made(room) = made.await? else { return Err(Failure::Unavailable) };
            shard.follow(&user.id, &room.id, Seq(1), were_here).await;
            drop(taken);
            Ok(*room)
        })
    }

    /// Makes the user a member. On its way when this returns.
    ///
    /// # Errors
    /// When it may not be tried.
    pub fn join(
        &self,
        room: RoomId,
    ) -> Result<impl Future<Output = Result<Seq, Failure>> + Send + 'static + use<>, Failure> {
        self.may_send()?;
        let taken = self.take_room(&room)?;
        let (shard, user) = (self.shard.clone(), self.account.user.clone());
        let were_here = shard.connections_of(&user.id);
        let joined = shard.gateway.asker.act(room.clone(), user.clone(), Verb::Join, None);
        Ok(async move {
            let Answer::Kept { seq, .. } = joined.await? else { return Err(Failure::Unavailable) };
            // Once it is told, it also receives: what comes after the answer is not missed.
            shard.follow(&user.id, &room, seq, were_here).await;
            drop(taken);
            Ok(seq)
        })
    }

    /// Changes something else in a room. On its way when this returns.
    ///
    /// # Errors
    /// When it may not be tried.
    pub fn change(
        &self,
        room: RoomId,
        verb: Verb,
    ) -> Result<impl Future<Output = Result<Seq, Failure>> + Send + 'static + use<>, Failure> {
        self.may_send()?;
        let done = self.shard.gateway.asker.act(room, self.account.user.clone(), verb, None);
        Ok(done.map(|answer| match answer? {
            Answer::Kept { seq, .. } => Ok(seq),
            _ => Err(Failure::Unavailable),
        }))
    }

    /// Tells the room that the user writes, or stopped.
    ///
    /// # Errors
    /// `NotMember`.
    pub fn typing(&self, room: &RoomId, on: bool) -> Result<(), Failure> {
        let gateway = &self.shard.gateway;
        let (is_in, joins) = self.shard.with(|state| {
            let joins = state.connection(self.id).is_some_and(|one| one.joining.contains(room));
            (state.is_in(self.id, room), joins)
        });
        match (is_in, joins) {
            (true, _) => gateway.typing.tell(gateway, room, &self.account.user, on, Instant::now()),
            // Their join is on its way, and this is said at most once in a while, or not at all.
            (false, true) => {}
            (false, false) => return Err(Refusal::NotMember.into()),
        }
        Ok(())
    }

    /// Counts a read.
    ///
    /// # Errors
    /// `TooQuick`.
    pub fn may_read(&self) -> Result<(), Failure> {
        self.shard.gateway.reads.check(&self.account.user.id, Instant::now()).map_err(Failure::TooQuick)
    }

    fn may_send(&self) -> Result<(), Failure> {
        self.shard.gateway.sends.check(&self.account.user.id, Instant::now()).map_err(Failure::TooQuick)
    }

    /// Has one more of the rooms that the user may have count from now on, unless it does already.
    fn take_room(&self, room: &RoomId) -> Result<Option<RoomTaken>, Failure> {
        let max = self.shard.gateway.config.rooms_of_user_max;
        self.shard.with(|state| {
            let Some(one) = state.connection(self.id) else { return Ok(None) };
            if one.standing(room).is_some() || one.joining.contains(room) {
                return Ok(None);
            }
            if one.rooms.len() + one.joining.len() >= max {
                return Err(Failure::TooManyRooms);
            }
            one.joining.push(room.clone());
            Ok(Some(RoomTaken { shard: self.shard.clone(), id: self.id, room: room.clone() }))
        })
    }

    /// Sends the frame when the future is done; until then the request counts as `weight` in flight.
    pub fn answer_later<F>(&self, weight: u16, answer: F) -> Flow
    where
        F: Future<Output = Option<Bytes>> + Send + 'static,
    {
        const { assert!(size_of::<F>() <= ANSWERING_BYTES_MAX) }
        let (flow, due) = self.begin(weight);
        tokio::spawn(answer.map(|frame| due.answer(frame)));
        flow
    }

    /// Sends a frame, if there is one.
    pub fn answer(&self, frame: Option<Bytes>) -> Flow {
        match frame {
            Some(frame) => self.shard.push(self.id, frame),
            None => Flow::More,
        }
    }

    /// A request begins that counts as `weight` in flight until it is answered.
    fn begin(&self, weight: u16) -> (Flow, Due) {
        let flow = self.shard.with(|state| state.begin_request(self.id, weight));
        (flow, Due { ear: self.shard.ear.clone(), id: self.id, weight })
    }
}

/// A room that a connection is about to have: dropped when it has it, or will not.
struct RoomTaken {
    shard: Arc<Shard>,
    id: ConnectionId,
    room: RoomId,
}

impl Drop for RoomTaken {
    fn drop(&mut self) {
        self.shard.with(|state| {
            if let Some(one) = state.connection(self.id) {
                one.joins_no_more(&self.room);
            }
        });
    }
}

/// An answer that a connection waits for.
struct Due {
    ear: Arc<Ear>,
    id: ConnectionId,
    weight: u16,
}

impl Due {
    /// Leaves the answer to the shard's next turn.
    fn answer(self, frame: Option<Bytes>) {
        let Self { ear, id, weight } = self;
        // As many as may be in flight: that bounds them.
        ear.leave(Heard::Answered { id, weight, frame }, 0);
    }
}

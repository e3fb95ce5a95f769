//! The events of the seed's clients, and their callbacks.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt};
use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, UserId};
use hubbub_core::room::{Refusal, Verb};
use hubbub_wire::seed::{self, Attempt};
use hubbub_wire::socketio::answer::{
    self, Chatrooms, Commanded, Done, DoneTo, Failed, History, Room, RoomUser, Switched,
};
use hubbub_wire::socketio::request::{self, Page, Request};
use hubbub_wire::tier::act::ReadTo;
use hubbub_wire::tier::query::{AFTER_ALL, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, Range, Replay};

use crate::Gateway;
use crate::asked::{Asked, READ_WEIGHT, Said};
use crate::bots::Given;
use crate::content::content;
use crate::error::Failure;
use crate::member::ConnectionId;
use crate::shard::Shard;
use crate::ws::connection::Flow;

/// Members of a room that `switch` tells.
const USERS_MAX: usize = 1_000;
/// Rooms that `chatrooms` tells.
const CHATROOMS_MAX: usize = 1_000;
/// Members or rooms of one read.
const PAGE: u32 = 200;

/// Takes an event. `callback` is the client's number for its answer; without one nothing is answered.
pub fn on_event(shard: &Arc<Shard>, id: ConnectionId, callback: Option<u64>, data: &str) -> Flow {
    let Some((attempt, request)) = request::parse(data) else {
        shard.with(|state| state.close(id, hubbub_core::code::CloseCode::Policy, 1_000));
        return Flow::More;
    };
    let account = shard.with(|state| state.connection(id).and_then(|connection| connection.account.clone()));
    let callback = Callback { number: callback, attempt };
    let Some(account) = account else { return shard.tell(id, callback.failed(&Failure::NotAuthenticated)) };
    match request {
        Ok(request) => Called { asked: Asked { shard, id, account }, callback }.take(request),
        Err(bad) => {
            // The seed knows no ids that are none: it has no such room.
            let failure = match bad.field {
                Some("chatroom") => Refusal::NoSuchRoom.into(),
                _ => bad.into(),
            };
            shard.tell(id, callback.failed(&failure))
        }
    }
}

/// Who waits for an answer.
#[derive(Clone, Copy)]
struct Callback {
    number: Option<u64>,
    attempt: Attempt,
}

impl Callback {
    fn done<T: serde::Serialize>(self, body: &T) -> Option<Bytes> {
        Some(answer::ack(self.number?, body))
    }

    fn failed(self, failure: &Failure) -> Option<Bytes> {
        metrics::counter!(crate::metrics::FAILED, "code" => failure.code().as_str(), "door" => "socketio")
            .increment(1);
        let error = match self.attempt {
            // The contract names no other number for it.
            Attempt::History => seed::NO_HISTORY,
            attempt => failure.seed_number(attempt),
        };
        Some(answer::ack(self.number?, &Failed { error, message: &failure.message() }))
    }
}

/// An event with the callback that it came with.
struct Called<'a> {
    asked: Asked<'a>,
    callback: Callback,
}

impl Called<'_> {
    fn take(self, request: Request) -> Flow {
        let asked = &self.asked;
        match request {
            Request::Message { room, text, image, key } => {
                let callback = self.callback;
                let content = match content(text, image) {
                    Ok(content) => content,
                    Err(bad) => return asked.answer(callback.failed(&bad.into())),
                };
                asked.send(room.clone(), content, key, None, move |said| match said {
                    Ok(Said::Kept { seq, .. }) => {
                        callback.done(&DoneTo { error: seed::NONE, id: &answer::message_id(&room, seq) })
                    }
                    Ok(Said::Commanded(Given { command, notice })) => callback.done(&Commanded {
                        error: seed::NONE,
                        command: &command,
                        notice: notice.as_deref(),
                    }),
                    Err(failure) => callback.failed(&failure),
                })
            }
            Request::Chatroom { name, topic } => {
                self.act(asked.create(name, topic, None), |callback, room| to_room(callback, &room.id))
            }
            Request::Join(room) => {
                let joined = asked.join(room.clone());
                self.act(joined, move |callback, _| to_room(callback, &room))
            }
            Request::Leave(room) => {
                let left = asked.change(room.clone(), Verb::Leave);
                self.act(left, move |callback, _| to_room(callback, &room))
            }
            Request::Writing { room, on } => {
                let told = match asked.typing(&room, on) {
                    Ok(()) => self.callback.done(&Done { error: seed::NONE }),
                    Err(failure) => self.callback.failed(&failure),
                };
                asked.answer(told)
            }
            Request::Switch(page) => {
                let (gateway, user) = (asked.shard.gateway.clone(), asked.account.user.id.clone());
                self.read(move |callback| async move { gateway.switch(callback, &user, page).await })
            }
            Request::History(page) => {
                let (gateway, user) = (asked.shard.gateway.clone(), asked.account.user.id.clone());
                self.read(move |callback| async move {
                    let room = page.room.clone();
                    let entries = gateway.messages(&user, page, None).await?;
                    let messages = entries.iter().filter_map(|entry| answer::message(&room, entry)).collect();
                    Ok(callback.done(&History { error: seed::NONE, messages }))
                })
            }
            Request::Chatrooms => {
                let (gateway, user) = (asked.shard.gateway.clone(), asked.account.user.id.clone());
                self.read(move |callback| async move {
                    let own = gateway.asker.rooms_of(user).await?;
                    gateway.chatrooms(callback, own.into_iter().map(|joined| joined.room).collect()).await
                })
            }
        }
    }

    fn act<T, F>(
        &self,
        done: Result<F, Failure>,
        show: impl FnOnce(Callback, T) -> Option<Bytes> + Send + 'static,
    ) -> Flow
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let callback = self.callback;
        match done {
            Ok(done) => self.answer_later(1, done.map_ok(move |done| show(callback, done))),
            Err(failure) => self.asked.answer(callback.failed(&failure)),
        }
    }

    fn read<F>(&self, make: impl FnOnce(Callback) -> F) -> Flow
    where
        F: Future<Output = Result<Option<Bytes>, Failure>> + Send + 'static,
    {
        match self.asked.may_read() {
            Ok(()) => self.answer_later(READ_WEIGHT, make(self.callback)),
            Err(failure) => self.asked.answer(self.callback.failed(&failure)),
        }
    }

    fn answer_later(
        &self,
        weight: u16,
        answer: impl Future<Output = Result<Option<Bytes>, Failure>> + Send + 'static,
    ) -> Flow {
        let callback = self.callback;
        let answered = answer.map(move |answer| answer.unwrap_or_else(|failure| callback.failed(&failure)));
        self.asked.answer_later(weight, answered)
    }
}

fn to_room(callback: Callback, room: &RoomId) -> Option<Bytes> {
    callback.done(&DoneTo { error: seed::NONE, id: room.as_str() })
}

impl Gateway {
    /// A room, its members, and its newest messages. What is said later also comes as an event: nothing is missed, and what comes
    /// both ways is known by its id.
    async fn switch(&self, callback: Callback, user: &UserId, page: Page) -> Result<Option<Bytes>, Failure> {
        let (synced, _) = self.asker.sync(&page.room, 0, Vec::new()).await?;
        let read_to = synced.read_to();
        let users = self.users_of(&page.room).await?;
        let entries = self.messages(user, page, Some(read_to)).await?;
        let room = &synced.info;
        let data = Room { id: &room.id, name: &room.facts.name, topic: &room.facts.topic, users };
        let messages = entries.iter().filter_map(|entry| answer::message(&room.id, entry)).collect();
        Ok(callback.done(&Switched { error: seed::NONE, data, messages }))
    }

    async fn users_of(&self, room: &RoomId) -> Result<Vec<RoomUser>, Failure> {
        let (mut users, mut after) = (Vec::new(), None);
        loop {
            let (members, next) = self.asker.members(room.clone(), after, PAGE).await?;
            users.extend(members.into_iter().map(|member| RoomUser {
                status: seed::status(self.is_online(&member.id)),
                user: member.id,
                name: member.name,
            }));
            match next {
                Some(next) if users.len() < USERS_MAX => after = Some(next),
                _ => return Ok(users),
            }
        }
    }

    /// Messages, the newest first. No more once they are as large as a page may be. What is skipped is read all the same, and each
    /// page of it is one more read of the user.
    async fn messages(
        &self,
        user: &UserId,
        page: Page,
        read_to: Option<ReadTo>,
    ) -> Result<Vec<Entry>, Failure> {
        let (mut skip, limit) = (page.skip as usize, page.limit as usize);
        let (mut messages, mut bytes, mut before) = (Vec::new(), 0, AFTER_ALL);
        loop {
            let wanted = skip + limit - messages.len();
            let replay = Replay {
                room: page.room.clone(),
                range: Range::Before(before),
                limit: u32::try_from(wanted).unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX),
                // Without those that were erased.
                kinds: ["text", "link", "image", "bot"].map(str::to_owned).into(),
                read_to,
            };
            let read = self.asker.replay(replay).await?;
            let passed_over = skip.min(read.entries.len());
            skip -= passed_over;
            for entry in read.entries.into_iter().rev().skip(passed_over) {
                bytes += entry.json.len();
                if bytes > PAGE_BYTES_MAX && !messages.is_empty() {
                    return Ok(messages);
                }
                messages.push(entry);
            }
            match read.next {
                Some(next) if messages.len() < limit && bytes <= PAGE_BYTES_MAX => before = next,
                _ => return Ok(messages),
            }
            self.reads.check(user, Instant::now()).map_err(Failure::TooQuick)?;
        }
    }

    async fn chatrooms(&self, callback: Callback, own: HashSet<RoomId>) -> Result<Option<Bytes>, Failure> {
        let (mut rooms, mut cursor) = (Vec::new(), None);
        loop {
            let (mut page, next) = self.asker.directory(cursor, PAGE).await?;
            rooms.append(&mut page);
            match next {
                Some(next) if rooms.len() < CHATROOMS_MAX => cursor = Some(next),
                _ => break,
            }
        }
        let chatrooms = rooms
            .iter()
            .map(|room| answer::Listed {
                id: &room.id,
                name: &room.facts.name,
                topic: &room.facts.topic,
                owner: &room.facts.owner,
                present: own.contains(&room.id),
            })
            .collect();
        Ok(callback.done(&Chatrooms { error: seed::NONE, chatrooms }))
    }
}

impl Shard {
    /// Puts a frame, if there is one, behind what waits for a connection, and says whether it may be read on.
    fn tell(self: &Arc<Self>, id: ConnectionId, frame: Option<Bytes>) -> Flow {
        match frame {
            Some(frame) => self.push(id, frame),
            None => Flow::More,
        }
    }
}

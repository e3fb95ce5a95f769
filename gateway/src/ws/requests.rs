//! What a client asks on its WebSocket, and how it is answered.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hubbub_core::ids::{Key, RoomId, Seq};
use hubbub_core::limits::Content;
use hubbub_core::ports::accounts::Account;
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_wire::native::answer::{self, Commanded, Event, InRoom, Kept, Nothing, Page, Placed, Rooms};
use hubbub_wire::native::request::{self, Ref, Request};
use hubbub_wire::tier::query::Replay;

use crate::actions::room_id;
use crate::bots::{Given, command_in};
use crate::error::Failure;
use crate::member::ConnectionId;
use crate::shard::Shard;
use crate::ws::connection::Flow;
use crate::ws::hello;

/// A read counts as so many requests in flight: its answer is up to 512 KiB, and all that are in flight may be answered
/// to a client that does not read.
const READ_WEIGHT: u16 = 16;

/// Takes one text frame.
pub fn on_text(shard: &Arc<Shard>, id: ConnectionId, text: &str) -> Flow {
    let frame = request::parse(text);
    let request = match frame.request {
        Ok(request) => request,
        Err(bad) => return shard.fail(id, &frame.reference, &bad.into()),
    };
    let account = shard.with(|state| {
        let connection = state.connection(id).filter(|connection| !connection.closing)?;
        Some(connection.account.clone())
    });
    match (account, request) {
        // It is being closed: nothing more is taken.
        (None, _) => Flow::More,
        (Some(_), Request::Hello { token, resume, client }) => {
            hello::on_hello(shard, id, frame.reference, token, resume, client)
        }
        (Some(_), Request::Ping) => {
            shard.push(id, answer::frame(&Event::Pong { reference: &frame.reference }))
        }
        (Some(None), _) => shard.fail(id, &frame.reference, &Failure::NotAuthenticated),
        (Some(Some(account)), request) => {
            Asked { shard, id, reference: frame.reference, account }.take(request)
        }
    }
}

/// A request of a user.
struct Asked<'a> {
    shard: &'a Arc<Shard>,
    id: ConnectionId,
    reference: Ref,
    account: Arc<Account>,
}

impl Asked<'_> {
    fn take(self, request: Request) -> Flow {
        match request {
            Request::Send { room, content, key, after } => self.send(room, content, key, after),
            Request::Create { name, topic, key } => self.create(Verb::Create { name, topic }, key),
            Request::Join(room) => self.join(room),
            Request::Leave(room) => self.change(room, Verb::Leave),
            Request::Kick(room, member) => self.change(room, Verb::Kick { member }),
            Request::Topic(room, topic) => self.change(room, Verb::Topic { topic }),
            Request::Typing { room, on } => self.typing(room, on),
            Request::Watch { directory } => {
                self.shard.with(|state| state.watch(self.id, directory));
                self.shard.push_ok(self.id, &self.reference, Nothing {})
            }
            Request::Open { room, limit } => {
                let (shard, id) = (self.shard.clone(), self.id);
                self.read(move |reference| async move { shard.open(id, &reference, room, limit).await })
            }
            Request::History { room, range, limit, kinds } => {
                let read_to = self
                    .shard
                    .with(|state| state.rooms.get(&room)?.synced.as_ref().map(|synced| synced.read_to()));
                let asker = self.shard.gateway.asker.clone();
                self.read(move |reference| async move {
                    let page = asker.replay(Replay { room, range, limit, kinds, read_to }).await?;
                    let entries = page.entries.iter().filter_map(answer::shown).collect();
                    Ok(answer::ok(&reference, Page { entries, more: page.more, next: page.next }))
                })
            }
            Request::Members { room, cursor, limit } => {
                let gateway = self.shard.gateway.clone();
                self.read(move |reference| async move {
                    let (members, next) = gateway.asker.members(room, cursor, limit).await?;
                    let members = gateway.with_presence(members);
                    Ok(answer::ok(&reference, answer::Members { members, next }))
                })
            }
            Request::Rooms { cursor, limit } => {
                let asker = self.shard.gateway.asker.clone();
                self.read(move |reference| async move {
                    let (rooms, next) = asker.directory(cursor, limit).await?;
                    Ok(answer::ok(&reference, Rooms { rooms, next }))
                })
            }
            // `on_text` took these.
            Request::Hello { .. } | Request::Ping => Flow::More,
        }
    }

    fn send(self, room: RoomId, content: Content, key: Option<Key>, after: Option<Seq>) -> Flow {
        if let Err(flow) = self.may_send() {
            return flow;
        }
        if let Some(text) = command_in(&content) {
            return self.command(room, text.to_owned(), key);
        }
        let began = Instant::now();
        let durability = self.shard.gateway.config.durability;
        let verb = Verb::Send { content, key, after };
        let gateway = self.shard.gateway.clone();
        let kept = gateway.asker.act(room, self.account.user.clone(), verb, None);
        self.answer_later(1, move |reference| async move {
            let answer = kept.await?;
            gateway.ack_seconds.record(began.elapsed());
            let Answer::Kept { seq, at } = answer else { return Err(Failure::Unavailable) };
            Ok(answer::ok(&reference, Kept { seq, at, durability }))
        })
    }

    fn command(self, room: RoomId, text: String, key: Option<Key>) -> Flow {
        let (is_member, bearer) = self.shard.with(|state| {
            let bearer = state.connection(self.id).and_then(|connection| connection.bearer.clone());
            (state.is_in(self.id, &room), bearer)
        });
        if !is_member {
            return self.shard.fail(self.id, &self.reference, &Refusal::NotMember.into());
        }
        let gateway = self.shard.gateway.clone();
        let given = gateway.give_command(&self.account.user, bearer.as_deref(), room, text, key.as_ref());
        self.answer_later(1, move |reference| async move {
            let Given { command, notice } = given.await?;
            Ok(answer::ok(&reference, Commanded { command: &command, notice: notice.as_deref() }))
        })
    }

    fn create(self, verb: Verb, key: Option<Key>) -> Flow {
        if let Err(flow) = self.may_send().and_then(|()| self.may_have_room(None)) {
            return flow;
        }
        let (shard, user) = (self.shard.clone(), self.account.user.clone());
        let room = room_id(&user.id, key.as_ref());
        let made = shard.gateway.asker.act(room, user.clone(), verb, None);
        self.answer_later(1, move |reference| async move {
            let Answer::Made(room) = made.await? else { return Err(Failure::Unavailable) };
            shard.follow(&user.id, &room.id, Seq(1)).await;
            Ok(answer::ok(&reference, InRoom { room }))
        })
    }

    fn join(self, room: RoomId) -> Flow {
        if let Err(flow) = self.may_send().and_then(|()| self.may_have_room(Some(&room))) {
            return flow;
        }
        let (shard, user) = (self.shard.clone(), self.account.user.clone());
        let joined = shard.gateway.asker.act(room.clone(), user.clone(), Verb::Join, None);
        self.answer_later(1, move |reference| async move {
            let Answer::Kept { seq, .. } = joined.await? else { return Err(Failure::Unavailable) };
            // Once it is told, it also receives: what comes after the `ok` is not missed.
            shard.follow(&user.id, &room, seq).await;
            Ok(answer::ok(&reference, Placed { seq }))
        })
    }

    fn change(self, room: RoomId, verb: Verb) -> Flow {
        if let Err(flow) = self.may_send() {
            return flow;
        }
        let done = self.shard.gateway.asker.act(room, self.account.user.clone(), verb, None);
        self.answer_later(1, move |reference| async move {
            let Answer::Kept { seq, .. } = done.await? else { return Err(Failure::Unavailable) };
            Ok(answer::ok(&reference, Placed { seq }))
        })
    }

    fn typing(self, room: RoomId, on: bool) -> Flow {
        match self.shard.with(|state| state.is_in(self.id, &room)) {
            true => {
                self.shard.gateway.typing.tell(
                    &self.shard.gateway,
                    &room,
                    &self.account.user,
                    on,
                    Instant::now(),
                );
                Flow::More
            }
            false => self.shard.fail(self.id, &self.reference, &Refusal::NotMember.into()),
        }
    }

    fn may_send(&self) -> Result<(), Flow> {
        let checked = self.shard.gateway.sends.check(&self.account.user.id, Instant::now());
        checked.map_err(|early| self.shard.fail(self.id, &self.reference, &Failure::TooQuick(early)))
    }

    fn may_have_room(&self, room: Option<&RoomId>) -> Result<(), Flow> {
        let max = self.shard.gateway.config.rooms_of_user_max;
        let full = self.shard.with(|state| {
            state.connection(self.id).is_some_and(|connection| {
                connection.rooms.len() >= max && room.is_none_or(|room| connection.standing(room).is_none())
            })
        });
        match full {
            true => Err(self.shard.fail(self.id, &self.reference, &Failure::TooManyRooms)),
            false => Ok(()),
        }
    }

    fn read<F>(self, make: impl FnOnce(Ref) -> F) -> Flow
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        if let Err(early) = self.shard.gateway.reads.check(&self.account.user.id, Instant::now()) {
            return self.shard.fail(self.id, &self.reference, &Failure::TooQuick(early));
        }
        self.answer_later(READ_WEIGHT, make)
    }

    /// Answers when the future is done; until then the request counts as `weight` in flight. A request without a `ref` is told of errors only.
    fn answer_later<F>(self, weight: u16, make: impl FnOnce(Ref) -> F) -> Flow
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        let Self { shard, id, reference, .. } = self;
        let max = shard.gateway.config.requests_in_flight_max;
        let flow = shard.with(|state| state.begin_request(id, weight, max));
        let answer = make(reference.clone());
        let shard = shard.clone();
        tokio::spawn(async move {
            let frame = match answer.await {
                Ok(frame) => reference.is_some().then_some(frame),
                Err(failure) => Some(failure_frame(&reference, &failure)),
            };
            shard.with(|state| {
                if let Some(frame) = frame {
                    state.push(id, frame);
                }
                state.end_request(id, weight, max);
            });
        });
        flow
    }
}

fn failure_frame(reference: &Ref, failure: &Failure) -> Bytes {
    metrics::counter!(crate::metrics::FAILED, "code" => failure.code().as_str(), "door" => "ws").increment(1);
    let retry_after_ms = failure.retry_after().map(|after| (after.as_millis() as u64).max(1));
    answer::error(reference, failure.code(), &failure.message(), failure.field(), retry_after_ms)
}

impl Shard {
    /// Answers with an error.
    pub fn fail(self: &Arc<Self>, id: ConnectionId, reference: &Ref, failure: &Failure) -> Flow {
        self.push(id, failure_frame(reference, failure))
    }

    /// Answers `ok`, if there is a `ref` to answer to.
    pub fn push_ok(self: &Arc<Self>, id: ConnectionId, reference: &Ref, body: impl serde::Serialize) -> Flow {
        match reference {
            Some(_) => self.push(id, answer::ok(reference, body)),
            None => Flow::More,
        }
    }

    /// Puts frames behind what waits for a connection, and says whether it may be read on.
    pub fn push(self: &Arc<Self>, id: ConnectionId, frames: Bytes) -> Flow {
        let budget = self.gateway.config.connection_bytes_max;
        self.with(|state| {
            state.push(id, frames);
            let Some(connection) = state.connection(id) else { return Flow::End };
            match connection.out.waiting() > budget {
                true => {
                    connection.paused = true;
                    Flow::Pause
                }
                false => Flow::More,
            }
        })
    }
}

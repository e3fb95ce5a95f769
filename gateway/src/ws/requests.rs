//! What a client asks on its WebSocket, and how it is answered.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::room::Verb;
use hubbub_wire::native::answer::{self, Commanded, Event, InRoom, Nothing, Page, Placed, Rooms};
use hubbub_wire::native::request::{self, Ref, Request};
use hubbub_wire::tier::act::ReadTo;
use hubbub_wire::tier::query::{Range, Replay};

use crate::asked::{Asked, READ_WEIGHT, Said};
use crate::bots::Given;
use crate::error::Failure;
use crate::member::ConnectionId;
use crate::shard::Shard;
use crate::ws::connection::Flow;
use crate::ws::hello;

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
            Named { asked: Asked { shard, id, account }, reference: frame.reference }.take(request)
        }
    }
}

/// A request of a user, and the name that they gave it.
struct Named<'a> {
    asked: Asked<'a>,
    reference: Ref,
}

impl Named<'_> {
    fn take(self, request: Request) -> Flow {
        let asked = &self.asked;
        let gateway = &asked.shard.gateway;
        match request {
            Request::Send { room, content, key, after } => {
                let durability = gateway.config.durability;
                let show = answering(self.reference, move |reference, said| match said {
                    Said::Kept { seq, at } => answer::kept(reference, seq, at, durability),
                    Said::Commanded(Given { command, notice }) => {
                        answer::ok(reference, Commanded { command: &command, notice: notice.as_deref() })
                    }
                });
                asked.send(room, content, key, after, show)
            }
            Request::Create { name, topic, key } => {
                let made = asked.create(name, topic, key.as_ref());
                self.act(made, |reference, room| answer::ok(reference, InRoom { room }))
            }
            Request::Join(room) => {
                let joined = asked.join(room);
                self.act(joined, placed)
            }
            Request::Leave(room) => self.change(room, Verb::Leave),
            Request::Kick(room, member) => self.change(room, Verb::Kick { member }),
            Request::Topic(room, topic) => self.change(room, Verb::Topic { topic }),
            Request::Typing { room, on } => match asked.typing(&room, on) {
                Ok(()) => Flow::More,
                Err(failure) => asked.shard.fail(asked.id, &self.reference, &failure),
            },
            Request::Watch { directory } => {
                asked.shard.with(|state| state.watch(asked.id, directory));
                asked.shard.push_ok(asked.id, &self.reference, Nothing {})
            }
            Request::Open { room, limit } => {
                if let Err(failure) = asked.may_read() {
                    return asked.shard.fail(asked.id, &self.reference, &failure);
                }
                let (shard, id, reference) = (asked.shard.clone(), asked.id, self.reference.clone());
                asked.answer_later(READ_WEIGHT, async move {
                    let opened = shard.open(id, &reference, room, limit).await;
                    opened.err().map(|failure| failure_frame(&reference, &failure))
                })
            }
            Request::History { room, range, limit, kinds } => {
                // A page that ends where the log does is for its holder to know: what is kept may not be heard here yet.
                let ends_before = |known: &ReadTo| match range {
                    Range::Before(seq) => seq <= known.head.next(),
                    Range::After(seq) => {
                        let begin = seq.max(known.first).0;
                        kinds.is_empty() && begin.saturating_add(limit.into()) < known.head.0
                    }
                };
                let read_to = asked.shard.with(|state| state.rooms.get(&room)?.read_to()).filter(ends_before);
                let asker = gateway.asker.clone();
                self.read(move |reference| async move {
                    let page = asker.replay(Replay { room, range, limit, kinds, read_to }).await?;
                    let entries = page.entries.iter().filter_map(answer::shown).collect();
                    let (more, next, first) = (page.more, page.next, page.first);
                    Ok(answer::ok(&reference, Page { entries, more, next, first }))
                })
            }
            Request::Members { room, cursor, limit } => {
                let gateway = gateway.clone();
                self.read(move |reference| async move {
                    // All that was asked or told before is in the list by the time at which the holder answers this.
                    gateway.asker.sync(&room, 0, Vec::new()).await?;
                    let (members, next) = gateway.asker.members(room, cursor, limit).await?;
                    let members = gateway.with_presence(members);
                    Ok(answer::ok(&reference, answer::Members { members, next }))
                })
            }
            Request::Rooms { cursor, limit } => {
                let asker = gateway.asker.clone();
                self.read(move |reference| async move {
                    let (rooms, next) = asker.directory(cursor, limit).await?;
                    Ok(answer::ok(&reference, Rooms { rooms, next }))
                })
            }
            // `on_text` took these.
            Request::Hello { .. } | Request::Ping => Flow::More,
        }
    }

    fn change(self, room: RoomId, verb: Verb) -> Flow {
        let changed = self.asked.change(room, verb);
        self.act(changed, placed)
    }

    fn act<T: 'static, F>(
        self,
        done: Result<F, Failure>,
        show: impl FnOnce(&Ref, T) -> Bytes + Send + 'static,
    ) -> Flow
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        match done {
            Ok(done) => self.answer_later(1, done, show),
            Err(failure) => self.asked.shard.fail(self.asked.id, &self.reference, &failure),
        }
    }

    fn read<F>(self, make: impl FnOnce(Ref) -> F) -> Flow
    where
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        match self.asked.may_read() {
            Ok(()) => {
                let page = make(self.reference.clone());
                self.answer_later(READ_WEIGHT, page, |_, page| page)
            }
            Err(failure) => self.asked.shard.fail(self.asked.id, &self.reference, &failure),
        }
    }

    fn answer_later<T: 'static>(
        self,
        weight: u16,
        answer: impl Future<Output = Result<T, Failure>> + Send + 'static,
        show: impl FnOnce(&Ref, T) -> Bytes + Send + 'static,
    ) -> Flow {
        let Self { asked, reference } = self;
        asked.answer_later(weight, answer.map(answering(reference, show)))
    }
}

/// Makes the frame that answers a request. One without a `ref` is told of errors only.
fn answering<T>(
    reference: Ref,
    show: impl FnOnce(&Ref, T) -> Bytes,
) -> impl FnOnce(Result<T, Failure>) -> Option<Bytes> {
    move |answer| match answer {
        Ok(answer) => reference.is_some().then(|| show(&reference, answer)),
        Err(failure) => Some(failure_frame(&reference, &failure)),
    }
}

fn placed(reference: &Ref, seq: Seq) -> Bytes {
    answer::ok(reference, Placed { seq })
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

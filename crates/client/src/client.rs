//! The handle: a verb for each request.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hubbub_core::ids::{Key, RoomId, Seq, UserId};
use hubbub_core::position::{Arrival, Position};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::answer::{Created, Done, Members, Moved, Opened, Page, Range, Room, Rooms, Sent, Welcome};
use crate::driver::{self, Command, Ended};
use crate::event::Behind;
use crate::pending::Effect;
use crate::session::{Ask, Session, parse};
use crate::{Entry, Error, Events, Options};

/// Commands that wait for the loop; more wait in their callers.
const COMMANDS_MAX: usize = 64;
/// Entries a page when what was missed is fetched: the most that the protocol allows.
const CATCH_UP_ENTRIES: u32 = 1_000;

/// A connection to the server, kept by a task of its own. Clones share it; it is closed with the last of them.
///
/// *Order*: requests go out in the order in which they are made, and many may be on their way at once.
///
/// *Errors* of every verb: [`Error::Refused`], [`Error::Deadline`], [`Error::Closed`], [`Error::BadAnswer`].
///
/// *Cancel safety*: a request whose future is dropped may or may not be carried out.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    requests: Arc<Semaphore>,
    welcome: Arc<Welcome>,
    ended: Ended,
}

impl Client {
    /// Connects and says hello. The events begin with `Connected`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the server can't be reached, refuses the token, or gives no welcome in time: the first attempt is the
    /// caller's, also with [`Options::reconnect`].
    pub async fn connect(options: Options) -> Result<(Self, Events), Error> {
        let (commands, from_handles) = mpsc::channel(COMMANDS_MAX);
        let (to_caller, events) = mpsc::channel(options.events_max.max(1));
        let (ready, welcome) = oneshot::channel();
        let requests = Arc::new(Semaphore::new(options.requests_max.clamp(1, Semaphore::MAX_PERMITS)));
        let ended = Arc::new(OnceLock::new());
        let session = Session::new(options, ready, Instant::now());
        tokio::spawn(driver::run(session, from_handles, to_caller, ended.clone()));
        let welcome = welcome.await.unwrap_or_else(|_| Err(gone(&ended)))?;
        Ok((Self { commands, requests, welcome, ended }, Events(events)))
    }

    /// The first welcome.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Makes a room, with a key of its own, so that a repeat makes no second one.
    pub async fn create(&self, name: &str, topic: &str) -> Result<Room, Error> {
        let body = json!({"type": "create", "name": name, "topic": topic, "key": new_key()});
        let Created { room } = self.ask(body, None, Effect::Created).await?;
        Ok(room)
    }

    /// A page of the directory.
    pub async fn rooms(&self, cursor: Option<&str>, limit: Option<u32>) -> Result<Rooms, Error> {
        self.query(json!({"type": "rooms", "cursor": cursor, "limit": limit})).await
    }

    /// Becomes a member of a room, whose entries come from here on.
    pub async fn join(&self, room: &RoomId) -> Result<Moved, Error> {
        self.ask(json!({"type": "join", "room": room}), None, Effect::Joined(room.clone())).await
    }

    /// Is a member of the room no more.
    pub async fn leave(&self, room: &RoomId) -> Result<Moved, Error> {
        self.ask(json!({"type": "leave", "room": room}), None, Effect::Left(room.clone())).await
    }

    /// Removes a member; only a room's owner may.
    pub async fn kick(&self, room: &RoomId, user: &UserId) -> Result<Moved, Error> {
        self.query(json!({"type": "kick", "room": room, "user": user})).await
    }

    /// Gives the room another topic; only its owner may.
    pub async fn set_topic(&self, room: &RoomId, topic: &str) -> Result<Moved, Error> {
        self.query(json!({"type": "topic", "room": room, "topic": topic})).await
    }

    /// A room as it is: its facts, members and newest entries.
    pub async fn open(&self, room: &RoomId, limit: Option<u32>) -> Result<Opened, Error> {
        self.query(json!({"type": "open", "room": room, "limit": limit})).await
    }

    /// Sends a text. Without a `key` it gets a new one; with [`Options::reconnect`] it is sent again under the same
    /// key until it is kept, refused, or given up. An `Ok` means that it is durable.
    ///
    /// With a `key` that was used before, for instance after [`Error::Deadline`], it is the same message: it is kept once if it is among
    /// the room's last 10,000 entries or new.
    pub async fn send_text(&self, room: &RoomId, text: &str, key: Option<&Key>) -> Result<Sent, Error> {
        self.send(room, "text", text, key).await
    }

    /// Sends a picture, a data URL, as [`send_text`](Self::send_text) sends a text.
    pub async fn send_image(&self, room: &RoomId, image: &str, key: Option<&Key>) -> Result<Sent, Error> {
        self.send(room, "image", image, key).await
    }

    async fn send(
        &self,
        room: &RoomId,
        field: &str,
        content: &str,
        key: Option<&Key>,
    ) -> Result<Sent, Error> {
        // Of a key that the caller made we don't know when it was first sent: behind where we are now it may not be found.
        let after_in = key.is_none().then_some(room);
        let key = key.map_or_else(new_key, |key| key.as_str().into());
        let mut body = json!({"type": "send", "room": room, "key": key});
        body[field] = content.into();
        self.ask(body, after_in, Effect::None).await
    }

    /// A page of old entries, all kinds.
    pub async fn history(&self, room: &RoomId, range: Range, limit: Option<u32>) -> Result<Page, Error> {
        let (before, after) = match range {
            Range::Before(seq) => (Some(seq), None),
            Range::After(seq) => (None, Some(seq)),
        };
        let body = json!({"type": "history", "room": room, "before": before, "after": after, "limit": limit});
        self.query(body).await
    }

    /// All entries that a `behind` tells us were dropped, as far as they are kept.
    ///
    /// # Errors
    /// As every verb; and [`Error::BadAnswer`] when the pages have a gap or a repeat.
    pub async fn catch_up(&self, behind: &Behind) -> Result<Vec<Entry>, Error> {
        let mut position = Position(behind.after);
        let mut entries = Vec::new();
        while position.0 < behind.head {
            let page = self.history(&behind.room, Range::After(position.0), Some(CATCH_UP_ENTRIES)).await?;
            // What was before is not kept: the log goes on there.
            let begins = page.first.map_or(position.0, |first| Seq(first.0.saturating_sub(1)));
            position = Position(position.0.max(begins.min(behind.head)));
            if page.entries.is_empty() && position.0 < behind.head {
                return Err(Error::BadAnswer(format!(
                    "the log ends at {} before {}",
                    position.0, behind.head
                )));
            }
            for entry in page.entries.into_iter().filter(|entry| entry.seq <= behind.head) {
                let before = position.0;
                if position.advance(entry.seq) != Arrival::Next {
                    return Err(Error::BadAnswer(format!("{} follows {before} in the log", entry.seq)));
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// A page of a room's members.
    pub async fn members(
        &self,
        room: &RoomId,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Members, Error> {
        self.query(json!({"type": "members", "room": room, "cursor": cursor, "limit": limit})).await
    }

    /// Tells the room that we write, or stopped. Best effort: it has no answer and is not sent again.
    ///
    /// # Errors
    /// [`Error::Closed`]. A refusal comes as [`Event::Refused`](crate::Event::Refused).
    pub async fn typing(&self, room: &RoomId, on: bool) -> Result<(), Error> {
        self.command(Command::Tell(object(json!({"type": "typing", "room": room, "on": on})))).await
    }

    /// Asks to be told of every new room, or no more.
    pub async fn watch(&self, directory: bool) -> Result<(), Error> {
        let Done {} = self.query(json!({"type": "watch", "directory": directory})).await?;
        Ok(())
    }

    /// Asks for a sign of life; gives the time that it took.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let sent = Instant::now();
        let Done {} = self.query(json!({"type": "ping"})).await?;
        Ok(sent.elapsed())
    }

    /// Gives the server a fresh token, which every later connection uses too.
    ///
    /// # Errors
    /// [`Error::Closed`]. A refusal comes as [`Event::Refused`](crate::Event::Refused) or a close.
    pub async fn set_token(&self, token: impl Into<String>) -> Result<(), Error> {
        self.command(Command::Token(token.into())).await
    }

    /// The last seq seen of each room that is followed: for [`Options::resume`] of a later client. Events that
    /// wait to be taken count as seen.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn positions(&self) -> Result<BTreeMap<RoomId, Seq>, Error> {
        let (reply, positions) = oneshot::channel();
        self.command(Command::Positions(reply)).await?;
        positions.await.map_err(|_| gone(&self.ended))
    }

    /// Closes the connection and waits until it is closed, a second at most. Requests without an answer fail.
    pub async fn close(self) {
        let (closing, closed) = oneshot::channel();
        if self.command(Command::Close(closing)).await.is_ok() {
            // It is answered by being dropped.
            let _ = closed.await;
        }
    }

    async fn query<T: DeserializeOwned>(&self, body: Value) -> Result<T, Error> {
        self.ask(body, None, Effect::None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        body: Value,
        after_in: Option<&RoomId>,
        effect: Effect,
    ) -> Result<T, Error> {
        let _one_of_a_limit = self.requests.acquire().await.map_err(|_| gone(&self.ended))?;
        let (reply, answer) = oneshot::channel();
        let ask = Ask { body: object(body), after_in: after_in.cloned(), effect, reply };
        self.command(Command::Ask(ask)).await?;
        let text = answer.await.unwrap_or_else(|_| Err(gone(&self.ended)))?;
        parse(&text)
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| gone(&self.ended))
    }
}

/// The fields that have a value.
fn object(body: Value) -> Map<String, Value> {
    match body {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn new_key() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn gone(ended: &Ended) -> Error {
    let unknown = || Error::Closed { code: None, reason: "the client has ended".into() };
    ended.get().cloned().unwrap_or_else(unknown)
}

//! What the client knows and decides. It has no socket and no clock: frames and instants come in, frames and
//! events go out, and [`driver`](crate::driver) carries them.

mod incoming;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hubbub_core::code::{CloseCode, Code};
use hubbub_core::ids::{RoomId, UserId};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::Welcome;
use crate::backoff::{Backoff, ceiling};
use crate::event::Disconnected;
use crate::pending::{Effect, Pending, Reply, Request};
use crate::positions::Positions;
use crate::socket::Out;
use crate::{Error, Event, Options, Refusal};

pub(crate) use incoming::parse;

/// The `ref` of every `hello`; requests begin at 1.
const HELLO: u64 = 0;

/// A request as a verb makes it.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) body: Map<String, Value>,
    /// The room whose last seq seen goes along as `after`.
    pub(crate) after_in: Option<RoomId>,
    pub(crate) effect: Effect,
    pub(crate) reply: Reply,
}

/// Who waits for the first `welcome`.
pub(crate) type Ready = oneshot::Sender<Result<Arc<Welcome>, Error>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down,
    /// `hello` is out.
    Greeting {
        since: Instant,
    },
    Up {
        since: Instant,
    },
}

#[derive(Debug)]
pub(crate) struct Session {
    options: Options,
    phase: Phase,
    ready: Option<Ready>,
    me: Option<UserId>,
    positions: Positions,
    pending: Pending,
    backoff: Backoff,
    heartbeat: Option<Duration>,
    heard: Instant,
    pinged: bool,
    /// What the server asked for in its last `bye`.
    wait: Option<Duration>,
    /// Why the connection is to be given up, and whether for good.
    hang_up: Option<HangUp>,
    out: VecDeque<Out>,
    events: VecDeque<Event>,
}

/// Why the session itself gives up a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HangUp {
    error: Error,
    for_good: bool,
}

impl Session {
    pub(crate) fn new(options: Options, ready: Ready, now: Instant) -> Self {
        Self {
            positions: Positions::resume(options.resume.clone()),
            backoff: Backoff::new(options.reconnect_wait_max),
            options,
            phase: Phase::Down,
            ready: Some(ready),
            me: None,
            pending: Pending::default(),
            heartbeat: None,
            heard: now,
            pinged: false,
            wait: None,
            hang_up: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    pub(crate) fn out(&mut self) -> &mut VecDeque<Out> {
        &mut self.out
    }

    pub(crate) fn events(&mut self) -> &mut VecDeque<Event> {
        &mut self.events
    }

    /// The socket is there.
    pub(crate) fn on_open(&mut self, now: Instant) {
        self.phase = Phase::Greeting { since: now };
        (self.heard, self.pinged, self.wait, self.hang_up) = (now, false, None, None);
        self.out.clear();
        self.say_hello(true);
    }

    fn say_hello(&mut self, resume: bool) {
        let mut hello = json!({"type": "hello", "ref": HELLO, "client": self.options.client_name});
        if !self.options.token.is_empty() {
            hello["token"] = self.options.token.as_str().into();
        }
        let rooms = self.positions.all();
        if resume && !rooms.is_empty() {
            hello["rooms"] = rooms
                .iter()
                .map(|(room, seq)| (room.to_string(), seq.0.into()))
                .collect::<Map<_, _>>()
                .into();
            if let Some(log) = &self.options.log {
                hello["log"] = log.as_str().into();
            }
        }
        self.out.push_back(Out::Text(hello.to_string()));
    }

    /// A fresh token: told to the server at once, and used from now on.
    pub(crate) fn on_token(&mut self, token: String) {
        self.options.token = token;
        if matches!(self.phase, Phase::Up { .. }) {
            self.say_hello(false);
        }
    }

    /// A request: sent now, or when the connection is up again.
    pub(crate) fn on_ask(&mut self, now: Instant, ask: Ask) {
        let Ask { mut body, after_in, effect, reply } = ask;
        let reference = self.pending.next_reference();
        body.insert("ref".into(), reference.into());
        if let Some(seq) = after_in.and_then(|room| self.positions.of(&room)) {
            body.insert("after".into(), seq.0.into());
        }
        let text = Value::Object(body).to_string();
        if matches!(self.phase, Phase::Up { .. }) {
            self.out.push_back(Out::Text(text.clone()));
        }
        self.pending.add(reference, Request::new(text, effect, now + self.options.deadline, reply));
    }

    /// Something that is said once or not at all: not without a connection, nor when much waits for it.
    pub(crate) fn on_tell(&mut self, body: Map<String, Value>) {
        if matches!(self.phase, Phase::Up { .. }) && self.out.len() < self.options.requests_max {
            self.out.push_back(Out::Text(Value::Object(body).to_string()));
        }
    }

    /// The connection is lost, or could not be made. Gives the time to the next attempt, or ends everything.
    pub(crate) fn on_lost(&mut self, now: Instant, error: Error, random: f64) -> Result<Duration, Error> {
        let lived = match self.phase {
            Phase::Up { since } => now - since,
            Phase::Down | Phase::Greeting { .. } => Duration::ZERO,
        };
        self.phase = Phase::Down;
        self.out.clear();
        self.pending.await_connection();
        let hang_up = self.hang_up.take();
        let for_good = hang_up.as_ref().is_some_and(|h| h.for_good)
            || is_final(&error)
            || !self.options.reconnect
            || self.ready.is_some();
        let error = hang_up.map_or(error, |hang_up| hang_up.error);
        let wait = self.backoff.on_lost(lived, self.wait.take(), random);
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(error.clone()));
        }
        if for_good {
            self.pending.fail(&error);
        }
        let retry_in = (!for_good).then_some(wait);
        self.events.push_back(Event::Disconnected(disconnected(&error, retry_in)));
        retry_in.ok_or(error)
    }

    /// The caller has closed the connection.
    pub(crate) fn on_close(&mut self, error: &Error) {
        self.pending.fail(error);
        self.events.push_back(Event::Disconnected(disconnected(error, None)));
    }

    /// Does what is due; see [`wants_to_hang_up`](Self::wants_to_hang_up).
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.pending.expire(now);
        if !self.events.is_empty() {
            // The caller takes no events, so nothing is read: the silence is our own.
            self.heard = now;
        }
        let silent = now - self.heard;
        match self.phase {
            Phase::Up { .. } => {
                let due = self.pending.take_due(now);
                self.out.extend(due.into_iter().map(Out::Text));
                if self.heartbeat.is_some_and(|heartbeat| silent >= heartbeat * 2) {
                    self.give_up("the server shows no sign of life");
                } else if !self.pinged && self.heartbeat.is_some_and(|heartbeat| silent >= heartbeat) {
                    self.pinged = true;
                    self.out.push_back(Out::Ping(Vec::new()));
                }
            }
            Phase::Greeting { since } if now >= since + self.options.connect_timeout => {
                self.give_up("no welcome in time");
            }
            _ => {}
        }
    }

    fn give_up(&mut self, reason: &str) {
        let error = Error::Closed { code: None, reason: reason.into() };
        self.hang_up = Some(HangUp { error, for_good: false });
    }

    /// Why the connection is to be dropped, if it is.
    pub(crate) fn wants_to_hang_up(&self) -> Option<Error> {
        self.hang_up.as_ref().map(|hang_up| hang_up.error.clone())
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let connection = match (self.phase, self.heartbeat) {
            (Phase::Greeting { since }, _) => Some(since + self.options.connect_timeout),
            (Phase::Up { .. }, Some(heartbeat)) => {
                Some(self.heard + heartbeat * if self.pinged { 2 } else { 1 })
            }
            _ => None,
        };
        self.pending.next_wake().into_iter().chain(connection).min()
    }

    /// The next attempt of a request that was refused for now.
    fn retry_at(now: Instant, refusal: &Refusal, refusals: u32) -> Instant {
        now + refusal.retry_after().unwrap_or_else(|| ceiling(refusals))
    }
}

fn disconnected(error: &Error, retry_in: Option<Duration>) -> Disconnected {
    match error {
        Error::Closed { code, reason } => Disconnected { code: *code, reason: reason.clone(), retry_in },
        other => Disconnected { code: None, reason: other.to_string(), retry_in },
    }
}

/// Whether it makes no sense to connect again.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Closed { code, .. } => *code == Some(CloseCode::NotAuthenticated.number()),
        Error::Connect { status, .. } => matches!(status, Some(400..=428 | 430..=499)),
        Error::Refused(refusal) => !refusal.known_code().is_some_and(Code::retry),
        Error::Deadline | Error::BadAnswer(_) => false,
    }
}

#[cfg(test)]
mod tests;

//! A frame from the server: an answer, or an event.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hubbub_core::code::Code;
use hubbub_core::ids::Seq;
use hubbub_core::position::Arrival;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::Instant;

use super::{HELLO, HangUp, Phase, Session};
use crate::answer::{Created, Moved, Welcome};
use crate::event::{Behind, Bye, Reset, Violation};
use crate::pending::Effect;
use crate::positions::Arrived;
use crate::raw::Frame;
use crate::socket::Out;
use crate::{Entry, Error, Event, Refusal, What};

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    type_name: Cow<'a, str>,
    #[serde(rename = "ref")]
    reference: Option<u64>,
    room: Option<IgnoredAny>,
    seq: Option<IgnoredAny>,
}

impl Session {
    /// Takes a frame; a close is [`on_lost`](Self::on_lost)'s.
    pub(crate) fn on_frame(&mut self, now: Instant, frame: Frame) {
        (self.heard, self.pinged) = (now, false);
        match frame {
            Frame::Text(text) => {
                if let Err(why) = self.on_text(now, &text) {
                    let violation = Violation::Unreadable { frame: text, why };
                    self.events.push_back(Event::Violation(violation));
                }
            }
            Frame::Ping(payload) => self.out.push_back(Out::Pong(payload)),
            Frame::Binary(bytes) => {
                let frame = String::from_utf8_lossy(&bytes).into_owned();
                let violation = Violation::Unreadable { frame, why: "a binary frame".into() };
                self.events.push_back(Event::Violation(violation));
            }
            Frame::Pong(_) | Frame::Closed { .. } => {}
        }
    }

    fn on_text(&mut self, now: Instant, text: &str) -> Result<(), String> {
        let head: Head<'_> = read(text)?;
        let event = match &*head.type_name {
            "ok" => return self.on_answer(&head, text),
            // One without a `ref` only shows that the server lives.
            "pong" if head.reference.is_some() => return self.on_answer(&head, text),
            "error" => return self.on_error(now, &head, text),
            "welcome" => return self.on_welcome(now, read(text)?),
            "behind" => {
                let behind: Behind = read(text)?;
                let arrived = self.positions.on_behind(&behind.room, behind.after, behind.head);
                if arrived.arrival == Arrival::Gap {
                    let next = behind.after.next();
                    let gap = Violation::Gap { room: behind.room.clone(), position: arrived.before, next };
                    self.events.push_back(Event::Violation(gap));
                }
                Event::Behind(behind)
            }
            "reset" => {
                let reset: Reset = read(text)?;
                self.positions.on_reset(&reset.room, reset.head);
                Event::Reset(reset)
            }
            "bye" => {
                let bye: Bye = read(text)?;
                self.wait = bye.reconnect_after_ms.map(Duration::from_millis);
                Event::Bye(bye)
            }
            "typing" => Event::Typing(read(text)?),
            "presence" => Event::Presence(read(text)?),
            "room" => Event::RoomMade(read(text)?),
            // Whatever has a place in a room's log is an entry, also of a type that came after this client.
            _ if head.room.is_some() && head.seq.is_some() => {
                self.on_entry(read(text)?);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.events.push_back(event);
        Ok(())
    }

    fn on_entry(&mut self, entry: Entry) {
        let Arrived { arrival, before: position } = self.positions.on_entry(&entry.room, entry.seq);
        if matches!(entry.what, What::Leave { .. }) && self.me.as_ref() == Some(&entry.user.id) {
            self.positions.on_left(&entry.room);
        }
        if arrival == Arrival::Repeat {
            self.events.push_back(Event::Violation(Violation::Repeat { position, entry }));
            return;
        }
        if arrival == Arrival::Gap {
            let gap = Violation::Gap { room: entry.room.clone(), position, next: entry.seq };
            self.events.push_back(Event::Violation(gap));
        }
        self.events.push_back(Event::Entry(entry));
    }

    fn on_welcome(&mut self, now: Instant, welcome: Welcome) -> Result<(), String> {
        self.heartbeat = welcome.heartbeat.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        self.me = Some(welcome.user.id.clone());
        if welcome.log.is_some() {
            self.options.log.clone_from(&welcome.log);
        }
        if !matches!(self.phase, Phase::Greeting { .. }) {
            // The answer to a fresh token on a connection that is up: nothing begins anew.
            return Ok(());
        }
        self.phase = Phase::Up { since: now };
        self.positions
            .on_welcome(welcome.rooms.iter().map(|room| (room.id.clone(), room.head.unwrap_or(Seq(0)))));
        let welcome = Arc::new(welcome);
        self.events.push_back(Event::Connected(welcome.clone()));
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(welcome));
        }
        let again = self.pending.all();
        self.out.extend(again.into_iter().map(Out::Text));
        Ok(())
    }

    fn on_answer(&mut self, head: &Head<'_>, text: &str) -> Result<(), String> {
        let reference = head.reference.ok_or("an answer without a ref of ours")?;
        let Some(request) = self.pending.answered(reference) else {
            return self.late_or_unasked(reference);
        };
        match &request.effect {
            Effect::None => {}
            Effect::Created => {
                let Created { room } = read(text)?;
                self.positions.on_joined(&room.id, room.head.unwrap_or(Seq(1)));
            }
            Effect::Joined(room) => self.positions.on_joined(room, read::<Moved>(text)?.seq),
            Effect::Left(room) => self.positions.on_left(room),
        }
        request.finish(Ok(text.into()));
        Ok(())
    }

    fn on_error(&mut self, now: Instant, head: &Head<'_>, text: &str) -> Result<(), String> {
        let refusal: Refusal = read(text)?;
        let reference = match head.reference {
            Some(HELLO) if matches!(self.phase, Phase::Greeting { .. }) => {
                let for_good = !refusal.known_code().is_some_and(Code::retry);
                self.wait = self.wait.or(refusal.retry_after());
                self.hang_up = Some(HangUp { error: Error::Refused(refusal), for_good });
                return Ok(());
            }
            Some(HELLO) | None => {
                self.events.push_back(Event::Refused(refusal));
                return Ok(());
            }
            Some(reference) => reference,
        };
        let Some(request) = self.pending.answered(reference) else {
            return self.late_or_unasked(reference);
        };
        if !self.options.reconnect || refusal.known_code() != Some(Code::Unavailable) {
            request.finish(Err(Error::Refused(refusal)));
            return Ok(());
        }
        let due = Self::retry_at(now, &refusal, request.refusals);
        if let Err(request) = self.pending.retry(reference, request, due) {
            request.finish(Err(Error::Refused(refusal)));
        }
        Ok(())
    }

    /// An answer may come after its request's deadline, but not without a request.
    fn late_or_unasked(&self, reference: u64) -> Result<(), String> {
        match self.pending.was_asked(reference) {
            true => Ok(()),
            false => Err("an answer that nobody asked for".into()),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// An answer's text as what the caller asked for.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::BadAnswer(error.to_string()))
}

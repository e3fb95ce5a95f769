//! A socket in a test's own hands: it reads only when it is told to, and sees every frame as it came.

use std::collections::VecDeque;

use hubbub_client::Entry;
use hubbub_client::raw::{Frame, Raw};
use hubbub_core::ids::RoomId;
use hubbub_testkit::checker::{Seen, Step};
use hubbub_testkit::{Person, in_time};
use serde_json::{Value, json};

/// A connection that was let in.
pub struct Peer {
    raw: Raw,
    welcome: Value,
    put_aside: VecDeque<Value>,
    references: u64,
}

/// What ended a connection.
#[derive(Debug, PartialEq)]
pub struct Ending {
    /// The `bye`, if one came.
    pub bye: Option<Value>,
    /// The close frame's code, if one came.
    pub code: Option<u16>,
}

impl Peer {
    /// Says hello, without a position.
    pub async fn hello(person: &Person) -> Self {
        Self::resume(person, json!({})).await
    }

    /// Says hello with the last seqs seen, {room: seq}.
    pub async fn resume(person: &Person, rooms: Value) -> Self {
        Self::resume_of_log(person, rooms, None).await
    }

    /// The same, and names the log that they are of.
    pub async fn resume_of_log(person: &Person, rooms: Value, log: Option<&Value>) -> Self {
        let raw = person.raw().await.unwrap();
        let mut peer = Self { raw, welcome: Value::Null, put_aside: VecDeque::new(), references: 0 };
        let mut hello = json!({"type": "hello", "ref": 0, "token": person.token, "rooms": rooms});
        if let Some(log) = log {
            hello["log"] = log.clone();
        }
        peer.raw.send_json(&hello).await.unwrap();
        let welcome = in_time("a welcome", peer.raw.next_json()).await.unwrap();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Self { welcome, ..peer }
    }

    /// The welcome.
    pub fn welcome(&self) -> &Value {
        &self.welcome
    }

    /// Sends a request and reads to its answer; events before it wait for [`next`](Self::next).
    pub async fn ask(&mut self, mut body: Value) -> Value {
        self.references += 1;
        let reference = self.references;
        body["ref"] = reference.into();
        self.raw.send_json(&body).await.unwrap();
        loop {
            let frame = in_time("an answer", self.raw.next_json()).await.unwrap();
            if frame["ref"] == reference {
                return frame;
            }
            self.put_aside.push_back(frame);
        }
    }

    /// Sends a request and reads nothing.
    pub async fn tell(&mut self, body: Value) {
        self.raw.send_json(&body).await.unwrap();
    }

    /// The next event, or what ended the connection.
    pub async fn next(&mut self) -> Result<Value, Frame> {
        match self.put_aside.pop_front() {
            Some(event) => Ok(event),
            None => in_time("a frame", self.raw.next_json()).await,
        }
    }

    /// What comes next for a reader of a room; other events before it are dropped.
    pub async fn next_step(&mut self) -> (RoomId, Step) {
        loop {
            if let Some(next) = step(&self.next().await.unwrap()) {
                return next;
            }
        }
    }

    /// The next event of this type; others before it are dropped.
    pub async fn next_of(&mut self, type_name: &str) -> Value {
        loop {
            let event = self.next().await.unwrap();
            if event["type"] == type_name {
                return event;
            }
        }
    }

    /// All events up to the entry at `head`, or to the `behind` that names it.
    pub async fn up_to(&mut self, head: u64) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap();
            let is_last = event["seq"] == head || event["type"] == "behind" && event["head"] == head;
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// The events that came before the last answer.
    pub fn so_far(&mut self) -> Vec<Value> {
        self.put_aside.drain(..).collect()
    }

    /// All events up to now: whatever the server sent before it answers a ping.
    pub async fn all_so_far(&mut self) -> Vec<Value> {
        let pong = self.ask(json!({"type": "ping"})).await;
        assert_eq!(pong["type"], "pong");
        self.so_far()
    }

    /// Reads to the end of the connection.
    pub async fn ending(&mut self) -> Ending {
        let mut bye = None;
        loop {
            match self.next().await {
                Ok(event) if event["type"] == "bye" => bye = Some(event),
                Ok(_) => {}
                Err(Frame::Closed { code, .. }) => return Ending { bye, code },
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

/// What an event is for a reader of its room, if it is anything.
pub fn step(event: &Value) -> Option<(RoomId, Step)> {
    let number = |name: &str| event[name].as_u64().unwrap();
    let room = RoomId::parse(event["room"].as_str()?).unwrap();
    let step = match event["type"].as_str()? {
        "behind" => Step::Behind { after: number("after"), head: number("head") },
        "reset" => Step::Reset { head: number("head") },
        _ if event.get("seq").is_some() => Step::Entry(seen(event)),
        _ => return None,
    };
    Some((room, step))
}

/// An entry as it was sent.
pub fn seen(event: &Value) -> Seen {
    Seen::from(&serde_json::from_value::<Entry>(event.clone()).unwrap())
}

//! A conversation over the native protocol.

use std::collections::VecDeque;

use hubbub_client::raw::{Frame, Raw};
use hubbub_testkit::{Hubbub, Person, in_time};
use serde_json::{Value, json};

use crate::schema::messages_of;

/// One connection.
pub struct Talk {
    pub raw: Raw,
    /// What came before what was waited for.
    events: VecDeque<Value>,
    refs: u64,
}

impl Talk {
    /// A connection on which nothing was said.
    pub async fn silent(server: &Hubbub) -> Self {
        let raw = Raw::connect(&server.ws_url(), None).await.unwrap();
        Self { raw, events: VecDeque::new(), refs: 0 }
    }

    /// A new person who said hello.
    pub async fn of(server: &Hubbub, name: &str) -> (Self, Person) {
        let person = Person::register(server, name).await.unwrap();
        (Self::again(server, &person).await, person)
    }

    /// One more connection of a person.
    pub async fn again(server: &Hubbub, person: &Person) -> Self {
        let mut talk = Self::silent(server).await;
        let welcome = talk.ask(json!({"type": "hello", "token": person.token})).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        talk
    }

    async fn read(&mut self) -> Value {
        let frame = in_time("a frame", self.raw.next_json()).await.unwrap();
        assert_eq!(messages_of(&frame).len(), 1, "not described: {frame}");
        frame
    }

    /// Sends a request and gives its answer.
    pub async fn ask(&mut self, mut request: Value) -> Value {
        self.refs += 1;
        let reference = json!(format!("r{}", self.refs));
        request["ref"] = reference.clone();
        self.raw.send_json(&request).await.unwrap();
        self.answer(&reference).await
    }

    /// The answer with this `ref`.
    pub async fn answer(&mut self, reference: &Value) -> Value {
        if let Some(at) = self.events.iter().position(|frame| frame.get("ref") == Some(reference)) {
            return self.events.remove(at).unwrap();
        }
        loop {
            let frame = self.read().await;
            match frame.get("ref") {
                Some(of) if of == reference => return frame,
                _ => self.events.push_back(frame),
            }
        }
    }

    /// Sends a request that must succeed.
    pub async fn done(&mut self, request: Value) -> Value {
        let shown = request.to_string();
        let answer = self.ask(request).await;
        assert_eq!(answer["type"], "ok", "{shown} got {answer}");
        answer
    }

    /// The next frame of a type, whether it came already or not; others before it are passed over.
    pub async fn hear(&mut self, type_name: &str) -> Value {
        loop {
            let frame = match self.events.pop_front() {
                Some(frame) => frame,
                None => self.read().await,
            };
            if frame["type"] == type_name {
                return frame;
            }
        }
    }

    /// What was heard and not asked for so far: complete up to here, since answers keep the order of what is sent.
    pub async fn heard_so_far(&mut self) -> Vec<Value> {
        self.is_well().await;
        self.events.drain(..).collect()
    }

    /// Answers as if nothing had happened.
    pub async fn is_well(&mut self) {
        assert_eq!(self.ask(json!({"type": "ping"})).await["type"], "pong");
    }

    /// Reads until the connection ends: the last `bye`, and the close frame's code and reason.
    pub async fn end(&mut self) -> (Option<Value>, Option<u16>, String) {
        let mut bye = None;
        loop {
            match in_time("the end of the connection", self.raw.next()).await {
                Frame::Closed { code, reason } => return (bye, code, reason),
                Frame::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    bye = (frame["type"] == "bye").then_some(frame);
                }
                Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }

    /// Makes a room.
    pub async fn room(&mut self) -> String {
        let answer = self.done(json!({"type": "create", "name": "The lobby"})).await;
        answer["room"]["id"].as_str().unwrap().to_owned()
    }
}

/// A masked frame as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

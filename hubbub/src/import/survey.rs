//! One room of the sorted documents: what has to be known of it before its first entry is written, and its messages one by one.

use std::collections::{HashMap, HashSet};

use hubbub_core::ids::{RoomId, UserId};

use super::report::Report;
use super::seed::{Chatroom, Document, Message, room_of};
use super::sorted::Sorted;

/// Documents between two looks at whether the process is to end.
const PAUSE_EVERY: u64 = 1_000;

/// A room that is about to be written or checked, with the place before its first message.
pub(super) struct Survey {
    pub(super) room: Chatroom,
    /// Its members, if the document names them.
    listed: Option<HashSet<UserId>>,
    /// When the room was made: at its first message, if that is older.
    pub(super) made_at: u64,
    /// When the last thing of it was.
    pub(super) last_at: u64,
    /// The last message of everybody who wrote here, counted from 0.
    pub(super) last_of: HashMap<UserId, u64>,
    pub(super) messages: u64,
}

impl Survey {
    /// Surveys the next room that has a document of its own; `None` after the last. Messages of no room are refused.
    pub(super) async fn next(sorted: &mut Sorted, report: &mut Report) -> anyhow::Result<Option<Self>> {
        while let Some(record) = sorted.next()? {
            report.advance(|| sorted.read_of());
            match serde_json::from_slice(&record.value)? {
                Document::Room(room) => return Self::of(room, sorted, report).await.map(Some),
                Document::Message(message) => {
                    let nowhere = format!("its chatroom {} is not in {}", message.room, report.chatrooms);
                    report.refuse_message(message.line, &nowhere)?;
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(None)
    }

    async fn of(room: Chatroom, sorted: &mut Sorted, report: &mut Report) -> anyhow::Result<Self> {
        while let Some(again) = next_room_document(&room.id, sorted)? {
            let file = report.chatrooms.clone();
            report.refuse(
                &file,
                again.line,
                &format_args!("chatroom {} was in line {}", room.id, room.line),
            )?;
        }
        let begin = sorted.mark();
        let (mut first_at, mut last_at, mut last_of) = (None, room.at, HashMap::new());
        let mut messages = Messages::new(&room.id);
        while let Some(message) = messages.next(sorted)? {
            first_at.get_or_insert(message.at);
            last_at = last_at.max(message.at);
            last_of.insert(message.owner, messages.taken - 1);
            if messages.taken.is_multiple_of(PAUSE_EVERY) {
                tokio::task::yield_now().await;
            }
        }
        sorted.rewind(&begin)?;
        let made_at = first_at.unwrap_or(room.at).min(room.at);
        let listed = room.members.as_ref().map(|members| members.iter().cloned().collect());
        Ok(Self { room, listed, made_at, last_at, last_of, messages: messages.taken })
    }

    /// Whether a user is in the room at its end. Where the document does not say it, all who wrote are.
    pub(super) fn stays(&self, user: &UserId) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.contains(user))
    }

    /// Who is in the room at its end, the owner first.
    pub(super) fn members(&self) -> Vec<&UserId> {
        match &self.room.members {
            Some(members) => members.iter().collect(),
            None => {
                let mut wrote: Vec<_> =
                    self.last_of.keys().filter(|user| **user != self.room.owner).collect();
                wrote.sort_unstable();
                std::iter::once(&self.room.owner).chain(wrote).collect()
            }
        }
    }
}

fn next_room_document(room: &RoomId, sorted: &mut Sorted) -> anyhow::Result<Option<Chatroom>> {
    let is_one =
        |key: &[u8]| room_of(key) == room.as_str().as_bytes() && key.get(room.as_str().len() + 1) == Some(&0);
    if !sorted.peek().is_some_and(is_one) {
        return Ok(None);
    }
    let Some(record) = sorted.next()? else { return Ok(None) };
    match serde_json::from_slice(&record.value)? {
        Document::Room(room) => Ok(Some(room)),
        Document::Message(_) => Ok(None),
    }
}

/// The messages of a room, in order, each once.
pub(super) struct Messages {
    room: RoomId,
    /// How many came.
    pub(super) taken: u64,
    /// Lines that had the message before once more.
    pub(super) doubles: Vec<u64>,
    ahead: Option<Message>,
}

impl Messages {
    pub(super) fn new(room: &RoomId) -> Self {
        Self { room: room.clone(), taken: 0, doubles: Vec::new(), ahead: None }
    }

    /// The next one, which stays the next one.
    pub(super) fn peek(&mut self, sorted: &mut Sorted) -> anyhow::Result<Option<&Message>> {
        if self.ahead.is_none() {
            self.ahead = self.read(sorted)?;
        }
        Ok(self.ahead.as_ref())
    }

    /// The next one.
    pub(super) fn next(&mut self, sorted: &mut Sorted) -> anyhow::Result<Option<Message>> {
        let next = match self.ahead.take() {
            Some(message) => Some(message),
            None => self.read(sorted)?,
        };
        self.taken += u64::from(next.is_some());
        Ok(next)
    }

    fn read(&mut self, sorted: &mut Sorted) -> anyhow::Result<Option<Message>> {
        if sorted.peek().is_none_or(|key| room_of(key) != self.room.as_str().as_bytes()) {
            return Ok(None);
        }
        let Some(record) = sorted.next()? else { return Ok(None) };
        while sorted.peek() == Some(&record.key) {
            if let Some(Document::Message(double)) =
                sorted.next()?.map(|double| serde_json::from_slice(&double.value)).transpose()?
            {
                self.doubles.push(double.line);
            }
        }
        match serde_json::from_slice(&record.value)? {
            Document::Message(message) => Ok(Some(message)),
            Document::Room(_) => anyhow::bail!("a room among the messages of {}", self.room),
        }
    }
}

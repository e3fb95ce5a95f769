//! What the gateway asks of the other tiers: actions of the rooms' holders, reads of the history service.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Key, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::ports::bus::{Bus, BusError, Subject};
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_wire::tier::act::{Ask, Synced, Told, What};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Joined, Listed, Member, Query, Replay};
use sha2::{Digest, Sha256};

use crate::error::Failure;

/// Pause before the first retry to a partition that nobody holds just now; it doubles, with jitter.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LAST: Duration = Duration::from_millis(200);

/// A page of a log.
#[derive(Debug)]
pub struct Page {
    /// Ascending.
    pub entries: Vec<Entry>,
    /// Whether there is more.
    pub more: bool,
    /// If so, where to go on.
    pub next: Option<Seq>,
}

/// Asks the other tiers. Cheap to clone.
#[derive(Clone)]
pub struct Asker {
    bus: Arc<dyn Bus>,
    partitions: Partitions,
    timeout: Duration,
}

impl Asker {
    /// Asks over `bus`, each time for at most `timeout`.
    pub fn new(bus: Arc<dyn Bus>, partitions: Partitions, timeout: Duration) -> Self {
        Self { bus, partitions, timeout }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// The partition whose holder writes the room.
    pub fn partition(&self, room: &RoomId) -> hubbub_core::ids::Partition {
        self.partitions.of(room)
    }

    /// Does something in a room. The request is on its way when this returns, so that actions keep the order of their
    /// calls; the future waits for the answer.
    ///
    /// # Errors
    /// `Refused`; `Unavailable`, and then it may have been done.
    pub fn act(
        &self,
        room: RoomId,
        user: User,
        verb: Verb,
    ) -> impl Future<Output = Result<Answer, Failure>> + 'static {
        let answer = self.ask(room, What::Do { user, verb });
        async move {
            let mut payload = answer.await?;
            match parcel::header::<Told>(&mut payload)? {
                Told::Done(Answer::Refused(refusal)) => Err(refusal.into()),
                Told::Done(answer) => Ok(answer),
                Told::NoSuchRoom => Err(Refusal::NoSuchRoom.into()),
                Told::Unavailable | Told::Synced(_) => Err(Failure::Unavailable),
            }
        }
    }

    /// Asks the holder where a room's log ends, for its newest entries as far as they are in memory, and which of `users`
    /// are members there.
    pub async fn sync(
        &self,
        room: &RoomId,
        newest: u32,
        users: Vec<UserId>,
    ) -> Result<(Synced, Vec<Entry>), Failure> {
        let mut payload = self.ask(room.clone(), What::Sync { newest, users }).await?;
        match parcel::header::<Told>(&mut payload)? {
            Told::Synced(synced) => Ok((synced, parcel::entries(room, payload)?)),
            Told::NoSuchRoom => Err(Refusal::NoSuchRoom.into()),
            Told::Unavailable | Told::Done(_) => Err(Failure::Unavailable),
        }
    }

    fn ask(&self, room: RoomId, what: What) -> impl Future<Output = Result<Bytes, Failure>> + 'static {
        let subject = Subject::Act(self.partitions.of(&room));
        let timeout_ms = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        let payload = parcel::pack(&Ask { room, what, timeout_ms });
        self.request(subject, payload)
    }

    /// The first try is made now; tries that nobody served are made again until the time is over.
    fn request(
        &self,
        subject: Subject,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, Failure>> + 'static {
        let (bus, deadline) = (self.bus.clone(), Instant::now() + self.timeout);
        let first = bus.request(&subject, payload.clone(), self.timeout);
        async move {
            let mut answer = first.await;
            let mut pause = RETRY_FIRST;
            while answer == Err(BusError::NoResponders) {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Failure::Unavailable);
                }
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64()).min(left)).await;
                pause = (pause * 2).min(RETRY_LAST);
                answer = bus.request(&subject, payload.clone(), left).await;
            }
            Ok(answer?)
        }
    }

    async fn query(&self, query: &Query) -> Result<(Found, Bytes), Failure> {
        let mut payload = self.request(Subject::Query, parcel::pack(query)).await?;
        match parcel::header::<Found>(&mut payload)? {
            Found::NoSuchRoom => Err(Refusal::NoSuchRoom.into()),
            Found::BadCursor => Err(Failure::Bad(hubbub_wire::native::request::BadRequest {
                code: hubbub_core::code::Code::BadRequest,
                field: Some("cursor"),
                message: "cursor is not one that this server gave".into(),
            })),
            Found::Unavailable => Err(Failure::Unavailable),
            found => Ok((found, payload)),
        }
    }

    /// A page of a room's log.
    pub async fn replay(&self, replay: Replay) -> Result<Page, Failure> {
        let room = replay.room.clone();
        match self.query(&Query::Replay(replay)).await? {
            (Found::Page { more, next }, payload) => {
                Ok(Page { entries: parcel::entries(&room, payload)?, more, next })
            }
            _ => Err(Failure::Unavailable),
        }
    }

    /// A page of a room's members, and the id to go on after.
    pub async fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<Member>, Option<UserId>), Failure> {
        match self.query(&Query::Members { room, after, limit }).await?.0 {
            Found::Members { members, next } => Ok((members, next)),
            _ => Err(Failure::Unavailable),
        }
    }

    /// All rooms of a user.
    pub async fn rooms_of(&self, user: UserId) -> Result<Vec<Joined>, Failure> {
        match self.query(&Query::RoomsOf { user }).await?.0 {
            Found::RoomsOf { rooms } => Ok(rooms),
            _ => Err(Failure::Unavailable),
        }
    }

    /// A page of the directory, and the cursor of the next one.
    pub async fn directory(
        &self,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<(Vec<Listed>, Option<String>), Failure> {
        match self.query(&Query::Directory { cursor, limit }).await?.0 {
            Found::Directory { rooms, next } => Ok((rooms, next)),
            _ => Err(Failure::Unavailable),
        }
    }
}

/// The id of a room that is being made. With a key it is made from user and key, so that a repeat, whichever gateway it
/// comes to, asks for the same room; without one it is new.
pub fn room_id(user: &UserId, key: Option<&Key>) -> RoomId {
    let id = match key {
        Some(key) => {
            let mut hash = Sha256::new();
            hash.update(b"room\0");
            hash.update(user.as_str());
            hash.update([0]);
            hash.update(key.as_str());
            let digest: [u8; 32] = hash.finalize().into();
            digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
        }
        None => uuid::Uuid::now_v7().simple().to_string(),
    };
    RoomId::parse(&id).expect("32 hexadecimal digits are an id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_create_asks_for_the_same_room() {
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let key = Key::parse("k").unwrap();
        assert_eq!(room_id(&ann, Some(&key)), room_id(&ann, Some(&key)));
        assert_ne!(room_id(&ann, Some(&key)), room_id(&bob, Some(&key)));
        assert_ne!(room_id(&ann, None), room_id(&ann, None));
    }
}

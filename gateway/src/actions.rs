//! What the gateway asks of the other tiers: actions of the rooms' holders, reads of the history service.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Map;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Key, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::ports::bus::{Bus, Message, Payload, Subject};
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_core::trace::TraceContext;
use hubbub_node::trace::Span;
use hubbub_wire::tier::act::{Ask, EraseFrom, Erased, Synced, Told, Trimmed, What};
use hubbub_wire::tier::bots::{AskBots, Command, CommandFacts, ToldBots};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Joined, Listed, Member, Query, Replay};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::again::{ASK_AGAIN_AFTER, Again, Header};
use crate::error::Failure;
use crate::lanes::Lanes;
use crate::peers::Cluster;
use crate::pool::Pool;

/// How long a command may wait for a bridge that begins, where there is none.
const NO_BRIDGE_MAX: Duration = Duration::from_secs(1);

/// A page of a log.
#[derive(Debug)]
pub struct Page {
    /// Ascending.
    pub entries: Vec<Entry>,
    /// Whether there is more.
    pub more: bool,
    /// If so, where to go on.
    pub next: Option<Seq>,
    /// Where the log begins, if something of it went.
    pub first: Option<Seq>,
}

/// Asks the other tiers. Cheap to clone.
#[derive(Clone)]
pub struct Asker {
    bus: Arc<dyn Bus>,
    partitions: Partitions,
    readers: Pool,
    bridges: Pool,
    lanes: Arc<Lanes>,
    timeout: Duration,
}

impl Asker {
    /// Asks over `bus`, each time for at most `timeout`.
    pub fn new(
        bus: Arc<dyn Bus>,
        partitions: Partitions,
        timeout: Duration,
        cluster: Option<&Cluster>,
    ) -> Self {
        let readers = Pool::new(Subject::Query, cluster.map(|cluster| cluster.readers.clone()));
        let bridges = Pool::new(Subject::Bots, cluster.map(|cluster| cluster.bridges.clone()));
        Self { bus, partitions, readers, bridges, lanes: Arc::default(), timeout }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    #[cfg(test)]
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The partition whose holder writes the room.
    pub fn partition(&self, room: &RoomId) -> hubbub_core::ids::Partition {
        self.partitions.of(room)
    }

    /// Does something in a room, and has `then` called with what came of it: it must not block. The request is on its way when
    /// this returns, so that actions keep the order of their calls. `told` is what the client said of a trace of its own.
    ///
    /// # Errors
    /// `Refused`; `Unavailable`, and then it may have been done.
    pub fn act_then(
        &self,
        room: RoomId,
        user: User,
        verb: Verb,
        told: Option<TraceContext>,
        then: impl FnOnce(Result<Answer, Failure>) + Send + 'static,
    ) {
        let mut span = Span::first(name(&verb), told);
        span.tag("hubbub.room", &room);
        let trace = span.context();
        self.ask_then(room, What::Do { user, verb }, trace, move |answer| {
            let answer = match answer {
                Ok((Told::Done(Answer::Refused(refusal)), _)) => Err(refusal.into()),
                Ok((Told::Done(answer), _)) => Ok(answer),
                Ok((other, _)) => Err(not_asked_for(&other)),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = &answer {
                span.fail(failure.code());
            }
            drop(span);
            then(answer);
        });
    }

    /// As [`Asker::act_then`], with a future of the answer.
    ///
    /// # Cancel safety
    /// Dropped, it is done all the same.
    pub fn act(
        &self,
        room: RoomId,
        user: User,
        verb: Verb,
        told: Option<TraceContext>,
    ) -> impl Future<Output = Result<Answer, Failure>> + 'static + use<> {
        answer_of(|then| self.act_then(room, user, verb, told, then))
    }

    /// Asks the holder where a room's log ends, for its newest entries as far as they are in memory, and which of `users`
    /// are members there.
    pub fn sync(
        &self,
        room: &RoomId,
        newest: u32,
        users: Vec<UserId>,
    ) -> impl Future<Output = Result<(Synced, Vec<Entry>), Failure>> + 'static + use<> {
        let room = room.clone();
        let asked = self.ask(room.clone(), What::Sync { newest, users });
        async move {
            let (told, payload) = asked.await?;
            match told {
                Told::Synced(synced) => Ok((*synced, parcel::entries(&room, payload)?)),
                other => Err(not_asked_for(&other)),
            }
        }
    }

    /// Has a part of a log gone through for a user's messages to erase, and says where to go on.
    ///
    /// # Errors
    /// `Refused` when there is no such room; `Unavailable`, and then it may have been done, and can be done again.
    pub async fn erase(
        &self,
        room: RoomId,
        by: User,
        author: UserId,
        from: Option<EraseFrom>,
    ) -> Result<Erased, Failure> {
        match self.ask(room, What::Erase { by, author, from }).await?.0 {
            Told::Erased(erased) => Ok(erased),
            other => Err(not_asked_for(&other)),
        }
    }

    /// Has a part of what a room does not keep of its log go, and says whether there is more.
    ///
    /// # Errors
    /// `Refused` when there is no such room; `Unavailable`, and then it may have been done, and can be done again.
    pub async fn trim(&self, room: RoomId, by: User, fully: bool) -> Result<Trimmed, Failure> {
        match self.ask(room, What::Trim { by, fully }).await?.0 {
            Told::Trimmed(trimmed) => Ok(trimmed),
            other => Err(not_asked_for(&other)),
        }
    }

    fn ask_then(
        &self,
        room: RoomId,
        what: What,
        trace: Option<TraceContext>,
        then: impl FnOnce(Result<(Told, Payload), Failure>) + Send + 'static,
    ) {
        let subject = Subject::Act(self.partitions.of(&room));
        let timeout_ms = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        let twice = may_be_asked_twice(&what);
        let whose = whose(&what).cloned();
        let payload = Payload::whole(Ask { room: room.clone(), what, timeout_ms });
        let message = Message { payload, traces: trace.into_iter().collect() };
        let request = self.begin(subject, None, message, twice, self.nobody());
        match whose {
            Some(user) => self.lanes.ask((room, user), request, then),
            None => request.ask_then(then),
        }
    }

    fn ask(
        &self,
        room: RoomId,
        what: What,
    ) -> impl Future<Output = Result<(Told, Payload), Failure>> + 'static + use<> {
        answer_of(|then| self.ask_then(room, what, None, then))
    }

    /// What it means that nobody holds a partition, or answers reads, and after which time.
    fn nobody(&self) -> (Duration, Failure) {
        (self.timeout, Failure::Unavailable)
    }

    /// Tries that nobody served are made again for the time that `nobody` names; what may be asked `twice` is also asked again when
    /// nobody answered for a while, or the one who was asked is the wrong one by now.
    fn begin(
        &self,
        subject: Subject,
        pool: Option<Pool>,
        message: Message,
        twice: bool,
        nobody: (Duration, Failure),
    ) -> Again {
        let patience = if twice { ASK_AGAIN_AFTER.min(self.timeout) } else { self.timeout };
        let (bus, timeout) = (self.bus.clone(), self.timeout);
        Again { bus, subject, pool, message, twice, nobody, began: Instant::now(), timeout, patience }
    }

    /// Asks one of several who serve alike; asking a second one changes nothing.
    fn request<T: Header>(
        &self,
        pool: &Pool,
        message: Message,
        nobody: (Duration, Failure),
    ) -> impl Future<Output = Result<(T, Payload), Failure>> + 'static + use<T> {
        self.request_first(pool.first(), pool, message, nobody)
    }

    fn request_first<T: Header>(
        &self,
        first: Subject,
        pool: &Pool,
        message: Message,
        nobody: (Duration, Failure),
    ) -> impl Future<Output = Result<(T, Payload), Failure>> + 'static + use<T> {
        let request = self.begin(first, Some(pool.clone()), message, true, nobody);
        answer_of(|then| request.ask_then(then))
    }

    async fn query(&self, query: Query) -> Result<(Found, Payload), Failure> {
        let (found, payload) =
            self.request(&self.readers, Payload::whole(query).into(), self.nobody()).await?;
        match found {
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
        match self.query(Query::Replay(replay)).await? {
            (Found::Page { more, next, first }, payload) => {
                let first = (first > Seq(0)).then_some(first);
                Ok(Page { entries: parcel::entries(&room, payload)?, more, next, first })
            }
            _ => Err(Failure::Unavailable),
        }
    }

    /// Hands a user's command to a bridge, always to the same one while it lives. As of [`act`](Self::act), it is on its way when this
    /// returns. Asked twice it is the same command.
    ///
    /// # Errors
    /// `NoBots` where there is no bridge; `Unavailable`, and then the bots may have it.
    pub fn command(
        &self,
        by: &UserId,
        mut command: Command,
    ) -> impl Future<Output = Result<ToldBots, Failure>> + 'static + use<> {
        command.timeout_ms = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        let first = self.bridges.first_for(by);
        self.ask_bots(first, AskBots::Command(command))
    }

    /// The commands that bots announced; none where there is no bridge.
    pub async fn commands(&self) -> Result<Vec<CommandFacts>, Failure> {
        match self.ask_bots(self.bridges.first(), AskBots::Known).await {
            Ok(ToldBots::Known(commands)) => Ok(commands),
            Err(Failure::NoBots) => Ok(Vec::new()),
            Ok(_) => Err(Failure::Unavailable),
            Err(failure) => Err(failure),
        }
    }

    fn ask_bots(
        &self,
        first: Subject,
        ask: AskBots,
    ) -> impl Future<Output = Result<ToldBots, Failure>> + 'static + use<> {
        let nobody = (NO_BRIDGE_MAX, Failure::NoBots);
        let told = self.request_first(first, &self.bridges, parcel::pack(&ask).into(), nobody);
        async move { Ok(told.await?.0) }
    }

    /// A page of a room's members, and the id to go on after.
    pub async fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<Member>, Option<UserId>), Failure> {
        match self.query(Query::Members { room, after, limit }).await?.0 {
            Found::Members { members, next } => Ok((members, next)),
            _ => Err(Failure::Unavailable),
        }
    }

    /// All rooms of a user.
    pub async fn rooms_of(&self, user: UserId) -> Result<Vec<Joined>, Failure> {
        match self.query(Query::RoomsOf { user }).await?.0 {
            Found::RoomsOf { rooms } => Ok(rooms),
            _ => Err(Failure::Unavailable),
        }
    }

    /// A page of the rooms that a user is or was a member of, and the id to go on after.
    pub async fn rooms_ever_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: u32,
    ) -> Result<(Vec<RoomId>, Option<RoomId>), Failure> {
        match self.query(Query::RoomsEverOf { user, after, limit }).await?.0 {
            Found::RoomsEverOf { rooms, next } => Ok((rooms, next)),
            _ => Err(Failure::Unavailable),
        }
    }

    /// A page of the directory, and the cursor of the next one.
    pub async fn directory(
        &self,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<(Vec<Listed>, Option<String>), Failure> {
        match self.query(Query::Directory { cursor, limit }).await?.0 {
            Found::Directory { rooms, next } => Ok((rooms, next)),
            _ => Err(Failure::Unavailable),
        }
    }
}

/// What is called with an answer.
type Tell<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

/// An answer that is told by a call.
type Awaited<T> = oneshot::Receiver<Result<T, Failure>>;
type AnswerOf<T> = Map<Awaited<T>, fn(<Awaited<T> as Future>::Output) -> Result<T, Failure>>;

/// What is to be answered is on its way when this returns.
fn answer_of<T: Send + 'static>(ask: impl FnOnce(Tell<T>)) -> AnswerOf<T> {
    let (tell, told) = oneshot::channel();
    ask(Box::new(move |answer| _ = tell.send(answer)));
    // A bus that is gone answers nothing.
    told.map(|told| told.unwrap_or(Err(Failure::Unavailable)))
}

/// What another answer means than the one that was asked for.
fn not_asked_for(told: &Told) -> Failure {
    match told {
        Told::NoSuchRoom => Refusal::NoSuchRoom.into(),
        _ => Failure::Unavailable,
    }
}

/// What a span is called that does this.
fn name(verb: &Verb) -> &'static str {
    match verb {
        Verb::Create { .. } => "create",
        Verb::Join => "join",
        Verb::Leave => "leave",
        Verb::Kick { .. } | Verb::Expel { .. } => "kick",
        Verb::Topic { .. } => "topic",
        Verb::Retain { .. } => "retain",
        Verb::Answer { .. } => "answer",
        Verb::Send { .. } => "send",
    }
}

/// Whether a second asking changes nothing. A message is found by its key and a room by its id; one who asked to join and then
/// to leave would be in again by a second asking to join, and what has no key would be there twice.
fn may_be_asked_twice(what: &What) -> bool {
    match what {
        What::Sync { .. } | What::Erase { .. } | What::Trim { .. } => true,
        What::Do { verb, .. } => matches!(verb, Verb::Create { .. } | Verb::Send { key: Some(_), .. }),
    }
}

/// In whose name something is done or looked at, if it is one user's: it keeps its order with what they asked before in that room.
fn whose(what: &What) -> Option<&UserId> {
    match what {
        What::Do { user, .. } => Some(&user.id),
        What::Sync { users, .. } => users.first().filter(|_| users.len() == 1),
        What::Erase { .. } | What::Trim { .. } => None,
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
    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::ids::Millis;
    use hubbub_core::ports::bus::Reply;
    use std::sync::Mutex;

    use super::*;

    fn user() -> User {
        User { id: UserId::parse("ann").unwrap(), name: "Ann".into() }
    }

    fn said(key: Option<&str>) -> Verb {
        let content = hubbub_core::limits::Content::text("hello".into()).unwrap();
        Verb::Send { content, key: key.map(|key| Key::parse(key).unwrap()), after: None }
    }

    /// A holder that dies with the first question; the next one answers.
    async fn asked_of_one_that_dies(verb: Verb) -> (Result<Answer, Failure>, usize) {
        let bus = Arc::new(LocalBus::default());
        let asker = Asker::new(bus.clone(), Partitions::new(1).unwrap(), Duration::from_secs(5), None);
        let held: Arc<Mutex<Vec<Reply>>> = Arc::default();
        let questions = held.clone();
        let serve = move |_, reply: Reply| {
            let mut questions = questions.lock().unwrap();
            let answered = Told::Done(Answer::Kept { seq: Seq(7), at: Some(Millis(1)) });
            match questions.is_empty() {
                true => questions.push(reply),
                false => reply.send(parcel::pack(&answered)),
            }
        };
        let room = RoomId::parse("a").unwrap();
        let _served = bus.serve(Subject::Act(asker.partition(&room)), Arc::new(serve)).await.unwrap();
        let began = Instant::now();
        let answer = asker.act(room, user(), verb, None).await;
        let waited = began.elapsed();
        (answer, waited.as_secs() as usize)
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_died_with_its_holder_is_asked_again_if_that_changes_nothing() {
        let (answer, waited) = asked_of_one_that_dies(said(Some("k"))).await;
        assert_eq!((answer.unwrap(), waited), (Answer::Kept { seq: Seq(7), at: Some(Millis(1)) }, 1));
        let (answer, waited) = asked_of_one_that_dies(said(None)).await;
        assert_eq!((answer.unwrap_err(), waited), (Failure::Unavailable, 5));
    }

    #[test]
    fn a_repeated_create_asks_for_the_same_room() {
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let key = Key::parse("k").unwrap();
        assert_eq!(room_id(&ann, Some(&key)), room_id(&ann, Some(&key)));
        assert_ne!(room_id(&ann, Some(&key)), room_id(&bob, Some(&key)));
        assert_ne!(room_id(&ann, None), room_id(&ann, None));
    }
}

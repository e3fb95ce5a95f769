//! What an answer waits for, and who may not give one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hubbub_core::ids::{Epoch, Millis, Seq};
use hubbub_core::room::{Answer, Refusal};
use hubbub_wire::tier::act::Told;
use hubbub_wire::tier::{event, parcel};
use tokio::sync::Semaphore;

use crate::faults::{Fault, Op};
use crate::log_reader::read_log;
use crate::world::*;
use hubbub_adapters::leases::LocalLeases;
use hubbub_core::ports::bus::{Message, Subject};

/// A world with one room, `lobby`, whose worker's operations of a kind wait at a gate once `shut`.
struct Gated {
    world: World,
    worker: Worker,
    gate: Arc<Semaphore>,
    shut: Arc<AtomicBool>,
    waits: Arc<Semaphore>,
}

impl Gated {
    async fn at(gated: Op) -> Self {
        let world = World::new();
        let (gate, waits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let shut = Arc::new(AtomicBool::new(false));
        let (plan_gate, plan_waits, plan_shut) = (gate.clone(), waits.clone(), shut.clone());
        let store = world.faulty(move |op| {
            if op != gated || !plan_shut.load(Ordering::SeqCst) {
                return Fault::None;
            }
            plan_waits.add_permits(1);
            Fault::Gate(plan_gate.clone())
        });
        let worker = world.worker_on(store);
        world.served().await;
        world.made("lobby", "ann").await;
        Self { world, worker, gate, shut, waits }
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// Until `count` more operations stand at the gate.
    async fn waiting(&self, count: u32) {
        let waits = tokio::time::timeout(DEADLINE, self.waits.acquire_many(count)).await;
        waits.expect("stands at the gate").expect("open").forget();
    }

    fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
        self.gate.add_permits(1_000);
    }
}

/// The answers so far of questions that were sent.
async fn answered<F: Future + Unpin>(answers: &mut [F]) -> usize {
    // What could be answered by now is: the loop has its turns.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut count = 0;
    for answer in answers {
        if futures_util::FutureExt::now_or_never(answer).is_some() {
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn an_answer_waits_for_the_sync_of_what_it_rests_on() {
    let gated = Gated::at(Op::Append).await;
    let (world, lobby) = (&gated.world, room("lobby"));
    let heard = world.listen(&lobby).await;
    gated.shut();
    let ok = world.begin(&lobby, act("ann", say("one", Some("k"), None)));
    gated.waiting(1).await;
    let refused = world.begin(&lobby, act("bob", say("no member", None, None)));
    let sync = world.begin(&lobby, sync(10));
    let mut answers = [Box::pin(ok), Box::pin(refused), Box::pin(sync)];
    assert_eq!(answered(&mut answers).await, 0, "told before it is durable");
    assert!(heard.seqs().is_empty(), "shown before it is durable");
    gated.open();
    let mut told = Vec::new();
    for answer in answers {
        told.push(parcel::header::<Told>(&mut answer.await.expect("an answer")).unwrap());
    }
    assert!(matches!(told[0], Told::Done(Answer::Kept { seq: Seq(2), .. })), "{told:?}");
    assert!(matches!(told[1], Told::Done(Answer::Refused(Refusal::NotMember))), "{told:?}");
    assert!(matches!(&told[2], Told::Synced(synced) if synced.info.head == Seq(2)), "{told:?}");
    assert_eq!(heard.seqs(), [2]);
}

#[tokio::test]
async fn a_repeat_waits_for_its_first() {
    let gated = Gated::at(Op::Append).await;
    let (world, lobby) = (&gated.world, room("lobby"));
    gated.shut();
    let first = world.begin(&lobby, act("ann", say("one", Some("k"), None)));
    gated.waiting(1).await;
    let repeat = world.begin(&lobby, act("ann", say("one", Some("k"), None)));
    let mut answers = [Box::pin(first), Box::pin(repeat)];
    assert_eq!(answered(&mut answers).await, 0, "a false ack");
    gated.open();
    for answer in answers {
        let told: Told = parcel::header(&mut answer.await.expect("an answer")).unwrap();
        assert!(matches!(told, Told::Done(Answer::Kept { seq: Seq(2), .. })), "{told:?}");
    }
    assert_eq!(world.synced(&lobby, 0).await.0.info.head, Seq(2), "and there is one entry");
}

/// The fence is read after the write: what became durable while a fence read was running waits for the next one.
#[tokio::test]
async fn a_fence_read_lets_go_only_what_was_durable_when_it_began() {
    let gated = Gated::at(Op::Fence).await;
    let (world, lobby) = (&gated.world, room("lobby"));
    gated.shut();
    let first = world.begin(&lobby, act("ann", say("one", None, None)));
    gated.waiting(1).await;
    let second = world.begin(&lobby, act("ann", say("two", None, None)));
    let refused = world.begin(&lobby, act("bob", say("no member", None, None)));
    until("the second is in the store", async || {
        let to = world.store.segments(lobby.clone()).await.unwrap();
        let read = hubbub_core::ports::store::Read {
            room: lobby.clone(),
            epoch: to[0].epoch,
            seqs: 3..=3,
            bytes_max: 1,
        };
        !world.store.read(read).await.unwrap().is_empty()
    })
    .await;
    let mut answers = [Box::pin(second), Box::pin(refused)];
    gated.gate.add_permits(1);
    first.await.expect("the first is told");
    gated.waiting(1).await;
    assert_eq!(answered(&mut answers).await, 0, "told by a fence read that began before");
    gated.open();
    for answer in answers {
        answer.await.expect("an answer");
    }
}

#[tokio::test]
async fn a_fenced_holder_is_mute() {
    let gated = Gated::at(Op::Append).await;
    let (world, lobby) = (&gated.world, room("lobby"));
    let heard = world.listen(&lobby).await;
    gated.shut();
    let send = world.begin(&lobby, act("ann", say("one", Some("k"), None)));
    let repeat = world.begin(&lobby, act("ann", say("one", Some("k"), None)));
    let sync = world.begin(&lobby, sync(10));
    gated.waiting(1).await;
    world.store.claim(PARTITION).await.unwrap();
    gated.open();
    for answer in [send, repeat, sync].map(Box::pin) {
        let told: Told = parcel::header(&mut answer.await.expect("told something")).unwrap();
        assert!(matches!(told, Told::Unavailable), "{told:?}");
    }
    assert!(heard.seqs().is_empty(), "published by a fenced holder");
    // It claims anew, finds what was written, and says the same of it ever after.
    assert_eq!(world.kept(&lobby, "ann", say("one", Some("k"), None)).await, 2);
    assert_eq!(heard.seqs(), [2]);
}

#[tokio::test]
async fn a_refusal_is_not_told_by_a_fenced_holder() {
    let world = World::new();
    let old = world.worker();
    world.served().await;
    world.made("lobby", "ann").await;
    let fence = world.store.claim(PARTITION).await.unwrap();
    assert!(fence > Epoch(0));
    let refused = world.ask_once(&room("lobby"), act("bob", say("no member", None, None))).await;
    assert!(matches!(refused, Some(Told::Unavailable)), "{refused:?}");
    old.kill().await;
}

#[tokio::test]
async fn an_acked_join_is_in_the_lists_and_announced_before() {
    let gated = Gated::at(Op::Project).await;
    let (world, lobby) = (&gated.world, room("lobby"));
    let (to, announced) = std::sync::mpsc::channel();
    let listener = Arc::new(move |Message { mut payload, .. }| {
        to.send(parcel::header::<event::Joined>(&mut payload).unwrap()).unwrap();
    });
    let _listening = world.bus.listen(Subject::Memberships, listener).await.unwrap();
    gated.shut();
    let join = world.begin(&lobby, act("bob", hubbub_core::room::Verb::Join));
    gated.waiting(1).await;
    let send = world.begin(&lobby, act("bob", say("hi", None, None)));
    let mut answers = [Box::pin(join), Box::pin(send)];
    assert_eq!(answered(&mut answers).await, 0, "told before the lists show it, or out of order");
    assert!(announced.try_recv().is_err());
    gated.open();
    for (answer, expected) in answers.into_iter().zip([2, 3]) {
        let told: Told = parcel::header(&mut answer.await.expect("an answer")).unwrap();
        assert!(matches!(told, Told::Done(Answer::Kept { seq, .. }) if seq.0 == expected), "{told:?}");
    }
    let joined = announced.try_recv().expect("announced before it was told");
    assert_eq!((joined.user, joined.seq), (user("bob"), Seq(2)));
    let rooms = world.store.rooms_of(user("bob").id, None, 10).await.unwrap();
    assert_eq!(rooms.len(), 1);
    let row = world.store.room(lobby.clone()).await.unwrap().unwrap();
    assert_eq!(row.member_count, 2);
    gated.worker.kill().await;
}

#[tokio::test]
async fn the_head_of_a_busy_room_is_said() {
    let world = World::new();
    let worker = world.worker();
    let (lobby, heads) = (room("lobby"), Arc::new(Mutex::new(Vec::new())));
    let to = heads.clone();
    let listener = Arc::new(move |Message { mut payload, .. }| {
        to.lock().unwrap().extend(parcel::header::<event::Heads>(&mut payload).unwrap().heads);
    });
    let _listening = world.bus.listen(Subject::Heads(PARTITION), listener).await.unwrap();
    world.made("lobby", "ann").await;
    let head = world.kept(&lobby, "ann", say("hi", None, None)).await;
    until("the head is said", async || heads.lock().unwrap().last() == Some(&(lobby.clone(), Seq(head))))
        .await;
    worker.kill().await;
}

#[tokio::test]
async fn an_action_that_comes_too_late_is_not_done() {
    let gated = Gated::at(Op::Segments).await;
    let (world, other) = (&gated.world, room("other"));
    gated.shut();
    let ask =
        hubbub_wire::tier::act::Ask { room: other.clone(), what: act("ann", create("other")), timeout_ms: 1 };
    let late = world.bus.request(&Subject::Act(PARTITION), parcel::pack(&ask).into(), DEADLINE);
    gated.waiting(1).await;
    let asked = tokio::time::Instant::now();
    until("its time is over", async || asked.elapsed().as_millis() > 1).await;
    gated.open();
    let told: Told = parcel::header(&mut late.await.expect("an answer")).unwrap();
    assert!(matches!(told, Told::Unavailable), "{told:?}");
    assert!(world.store.segments(other.clone()).await.unwrap().is_empty());
    let told = world.ask_once(&other, sync(0)).await;
    assert!(matches!(told, Some(Told::NoSuchRoom)), "{told:?}");
}

/// Reading a room leaves no trace, nor does a room that nobody made.
#[tokio::test]
async fn a_read_writes_nothing() {
    let world = World::new();
    let first = world.worker();
    world.served().await;
    world.made("lobby", "ann").await;
    first.shut_down().await;
    let before = world.store.segments(room("lobby")).await.unwrap();
    let second = world.worker();
    let (synced, entries) = world.synced(&room("lobby"), 10).await;
    assert_eq!((synced.info.head, synced.epoch, entries.len()), (Seq(1), before[0].epoch, 0));
    let told = world.ask_once(&room("nobody-made-it"), act("ann", hubbub_core::room::Verb::Join)).await;
    assert!(matches!(told, Some(Told::Done(Answer::Refused(Refusal::NoSuchRoom)))), "{told:?}");
    assert_eq!(world.store.segments(room("lobby")).await.unwrap(), before);
    assert!(world.store.segments(room("nobody-made-it")).await.unwrap().is_empty());
    second.kill().await;
}

#[tokio::test]
async fn many_at_once_are_answered_in_the_order_of_the_log() {
    let world = World::new();
    let worker = world.worker_with(world.store.clone(), Arc::new(LocalLeases::default()), |config| {
        config.clock = clock_at(77);
    });
    world.served().await;
    world.made("lobby", "ann").await;
    let (lobby, heard) = (room("lobby"), world.listen(&room("lobby")).await);
    let sent: Vec<_> =
        (0..3_000).map(|n| world.begin(&lobby, act("ann", say(&n.to_string(), None, None)))).collect();
    for (n, answer) in sent.into_iter().enumerate() {
        let told: Told = parcel::header(&mut answer.await.expect("an answer")).unwrap();
        let Told::Done(Answer::Kept { seq, at }) = told else { panic!("{told:?}") };
        assert_eq!((seq.0, at), (n as u64 + 2, Some(Millis(77))));
    }
    assert_eq!(heard.seqs(), (2..=3_001).collect::<Vec<_>>());
    assert!(heard.batches().len() < 1_000, "they share batches");
    let (synced, newest) = world.synced(&lobby, 5).await;
    assert_eq!(newest.iter().map(|e| e.seq.0).collect::<Vec<_>>(), [2_997, 2_998, 2_999, 3_000, 3_001]);
    let log = read_log(&world.store, &lobby, synced.read_to()).await;
    assert_eq!(log[1..], heard.entries());
    worker.shut_down().await;
    assert_eq!(world.store.room(lobby).await.unwrap().unwrap().mark, Seq(3_001), "marked at shutdown");
}

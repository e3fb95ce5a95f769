//! Reads that need a room's holder, and a holder that is away or slow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, join_all, select, select_all};
use hubbub_core::ids::{Partition, Partitions, RoomId, Seq};
use hubbub_core::ports::bus::{Message, Reply, Subject, Subscription};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Query, Range};
use tokio::time::Instant;

use crate::world::*;

type Kept = Arc<Mutex<Vec<Reply>>>;

/// A holder that keeps what it is asked.
async fn silent(world: &World, partition: Partition) -> Subscription {
    let kept = Kept::default();
    let server = Arc::new(move |_: Message, reply| kept.lock().unwrap().push(reply));
    world.bus.serve(Subject::Act(partition), server).await.unwrap()
}

/// The newest entries of a room, whose end the asker does not know.
fn newest(room: &RoomId) -> Query {
    Query::Replay(replay(room, Range::Before(Seq(i64::MAX as u64)), 50, None))
}

async fn is_unavailable(world: &World, query: &Query) -> bool {
    matches!(world.ask(query).await, Some((Found::Unavailable, _)))
}

/// A room of that partition of two.
fn room_of(partition: Partition) -> RoomId {
    let mut all = (0..).map(|n| room(&format!("room-{n}")));
    all.find(|room| Partitions::new(2).unwrap().of(room) == partition).unwrap()
}

#[tokio::test]
async fn reads_of_a_room_whose_holder_is_away_do_not_keep_other_reads_out() {
    let world = World::with(|config| config.timeout = DEADLINE / 2).await;
    let query = newest(&room("away"));
    let reads = select_all((0..200).map(|_| Box::pin(world.ask(&query))));
    let rooms_of = Query::RoomsOf { user: user("ann").id };
    match select(reads, Box::pin(world.ask(&rooms_of))).await {
        Either::Right((Some((Found::RoomsOf { .. }, _)), _)) => {}
        Either::Right((other, _)) => panic!("{other:?}"),
        Either::Left(((found, ..), _)) => panic!("the list waited until a read was given up: {found:?}"),
    }
}

#[tokio::test]
async fn reads_that_wait_for_one_partition_leave_places_for_those_of_another() {
    let (silent_one, other) = (Partition(1), room_of(PARTITION));
    let world = World::with(|config| {
        config.partitions = Partitions::new(2).unwrap();
        config.queue_max = 9;
        config.timeout = DEADLINE / 2;
    })
    .await;
    world.log(&other, (1..=3).map(|seq| text(&other, seq, "x")).collect()).await;
    let _silent = silent(&world, silent_one).await;
    let (_asked, _holder) = world.holder(read_to(1, 3)).await;
    let query = newest(&room_of(silent_one));
    // Five wait, while as many places are free.
    let mut reads: Vec<_> = (0..6).map(|_| Box::pin(is_unavailable(&world, &query))).collect();
    let began = Instant::now();
    let (unavailable, _, waiting) = select_all(reads.drain(..)).await;
    assert!(unavailable && began.elapsed() < DEADLINE / 4, "it was not told at once that it can't wait");
    let page = world.page(replay(&other, Range::Before(Seq(u64::MAX)), 50, None));
    match select(Box::pin(page), select_all(waiting)).await {
        Either::Left((page, _)) => assert_eq!(page.unwrap().0.len(), 3),
        Either::Right(((unavailable, ..), _)) => panic!("one that waited is answered: {unavailable}"),
    }
}

#[tokio::test]
async fn who_waits_for_a_holder_shares_a_question_that_was_sent_after_they_came() {
    let world = World::with(|config| config.timeout = DEADLINE / 2).await;
    let lobby = room("lobby");
    world.log(&lobby, vec![text(&lobby, 1, "x"), text(&lobby, 2, "y")]).await;
    // A holder that keeps the first question, and answers those after it.
    let (asked, first) = (Arc::new(AtomicUsize::new(0)), Kept::default());
    let (counts, keeps) = (asked.clone(), first.clone());
    let synced = |head| parcel::pack(&synced(&lobby, world.store.log_id(), read_to(1, head)));
    let answer = synced(2);
    let server = Arc::new(move |_: Message, reply: Reply| match counts.fetch_add(1, Ordering::SeqCst) {
        0 => keeps.lock().unwrap().push(reply),
        _ => reply.send(answer.clone()),
    });
    let _holder = world.bus.serve(Subject::Act(PARTITION), server).await.unwrap();
    let read = || world.bus.request(&Subject::Query, parcel::pack(&newest(&lobby)).into(), DEADLINE);
    let early = read();
    let deadline = Instant::now() + DEADLINE;
    while asked.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the holder was not asked");
        tokio::task::yield_now().await;
    }
    let late: Vec<_> = (0..100).map(|_| read()).collect();
    // Reads are taken in their order: all of them wait by the time that this one is answered.
    assert!(world.ask(&Query::RoomsOf { user: user("ann").id }).await.is_some());
    first.lock().unwrap().remove(0).send(synced(1));
    early.await.unwrap();
    for found in join_all(late).await {
        let mut found = found.unwrap();
        let page: Found = parcel::header(&mut found).unwrap();
        assert!(matches!(page, Found::Page { .. }), "{page:?}");
        assert_eq!(parcel::entries(&lobby, found).unwrap().len(), 2, "as of before it was asked for");
    }
    // One that is not answered within a second is sent again.
    let asked = asked.load(Ordering::SeqCst);
    assert!((2..=4).contains(&asked), "{asked} questions");
}

//! What a resume reads: 1,000 entries of one room's log by the service, over the bus of one process, from memory and anew.
//!
//! `cargo bench -p hubbub-history-service --bench replay`

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Epoch, Millis, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::bus::{Bus, Subject};
use hubbub_core::ports::store::{Append, Segment, Store};
use hubbub_history_service::{Config, serve};
use hubbub_wire::tier::act::ReadTo;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Query, Range, Replay};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(10);
const LOG: u64 = 100_000;

async fn fill(store: &EmbeddedStore, room: &RoomId) {
    let user = User { id: UserId::parse("5f0c1d2e").expect("an id"), name: "Ann".into() };
    let content = Content::text("x".repeat(128)).expect("a text");
    let segment = Segment { epoch: Epoch(1), start: Seq(1), prev: None };
    store.put_segment(room.clone(), segment).await.expect("written");
    for from in (1..=LOG).step_by(1_000) {
        let entries = (from..from + 1_000)
            .map(|seq| Entry::new(room, Seq(seq), Millis(seq), &user, None, Says::Message(&content)))
            .collect();
        store.append(Append { room: room.clone(), epoch: Epoch(1), entries }).await.expect("written");
    }
}

async fn resume(bus: &dyn Bus, room: &RoomId, after: u64, entries: u64) {
    let (mut next, end) = (after, after + entries);
    while next < end {
        let replay = Replay {
            room: room.clone(),
            range: Range::After(Seq(next)),
            limit: 200,
            kinds: Vec::new(),
            read_to: Some(ReadTo { epoch: Epoch(1), head: Seq(LOG), erased: Seq(0), first: Seq(0) }),
        };
        let asked = bus.request(&Subject::Query, parcel::pack(&Query::Replay(replay)).into(), DEADLINE);
        let mut payload = asked.await.expect("an answer");
        let found: Found = parcel::header(&mut payload).expect("an answer");
        assert!(matches!(found, Found::Page { .. }));
        let page = parcel::entries(room, payload).expect("entries");
        next = page.last().expect("some").seq.0;
    }
}

fn replay(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let room = RoomId::parse("0195f3c2a7b84d0e9a3b5c7d9e1f2a3b").expect("an id");
    let store = EmbeddedStore::open(folder.path(), Options::default()).expect("opens");
    runtime.block_on(fill(&store, &room));
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::default());
    let config = Config::new(Partitions::new(1).expect("one"));
    let serving = serve(bus.clone(), Arc::new(store), config, CancellationToken::new());
    runtime.spawn(serving);
    runtime.block_on(tokio::task::yield_now());

    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(1_000)).sample_size(30);
    group.bench_function("resume of 1,000 entries, in memory", |bencher| {
        bencher.iter(|| runtime.block_on(resume(&*bus, &room, LOG - 1_000, 1_000)));
    });
    let mut next = 0;
    group.bench_function("resume of 1,000 entries, each time others", |bencher| {
        bencher.iter(|| {
            next = (next + 7_000) % (LOG - 1_000);
            runtime.block_on(resume(&*bus, &room, next, 1_000));
        });
    });
    group.bench_function("a page of 100, in memory", |bencher| {
        bencher.iter(|| runtime.block_on(resume(&*bus, &room, LOG - 100, 100)));
    });
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);

//! A hop over a real nats-server on this machine: a message to a listener and a request to a server, alone and many at once.
//! The time is the clock's, of publisher, server and listener together.
//!
//! `cargo bench -p hubbub-adapters --bench nats_hop`

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use hubbub_adapters::bus::{NatsBus, NatsOptions};
use hubbub_core::ids::Partition;
use hubbub_core::ports::bus::{Bus, Message, Reply, Subject};
use hubbub_testkit::Nats;
use tokio::sync::mpsc;

const TIMEOUT: Duration = Duration::from_secs(10);
/// As a batch of one message is.
const PAYLOAD: &[u8] = &[b'x'; 400];

fn hop(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (nats, bus) = runtime.block_on(async {
        let nats = Nats::start().await.expect("a nats-server");
        let options = NatsOptions {
            servers: vec![nats.url()],
            user: None,
            tls: None,
            prefix: "bench".into(),
            lease_replicas: 1,
            name: "bench".into(),
        };
        let bus = NatsBus::connect(&options).await.expect("a connection");
        (nats, bus)
    });
    let (heard, mut hears) = mpsc::unbounded_channel();
    let (events, asks) = (Subject::Heads(Partition(0)), Subject::Act(Partition(0)));
    let listener = Arc::new(move |message: Message| _ = heard.send(message));
    let server = Arc::new(|_: Message, reply: Reply| reply.send(Bytes::from_static(PAYLOAD)));
    let _listening = runtime.block_on(bus.listen(events.clone(), listener)).expect("listens");
    let _serving = runtime.block_on(bus.serve(asks.clone(), server)).expect("serves");
    let message = || Message::from(Bytes::from_static(PAYLOAD));

    let mut group = criterion.benchmark_group("nats hop");
    for burst in [1_u64, 20, 200] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(format!("{burst} messages, published at once"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    for _ in 0..burst {
                        bus.publish(&events, message()).expect("published");
                    }
                    for _ in 0..burst {
                        hears.recv().await.expect("heard");
                    }
                });
            });
        });
        group.bench_function(format!("{burst} requests in flight"), |bencher| {
            bencher.iter(|| {
                let all = join_all((0..burst).map(|_| bus.request(&asks, message(), TIMEOUT)));
                assert!(runtime.block_on(all).iter().all(Result::is_ok));
            });
        });
    }
    group.finish();
    drop(nats);
}

criterion_group!(benches, hop);
criterion_main!(benches);

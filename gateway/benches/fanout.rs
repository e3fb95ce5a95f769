//! What a turn of a room costs before the kernel has it: frames made once, and each member's share of them.
//!
//! `cargo bench -p hubbub-gateway --bench fanout`; a delivery's write is not in it: that is the kernel's, and 20 times as much.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Millis, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_gateway::dialect::Dialect;
use hubbub_gateway::fanout::Turn;

fn fan_out(criterion: &mut Criterion) {
    let room = RoomId::parse("0195f3c2a7b84d0e9a3b5c7d9e1f2a3b").expect("an id");
    let user = User { id: UserId::parse("5f0c1d2e").expect("an id"), name: "Ann".into() };
    let content = Content::text("x".repeat(128)).expect("a text");
    let entry = Entry::new(&room, Seq(7), Millis(1_700_000_000_000), &user, None, Says::Message(&content));
    let mut group = criterion.benchmark_group("fanout");
    for dialect in [Dialect::Native, Dialect::SocketIo] {
        for members in [10_u32, 1_000, 10_000] {
            group.throughput(Throughput::Elements(members.into()));
            group.bench_function(format!("{dialect:?}, {members} members"), |bencher| {
                let turn = || {
                    let mut turn = Turn::default();
                    turn.push(entry.clone());
                    turn
                };
                bencher.iter_batched(
                    turn,
                    |turn| {
                        let mut encoded = turn.encode(room.clone(), |_| None);
                        for slot in 0..members {
                            black_box(encoded.share(slot, slot + 1, dialect, true));
                        }
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);

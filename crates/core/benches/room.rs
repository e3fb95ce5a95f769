//! One step of a room's state machine, and what an entry costs on its way to the store and back.
//!
//! `cargo bench -p hubbub-core --bench room`; what is measured is a module's own code, warm: in a server it is several times that.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Key, Millis, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::room::{Action, Room, Verb};

fn user(n: u32) -> User {
    User { id: UserId::parse(&format!("user-{n}")).expect("an id"), name: "Ann".into() }
}

fn id() -> RoomId {
    RoomId::parse("0195f3c2a7b84d0e9a3b5c7d9e1f2a3b").expect("an id")
}

fn content() -> Content {
    Content::text("x".repeat(128)).expect("a text")
}

fn send(n: u64) -> Verb {
    let key = Key::parse(&format!("{n:032x}")).expect("a key");
    Verb::Send { content: content(), key: Some(key), after: Some(Seq(1)) }
}

/// A room with so many members, and 1,000 messages whose keys it knows.
fn room(members: u32) -> Room {
    let mut room = Room::new(id(), usize::MAX);
    let create = Verb::Create { name: "lobby".into(), topic: "".into() };
    room.decide(Action { user: &user(0), at: Millis(0), verb: &create });
    for n in 1..members {
        room.decide(Action { user: &user(n), at: Millis(0), verb: &Verb::Join });
    }
    for n in 0..1_000 {
        room.decide(Action { user: &user(0), at: Millis(n), verb: &send(n) });
    }
    room
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("room");
    for members in [10, 10_000] {
        let mut room = room(members);
        let mut next = 1_000;
        group.bench_function(format!("decide a new message, {members} members"), |bencher| {
            bencher.iter_batched(
                || {
                    next += 1;
                    (user(0), send(next))
                },
                |(user, verb)| room.decide(Action { user: &user, at: Millis(1_000), verb: &verb }),
                BatchSize::SmallInput,
            );
        });
    }
    let mut room = room(10);
    let (user, again) = (user(0), send(500));
    group.bench_function("decide a repeat", |bencher| {
        bencher.iter(|| room.decide(Action { user: &user, at: Millis(1_000), verb: black_box(&again) }));
    });
    group.finish();
}

fn entry(criterion: &mut Criterion) {
    let (room, ann, content) = (id(), user(0), content());
    let made = || Entry::new(&room, Seq(7), Millis(1_700_000_000_000), &ann, None, Says::Message(&content));
    let stored = made().encode(&room);
    let mut group = criterion.benchmark_group("entry");
    group.bench_function("new", |bencher| bencher.iter(made));
    let entry = made();
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&entry).encode(&room)));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Entry::decode(&room, Seq(7), black_box(&stored).clone()));
    });
    group.finish();
}

criterion_group!(benches, decide, entry);
criterion_main!(benches);

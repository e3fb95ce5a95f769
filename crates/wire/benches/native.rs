//! From the bytes of a read to a request, and what tiers say to each other.
//!
//! `cargo bench -p hubbub-wire --bench native`; what is measured is a module's own code, warm: in a server it is several times that.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hubbub_core::ids::{Key, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::bus::Payload;
use hubbub_core::room::Verb;
use hubbub_wire::native::request;
use hubbub_wire::tier::act::{Ask, What};
use hubbub_wire::tier::parcel;
use hubbub_wire::ws::{Decoder, Event, Limits};

const LIMITS: Limits = Limits { frame_bytes_max: 512 * 1024, message_bytes_max: 512 * 1024 };

fn send(text: &str) -> String {
    format!(
        r#"{{"type":"send","ref":12,"room":"0195f3c2a7b84d0e9a3b5c7d9e1f2a3b","text":"{text}","key":"3f1d9b0c5e7a48d2a6c4e1f08b927d35","after":41}}"#
    )
}

/// A client's frame, with a mask.
fn frame(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match text.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ws decode");
    let one = frame(&send(&"x".repeat(128)));
    for frames in [1, 16] {
        let read = one.repeat(frames);
        group.throughput(Throughput::Bytes(read.len() as u64));
        group.bench_function(format!("{frames} frames of {} bytes in a read", one.len()), |bencher| {
            bencher.iter_batched_ref(
                || read.clone(),
                |read| {
                    Decoder::new().feed(LIMITS, read, |event| {
                        assert!(matches!(black_box(event), Event::Text(_)));
                        ControlFlow::Continue(())
                    })
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("native request");
    let typing = r#"{"type":"typing","room":"0195f3c2a7b84d0e9a3b5c7d9e1f2a3b","on":true}"#.to_owned();
    for (name, text) in [
        ("send of 128 characters", send(&"x".repeat(128))),
        ("send of 128 characters with escapes", send(&r#"\"\n"#.repeat(64))),
        ("typing", typing),
    ] {
        assert!(request::parse(&text).request.is_ok(), "{text}");
        group.bench_function(name, |bencher| bencher.iter(|| request::parse(black_box(&text))));
    }
    group.finish();
}

fn between_tiers(criterion: &mut Criterion) {
    let user = User { id: UserId::parse("5f0c1d2e").expect("an id"), name: "Ann".into() };
    let content = Content::text("x".repeat(128)).expect("a text");
    let key = Key::parse("3f1d9b0c5e7a48d2a6c4e1f08b927d35").ok();
    let what = What::Do { user, verb: Verb::Send { content, key, after: Some(Seq(41)) } };
    let room = RoomId::parse("0195f3c2a7b84d0e9a3b5c7d9e1f2a3b").expect("an id");
    let ask = Ask { room, what, timeout_ms: 5_000 };
    let packed = Payload::from(parcel::pack(&ask));
    let mut group = criterion.benchmark_group("parcel");
    group.bench_function("pack an ask", |bencher| bencher.iter(|| parcel::pack(black_box(&ask))));
    group.bench_function("read an ask", |bencher| {
        bencher.iter(|| parcel::header::<Ask>(&mut black_box(&packed).clone()));
    });
    group.finish();
}

criterion_group!(benches, decode, parse, between_tiers);
criterion_main!(benches);

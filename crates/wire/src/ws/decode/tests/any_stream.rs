//! Any conversation, cut and read in any way; and any bytes at all.

use std::ops::ControlFlow::{self, Break, Continue};

use proptest::prelude::*;

use super::*;

/// What a client says, and the frames that say it.
#[derive(Debug, Clone)]
struct Said {
    events: Vec<Got>,
    stream: Vec<u8>,
}

fn control() -> impl Strategy<Value = Got> {
    let payload = proptest::collection::vec(any::<u8>(), 0..=125);
    (any::<bool>(), payload)
        .prop_map(|(ping, payload)| if ping { Got::Ping(payload) } else { Got::Pong(payload) })
}

fn message() -> impl Strategy<Value = Got> {
    prop_oneof![
        proptest::collection::vec(any::<char>(), 0..200)
            .prop_map(|chars| Got::Text(chars.into_iter().collect())),
        proptest::collection::vec(any::<u8>(), 0..900).prop_map(Got::Binary),
    ]
}

/// A message in one or more frames, control frames between them.
fn said() -> impl Strategy<Value = Said> {
    let cuts =
        proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(control())), 0..4);
    let alone = (control(), any::<[u8; 4]>()).prop_map(|(event, mask)| {
        let stream = control_frame(&event, mask);
        Said { events: vec![event], stream }
    });
    let fragmented = (message(), cuts, any::<[u8; 4]>()).prop_map(|(event, cuts, mask)| {
        let (mut opcode, payload) = match &event {
            Got::Text(text) => (1, text.as_bytes().to_vec()),
            Got::Binary(bytes) => (2, bytes.clone()),
            _ => unreachable!("only messages are fragmented"),
        };
        let mut at: Vec<_> = cuts.into_iter().map(|(cut, c)| (cut.index(payload.len() + 1), c)).collect();
        at.sort_by_key(|(cut, _)| *cut);
        let (mut said, mut from) = (Said { events: vec![], stream: vec![] }, 0);
        for (cut, control) in at {
            said.stream.extend(frame(opcode, mask, &payload[from..cut]));
            (opcode, from) = (0, cut);
            if let Some(control) = control {
                said.stream.extend(control_frame(&control, mask));
                said.events.push(control);
            }
        }
        said.stream.extend(frame(0x80 | opcode, mask, &payload[from..]));
        said.events.push(event);
        said
    });
    prop_oneof![alone, fragmented]
}

fn control_frame(event: &Got, mask: [u8; 4]) -> Vec<u8> {
    match event {
        Got::Ping(payload) => frame(0x89, mask, payload),
        Got::Pong(payload) => frame(0x8A, mask, payload),
        _ => unreachable!("only pings and pongs come between"),
    }
}

fn cut<'a>(stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = stream;
    let mut reads = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (read, later) = rest.split_at((*size).min(rest.len()));
        reads.push(read);
        rest = later;
    }
    reads
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_and_read_it_says_the_same(
        conversation in proptest::collection::vec(said(), 1..6),
        sizes in proptest::collection::vec(1_usize..300, 1..8),
        stops in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let stream: Vec<u8> = conversation.iter().flat_map(|said| said.stream.clone()).collect();
        let expected: Vec<Got> = conversation.into_iter().flat_map(|said| said.events).collect();
        prop_assert_eq!(decode(&stream), (expected.clone(), Ok(())));

        let mut decoder = Decoder::new();
        let mut got = Vec::new();
        let mut stops = stops.iter().cycle();
        for read in cut(&stream, &sizes) {
            let mut read = read.to_vec();
            loop {
                let flow: ControlFlow<()> = decoder.feed(LIMITS, &mut read, |event| {
                    got.push(Got::from(event));
                    if *stops.next().unwrap() { Break(()) } else { Continue(()) }
                }).unwrap();
                if flow.is_continue() {
                    break;
                }
                read.clear();
            }
            let reserved_max = LIMITS.message_bytes_max + 2 * 131 + size_of::<State>();
            prop_assert!(decoder.reserved_bytes() <= reserved_max, "{}", decoder.reserved_bytes());
        }
        prop_assert_eq!(got, expected);
        prop_assert!(decoder.is_at_rest());
    }

    /// Bytes that look like frames often enough to get far.
    #[test]
    fn no_bytes_make_it_panic_or_hoard(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(0x01), Just(0x00), Just(0x80), Just(0x82), Just(0xFE), Just(0x90)],
            0..2_000,
        ),
        sizes in proptest::collection::vec(1_usize..64, 1..8),
    ) {
        let mut decoder = Decoder::new();
        for read in cut(&bytes, &sizes) {
            let (_, end) = decode_in_reads(&mut decoder, LIMITS, [read]);
            let reserved_max = LIMITS.message_bytes_max + 2 * 131 + size_of::<State>();
            prop_assert!(decoder.reserved_bytes() <= reserved_max, "{}", decoder.reserved_bytes());
            if end.is_err() {
                break;
            }
        }
    }
}

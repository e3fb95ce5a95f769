mod any_stream;

use std::ops::ControlFlow::{Break, Continue};

use super::*;

const LIMITS: Limits = Limits { frame_bytes_max: 1_000, message_bytes_max: 2_000 };

/// An event that owns what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Ping(bytes) => Self::Ping(bytes.into()),
            Event::Pong(bytes) => Self::Pong(bytes.into()),
            Event::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.into()))),
        }
    }
}

/// A client's frame, masked.
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        middle @ ..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

fn text(payload: &[u8]) -> Vec<u8> {
    frame(0x81, [0x37, 0xFA, 0x21, 0x3D], payload)
}

/// Feeds the stream whole.
fn decode(stream: &[u8]) -> (Vec<Got>, Result<(), Violation>) {
    decode_in_reads(&mut Decoder::new(), LIMITS, [stream])
}

fn decode_in_reads<'a>(
    decoder: &mut Decoder,
    limits: Limits,
    reads: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Got>, Result<(), Violation>) {
    let mut got = Vec::new();
    for read in reads {
        let fed = decoder.feed(limits, &mut read.to_vec(), |event| {
            got.push(Got::from(event));
            Continue(())
        });
        if let Err(violation) = fed {
            return (got, Err(violation));
        }
    }
    (got, Ok(()))
}

#[test]
fn a_decoder_at_rest_is_one_pointer() {
    println!("Decoder {} bytes, its state {} bytes", size_of::<Decoder>(), size_of::<State>());
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    assert!(size_of::<State>() <= 96, "{}", size_of::<State>());
    let mut decoder = Decoder::new();
    let stream =
        [text(b"a"), frame(0x01, [1; 4], b"b"), frame(0x80, [2; 4], b"c"), frame(0x89, [3; 4], b"d")];
    for part in stream.concat().chunks(1) {
        decode_in_reads(&mut decoder, LIMITS, [part]).1.unwrap();
    }
    assert!(decoder.is_at_rest());
    assert_eq!(decoder.reserved_bytes(), 0);
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 6455, 5.7: masked "Hello", then a masked pong of it.
    let hello = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    assert_eq!(decode(&hello), (vec![Got::Text("Hello".into())], Ok(())));
    let pong = [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    assert_eq!(decode(&pong), (vec![Got::Pong(b"Hello".into())], Ok(())));
}

#[test]
fn a_whole_frame_is_handed_out_from_the_read_buffer() {
    let mut read = [text(b"first"), text(b"second")].concat();
    let range = read.as_ptr_range();
    let mut in_place = 0;
    let fed = Decoder::new().feed(LIMITS, &mut read, |event| {
        if let Event::Text(text) = event {
            in_place += usize::from(range.contains(&text.as_ptr()));
        }
        Continue(())
    });
    assert_eq!((fed, in_place), (Ok(Continue(())), 2));
}

#[test]
fn what_came_before_a_violation_is_handed_out_and_nothing_after() {
    let mut decoder = Decoder::new();
    let stream = [text(b"good"), vec![0x83, 0x80, 0, 0, 0, 0], text(b"late")].concat();
    let (got, end) = decode_in_reads(&mut decoder, LIMITS, [&stream[..]]);
    assert_eq!((got, end), (vec![Got::Text("good".into())], Err(Violation::ReservedOpcode(3))));
    assert_eq!(decode_in_reads(&mut decoder, LIMITS, [&text(b"later")[..]]), (vec![], Ok(())));
}

#[test]
fn nothing_counts_after_a_close() {
    let mut decoder = Decoder::new();
    let close = frame(0x88, [9; 4], b"\x03\xE8bye");
    let stream = [frame(0x01, [1; 4], b"begun"), close.clone(), text(b"late")].concat();
    let expected = vec![Got::Close(Some((1000, "bye".into())))];
    assert_eq!(decode_in_reads(&mut decoder, LIMITS, [&stream[..], &close]), (expected, Ok(())));
}

#[test]
fn closes_are_checked() {
    type Case = (&'static [u8], Result<Option<u16>, Violation>);
    let cases: [Case; 12] = [
        (b"", Ok(None)),
        (b"\x03", Err(Violation::CloseTooShort)),
        (b"\x03\xE8", Ok(Some(1000))),
        (b"\x03\xE7", Err(Violation::CloseCode(999))),
        (b"\x03\xEC", Err(Violation::CloseCode(1004))),
        (b"\x03\xED", Err(Violation::CloseCode(1005))),
        (b"\x03\xEE", Err(Violation::CloseCode(1006))),
        (b"\x03\xF6", Ok(Some(1014))),
        (b"\x03\xF7", Err(Violation::CloseCode(1015))),
        (b"\x13\x87", Ok(Some(4999))),
        (b"\x13\x88", Err(Violation::CloseCode(5000))),
        (b"\x03\xE8\xFF", Err(Violation::NotUtf8)),
    ];
    for (payload, expected) in cases {
        let (got, end) = decode(&frame(0x88, [5, 6, 7, 8], payload));
        match expected {
            Ok(code) => assert_eq!(got, [Got::Close(code.map(|code| (code, String::new())))], "{payload:x?}"),
            Err(violation) => assert_eq!((got, end), (vec![], Err(violation)), "{payload:x?}"),
        }
    }
}

#[test]
fn a_limit_is_checked_on_the_header() {
    let big_frame = &text(&[b'a'; 1_001])[..8];
    assert_eq!(decode(big_frame).1, Err(Violation::FrameTooBig(1_000)));
    let message = [
        frame(0x02, [1; 4], &[0; 1_000]),
        frame(0x00, [1; 4], &[0; 999]),
        frame(0x80, [1; 4], &[0; 2])[..6].to_vec(),
    ];
    assert_eq!(decode(&message.concat()).1, Err(Violation::MessageTooBig(2_000)));
    let fits = [frame(0x02, [1; 4], &[0; 1_000]), frame(0x80, [1; 4], &[0; 1_000])];
    assert_eq!(decode(&fits.concat()), (vec![Got::Binary(vec![0; 2_000])], Ok(())));
    let claim = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    assert_eq!(decode(&claim).1, Err(Violation::FrameTooBig(1_000)));
}

#[test]
fn a_header_alone_reserves_no_room() {
    let limits = Limits { frame_bytes_max: 1 << 30, message_bytes_max: 1 << 30 };
    let mut decoder = Decoder::new();
    let claim = [0x82, 0xFF, 0, 0, 0, 0, 0x3F, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5];
    assert_eq!(decode_in_reads(&mut decoder, limits, [&claim[..]]), (vec![], Ok(())));
    assert!((1..256).contains(&decoder.reserved_bytes()), "{}", decoder.reserved_bytes());
}

#[test]
fn bad_text_is_refused_at_the_byte_that_makes_it_bad() {
    // κόσμε, then the first two bytes of a code point beyond U+10FFFF.
    let bad = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited";
    for unfragmented in [true, false] {
        let mut decoder = Decoder::new();
        let stream = match unfragmented {
            true => text(bad),
            false => {
                bad.iter().enumerate().flat_map(|(i, b)| frame(u8::from(i == 0), [7; 4], &[*b])).collect()
            }
        };
        let bytes_until_bad = if unfragmented { 6 + 13 } else { 7 * 13 };
        let (good, rest) = stream.split_at(bytes_until_bad - 1);
        assert_eq!(decode_in_reads(&mut decoder, LIMITS, good.chunks(1)), (vec![], Ok(())));
        assert_eq!(decode_in_reads(&mut decoder, LIMITS, [&rest[..1]]).1, Err(Violation::NotUtf8));
    }
}

#[test]
fn a_text_may_not_end_within_a_character() {
    let stream = [frame(0x01, [1; 4], "ü".as_bytes()), frame(0x80, [2; 4], b"\xC3")].concat();
    assert_eq!(decode(&stream), (vec![], Err(Violation::NotUtf8)));
    let whole = [frame(0x01, [1; 4], b"\xC3"), frame(0x80, [2; 4], b"\xBC")].concat();
    assert_eq!(decode(&whole), (vec![Got::Text("ü".into())], Ok(())));
}

#[test]
fn a_caller_that_stops_goes_on_at_the_next_frame() {
    let stream =
        [text(b"1"), frame(0x01, [4; 4], b"2"), frame(0x89, [5; 4], b"3"), frame(0x80, [6; 4], b"4")];
    let (now, later) = (stream.concat(), text(b"5"));
    let mut decoder = Decoder::new();
    let mut got = Vec::new();
    let mut stop_at_each = |event: Event<'_>| {
        got.push(Got::from(event));
        Break(())
    };
    assert_eq!(decoder.feed(LIMITS, &mut now.clone(), &mut stop_at_each), Ok(Break(())));
    assert_eq!(decoder.feed(LIMITS, &mut [], &mut stop_at_each), Ok(Break(())));
    assert_eq!(decoder.feed(LIMITS, &mut later.clone(), &mut stop_at_each), Ok(Break(())));
    assert_eq!(decoder.feed(LIMITS, &mut [], &mut stop_at_each), Ok(Break(())));
    assert_eq!(decoder.feed(LIMITS, &mut [], &mut stop_at_each), Ok(Continue(())));
    assert!(decoder.is_at_rest());
    let all = [Got::Text("1".into()), Got::Ping(b"3".into()), Got::Text("24".into()), Got::Text("5".into())];
    assert_eq!(got, all);
}

#[test]
fn a_header_that_was_cut_off_costs_no_copy_of_what_follows() {
    let stream = [text(b"first"), text(b"second")].concat();
    let (mut one, mut two) = (stream[..3].to_vec(), stream[3..].to_vec());
    let mut decoder = Decoder::new();
    let range = two.as_ptr_range();
    let mut in_place = Vec::new();
    let mut on = |event: Event<'_>| {
        if let Event::Text(text) = event {
            in_place.push(range.contains(&text.as_ptr()));
        }
        Continue(())
    };
    assert_eq!(decoder.feed(LIMITS, &mut one, &mut on), Ok(Continue(())));
    assert_eq!(decoder.feed(LIMITS, &mut two, &mut on), Ok(Continue(())));
    assert_eq!(in_place, [false, true]);
}

#[test]
fn what_waits_for_a_caller_that_stopped_gives_its_room_back() {
    let mut decoder = Decoder::new();
    let one = text(b"0123456789");
    let mut read = one.repeat(100);
    for taken in 1..=100 {
        assert_eq!(decoder.feed(LIMITS, &mut read, |_| Break(())), Ok(Break(())), "{taken}");
        read.clear();
        let waiting = (100 - taken) * one.len();
        assert!(decoder.reserved_bytes() <= size_of::<State>() + 2 * waiting + 1, "{taken} were taken");
    }
    assert!(decoder.is_at_rest());
}

#[test]
fn a_message_that_comes_byte_by_byte_is_seldom_moved() {
    let mut decoder = Decoder::new();
    let mut rooms = std::collections::BTreeSet::new();
    for byte in frame(0x82, [1; 4], &[0; 1_000])[..1_000].chunks(1) {
        decode_in_reads(&mut decoder, LIMITS, [byte]).1.unwrap();
        rooms.insert(decoder.reserved_bytes());
    }
    assert!(rooms.len() < 20, "{rooms:?}");
}

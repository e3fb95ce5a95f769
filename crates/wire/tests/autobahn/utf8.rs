//! Section 6: text is UTF-8, and what is not is refused at the byte that shows it.

use super::case::{CONTINUATION, Case, End, TEXT, frame, part, run};

const FAILED: End = End::Failed(1007);
const KOSME: &[u8] = "κ\u{1F79}σμε".as_bytes();

/// A frame a byte.
fn byte_wise(payload: &[u8]) -> Vec<Vec<u8>> {
    let last = payload.len() - 1;
    let frames = payload.iter().enumerate().map(|(i, byte)| {
        let opcode = if i == 0 { TEXT } else { CONTINUATION };
        if i == last { frame(opcode, &[*byte]) } else { part(opcode, &[*byte]) }
    });
    frames.collect()
}

#[tokio::test]
async fn sections_6_1_to_6_3_fragments() {
    let hello = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
    let (first, second) = hello.split_at("Hello-µ@ßöä".len());
    let surrogate = [KOSME, b"\xED\xA0\x80edited"].concat();
    let none = [part(TEXT, b""), part(CONTINUATION, b""), frame(CONTINUATION, b"")];
    let middle = [part(TEXT, b""), part(CONTINUATION, b"middle frame payload"), frame(CONTINUATION, b"")];
    run(vec![
        Case::new("6.1.1", &[frame(TEXT, b"")], &[(TEXT, b"")], End::Clean),
        Case::new("6.1.2", &none, &[(TEXT, b"")], End::Clean),
        Case::new("6.1.3", &middle, &[(TEXT, b"middle frame payload")], End::Clean),
        Case::new("6.2.1", &[frame(TEXT, hello)], &[(TEXT, hello)], End::Clean),
        Case::new("6.2.2", &[part(TEXT, first), frame(CONTINUATION, second)], &[(TEXT, hello)], End::Clean),
        Case::new("6.2.3", &byte_wise(hello), &[(TEXT, hello)], End::Clean),
        Case::new("6.2.4", &byte_wise(KOSME), &[(TEXT, KOSME)], End::Clean),
        Case::new("6.3.1", &[frame(TEXT, &surrogate)], &[], FAILED),
        Case::new("6.3.2", &byte_wise(&surrogate), &[], FAILED),
    ])
    .await;
}

/// The suite waits between the parts; here the parts after the bad one are never written, so that nothing but
/// failing fast can end the connection.
#[tokio::test]
async fn section_6_4_fails_fast() {
    let too_high = b"\xF4\x90\x80\x80";
    let whole = frame(TEXT, &[KOSME, too_high, b"edited"].concat());
    let upto = |payload_bytes: usize| whole[..6 + payload_bytes].to_vec();
    let (start, bad) = (KOSME.len() + 1, KOSME.len() + 2);
    run(vec![
        Case::new("6.4.1", &[part(TEXT, KOSME), part(CONTINUATION, too_high)], &[], FAILED),
        Case::new(
            "6.4.2",
            &[part(TEXT, &[KOSME, b"\xF4"].concat()), part(CONTINUATION, b"\x90")],
            &[],
            FAILED,
        ),
        Case::new("6.4.3", &[upto(KOSME.len() + 4)], &[], FAILED),
        Case::new("6.4.4", &[], &[], FAILED).in_writes(&[upto(start), upto(bad)[6 + start..].to_vec()]),
    ])
    .await;
}

/// Sections 6.5 to 6.23 with the suite's own sequences: whether each is UTF-8 is written down, not computed.
#[tokio::test]
async fn sections_6_5_to_6_23_sequences() {
    let mut cases = Vec::new();
    let mut section = |number: u8, sequences: &[(bool, &[u8])]| {
        for (i, (valid, payload)) in sequences.iter().enumerate() {
            let number = format!("6.{number}.{}", i + 1);
            let frames = [frame(TEXT, payload)];
            cases.push(match valid {
                true => Case::new(number, &frames, &[(TEXT, payload)], End::Clean),
                false => Case::new(number, &frames, &[], FAILED),
            });
        }
    };
    let all = |valid: bool, payloads: &[&'static [u8]]| -> Vec<(bool, &'static [u8])> {
        payloads.iter().map(|payload| (valid, *payload)).collect()
    };
    let dollar_to_han: [&[u8]; 5] = [
        b"hello$world",
        b"hello\xC2\xA2world",
        b"hello\xE2\x82\xACworld",
        b"hello\xF0\xA4\xAD\xA2world",
        KOSME,
    ];
    section(5, &all(true, &dollar_to_han));
    let prefix_is_whole = [2, 5, 7, 9, 11];
    let prefixes: Vec<_> = (1..=KOSME.len()).map(|n| (prefix_is_whole.contains(&n), &KOSME[..n])).collect();
    section(6, &prefixes);
    section(7, &all(true, &[b"\x00", b"\xC2\x80", b"\xE0\xA0\x80", b"\xF0\x90\x80\x80"]));
    section(8, &all(false, &[b"\xF8\x88\x80\x80\x80", b"\xFC\x84\x80\x80\x80\x80"]));
    section(9, &all(true, &[b"\x7F", b"\xDF\xBF", b"\xEF\xBF\xBF", b"\xF4\x8F\xBF\xBF"]));
    section(10, &all(false, &[b"\xF7\xBF\xBF\xBF", b"\xFB\xBF\xBF\xBF\xBF", b"\xFD\xBF\xBF\xBF\xBF\xBF"]));
    let mut boundaries = all(true, &[b"\xED\x9F\xBF", b"\xEE\x80\x80", b"\xEF\xBF\xBD", b"\xF4\x8F\xBF\xBF"]);
    boundaries.push((false, b"\xF4\x90\x80\x80"));
    section(11, &boundaries);
    let continuations: Vec<u8> = (0x80..0xBF).collect();
    let mut unexpected: Vec<Vec<u8>> = vec![vec![0x80], vec![0xBF]];
    unexpected.extend((2..=6).map(|n| b"\x80\xBF\x80\xBF\x80\xBF"[..n].to_vec()));
    unexpected.push(continuations);
    section(12, &unexpected.iter().map(|bytes| (false, &bytes[..])).collect::<Vec<_>>());
    let starts = [0xC0..0xDF, 0xE0..0xEF, 0xF0..0xF7, 0xF8..0xFB, 0xFC..0xFD];
    let lonely: Vec<Vec<u8>> =
        starts.into_iter().map(|range| range.flat_map(|b| [b, b' ']).collect()).collect();
    section(13, &lonely.iter().map(|bytes| (false, &bytes[..])).collect::<Vec<_>>());
    let unfinished: [&[u8]; 10] = [
        b"\xC0",
        b"\xE0\x80",
        b"\xF0\x80\x80",
        b"\xF8\x80\x80\x80",
        b"\xFC\x80\x80\x80\x80",
        b"\xDF",
        b"\xEF\xBF",
        b"\xF7\xBF\xBF",
        b"\xFB\xBF\xBF\xBF",
        b"\xFD\xBF\xBF\xBF\xBF",
    ];
    section(14, &all(false, &unfinished));
    section(15, &[(false, &unfinished.concat())]);
    section(16, &all(false, &[b"\xFE", b"\xFF", b"\xFE\xFE\xFF\xFF"]));
    let long_slash: [&[u8]; 5] = [
        b"\xC0\xAF",
        b"\xE0\x80\xAF",
        b"\xF0\x80\x80\xAF",
        b"\xF8\x80\x80\x80\xAF",
        b"\xFC\x80\x80\x80\x80\xAF",
    ];
    section(17, &all(false, &long_slash));
    let longest: [&[u8]; 5] = [
        b"\xC1\xBF",
        b"\xE0\x9F\xBF",
        b"\xF0\x8F\xBF\xBF",
        b"\xF8\x87\xBF\xBF\xBF",
        b"\xFC\x83\xBF\xBF\xBF\xBF",
    ];
    section(18, &all(false, &longest));
    let long_nul: [&[u8]; 5] = [
        b"\xC0\x80",
        b"\xE0\x80\x80",
        b"\xF0\x80\x80\x80",
        b"\xF8\x80\x80\x80\x80",
        b"\xFC\x80\x80\x80\x80\x80",
    ];
    section(19, &all(false, &long_nul));
    let surrogates: [&[u8]; 7] = [
        b"\xED\xA0\x80",
        b"\xED\xAD\xBF",
        b"\xED\xAE\x80",
        b"\xED\xAF\xBF",
        b"\xED\xB0\x80",
        b"\xED\xBE\x80",
        b"\xED\xBF\xBF",
    ];
    section(20, &all(false, &surrogates));
    let mut pairs = Vec::new();
    for high in [b"\xED\xA0\x80", b"\xED\xAD\xBF", b"\xED\xAE\x80", b"\xED\xAF\xBF"] {
        for low in [b"\xED\xB0\x80", b"\xED\xBF\xBF"] {
            pairs.push([&high[..], low].concat());
        }
    }
    section(21, &pairs.iter().map(|bytes| (false, &bytes[..])).collect::<Vec<_>>());
    // The two last code points of each plane: no characters, yet UTF-8.
    let mut planes: Vec<String> = Vec::new();
    for plane in 0..=16_u32 {
        planes.extend([0xFFFE, 0xFFFF].map(|low| char::from_u32(plane << 16 | low).unwrap().to_string()));
    }
    section(22, &planes.iter().map(|text| (true, text.as_bytes())).collect::<Vec<_>>());
    let specials: Vec<String> = ('\u{FFF9}'..='\u{FFFF}').map(String::from).collect();
    section(23, &specials.iter().map(|text| (true, text.as_bytes())).collect::<Vec<_>>());
    run(cases).await;
}

//! Section 7: closing.

use super::case::{CLOSE, CONTINUATION, Case, End, PING, TEXT, close, frame, part, run};

const FAILED: End = End::Failed(1002);

fn echoed(code: u16, reason: &[u8]) -> End {
    End::Echoed([&code.to_be_bytes(), reason].concat())
}

#[tokio::test]
async fn section_7_1_order() {
    let bye = || close(1000, b"");
    let (hello, long) = (frame(TEXT, b"Hello World!"), b"BAsd7&jh23".repeat(26_215));
    let long_first = [frame(TEXT, &long), hello.clone(), bye(), frame(PING, b"")];
    run(vec![
        Case::new("7.1.1", std::slice::from_ref(&hello), &[(TEXT, b"Hello World!")], End::Clean),
        Case::new("7.1.2", &[bye(), frame(CLOSE, b"")], &[], echoed(1000, b"")),
        Case::new("7.1.3", &[bye(), frame(PING, b"")], &[], echoed(1000, b"")),
        Case::new("7.1.4", &[bye(), hello], &[], echoed(1000, b"")),
        Case::new(
            "7.1.5",
            &[part(TEXT, b"fragment1"), bye(), frame(CONTINUATION, b"fragment2")],
            &[],
            echoed(1000, b""),
        ),
        Case::new("7.1.6", &long_first, &[(TEXT, &long), (TEXT, b"Hello World!")], echoed(1000, b"")),
    ])
    .await;
}

#[tokio::test]
async fn section_7_3_and_7_5_payloads() {
    let (longest, too_long) = ([b'*'; 123], [b'*'; 124]);
    let not_utf8 = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited";
    run(vec![
        Case::new("7.3.1", &[frame(CLOSE, b"")], &[], End::Echoed(vec![])),
        Case::new("7.3.2", &[frame(CLOSE, b"a")], &[], FAILED),
        Case::new("7.3.3", &[close(1000, b"")], &[], echoed(1000, b"")),
        Case::new("7.3.4", &[close(1000, b"Hello World!")], &[], echoed(1000, b"Hello World!")),
        Case::new("7.3.5", &[close(1000, &longest)], &[], echoed(1000, &longest)),
        Case::new("7.3.6", &[close(1000, &too_long)], &[], FAILED),
        Case::new("7.5.1", &[close(1000, not_utf8)], &[], End::Failed(1007)),
    ])
    .await;
}

#[tokio::test]
async fn sections_7_7_7_9_and_7_13_codes() {
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    let bad = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
    let undefined = [5000, 65_535];
    let good = good
        .iter()
        .enumerate()
        .map(|(i, code)| Case::new(format!("7.7.{}", i + 1), &[close(*code, b"")], &[], echoed(*code, b"")));
    let bad = bad
        .iter()
        .enumerate()
        .map(|(i, code)| Case::new(format!("7.9.{}", i + 1), &[close(*code, b"")], &[], FAILED));
    let undefined = undefined
        .iter()
        .enumerate()
        .map(|(i, code)| Case::new(format!("7.13.{}", i + 1), &[close(*code, b"")], &[], FAILED));
    run(good.chain(bad).chain(undefined).collect()).await;
}

//! Section 5: messages in several frames.

use super::case::{CONTINUATION, Case, End, PING, PONG, TEXT, frame, part, run};

const FAILED: End = End::Failed(1002);

/// The same frames in one write, in a write each, and in writes of a byte.
fn thrice(numbers: [&str; 3], frames: &[Vec<u8>], expected: &[(u8, &[u8])], end: End) -> [Case; 3] {
    let case = |number| Case::new(number, frames, expected, end.clone());
    [case(numbers[0]), case(numbers[1]).in_writes(frames), case(numbers[2]).chopped(1)]
}

#[tokio::test]
async fn section_5_good() {
    let two = [part(TEXT, b"fragment1"), frame(CONTINUATION, b"fragment2")];
    let joined: (u8, &[u8]) = (TEXT, b"fragment1fragment2");
    let ping = frame(PING, b"ping payload");
    let with_ping = [two[0].clone(), ping, two[1].clone()];
    let mut cases = Vec::new();
    cases.extend(thrice(["5.3", "5.4", "5.5"], &two, &[joined], End::Clean));
    cases.extend(thrice(["5.6", "5.7", "5.8"], &with_ping, &[(PONG, b"ping payload"), joined], End::Clean));
    let five = [
        part(TEXT, b"fragment1"),
        part(CONTINUATION, b"fragment2"),
        frame(PING, b"pongme 1!"),
        part(CONTINUATION, b"fragment3"),
        part(CONTINUATION, b"fragment4"),
        frame(PING, b"pongme 2!"),
        frame(CONTINUATION, b"fragment5"),
    ];
    let answers: [(u8, &[u8]); 3] = [
        (PONG, b"pongme 1!"),
        (PONG, b"pongme 2!"),
        (TEXT, b"fragment1fragment2fragment3fragment4fragment5"),
    ];
    cases.push(Case::new("5.19", &five, &answers, End::Clean));
    cases.push(Case::new("5.20", &five, &answers, End::Clean).in_writes(&five));
    run(cases).await;
}

#[tokio::test]
async fn section_5_bad() {
    let hello = frame(TEXT, b"Hello, world!");
    let nothing_to_continue = b"non-continuation payload";
    let mut cases = vec![
        Case::new("5.1", &[part(PING, b"fragment1"), frame(CONTINUATION, b"fragment2")], &[], FAILED),
        Case::new("5.2", &[part(PONG, b"fragment1"), frame(CONTINUATION, b"fragment2")], &[], FAILED),
    ];
    let last = [frame(CONTINUATION, nothing_to_continue), hello.clone()];
    let not_last = [part(CONTINUATION, nothing_to_continue), hello];
    cases.extend(thrice(["5.9", "5.10", "5.11"], &last, &[], FAILED));
    cases.extend(thrice(["5.12", "5.13", "5.14"], &not_last, &[], FAILED));
    let good_then_bad = [
        part(TEXT, b"fragment1"),
        frame(CONTINUATION, b"fragment2"),
        part(CONTINUATION, b"fragment3"),
        frame(TEXT, b"fragment4"),
    ];
    cases.push(Case::new("5.15", &good_then_bad, &[(TEXT, b"fragment1fragment2")], FAILED));
    let message = [part(TEXT, b"fragment2"), frame(CONTINUATION, b"fragment3")].concat();
    let repeated = |first: Vec<u8>| [first.clone(), message.clone(), first, message.clone()];
    cases.push(Case::new("5.16", &repeated(part(CONTINUATION, b"fragment1")), &[], FAILED));
    cases.push(Case::new("5.17", &repeated(frame(CONTINUATION, b"fragment1")), &[], FAILED));
    cases.push(Case::new("5.18", &[part(TEXT, b"fragment1"), frame(TEXT, b"fragment2")], &[], FAILED));
    run(cases).await;
}

//! Sections 3 and 4: reserved bits and opcodes.

use super::case::{BINARY, CLOSE, Case, End, PING, TEXT, frame, reserved, run};

const HELLO: &[u8] = b"Hello, world!";
const FAILED: End = End::Failed(1002);

/// The echo of a good message, then a bad frame; the ping behind it gets no pong.
fn after_hello(number: &str, bad: Vec<u8>) -> Case {
    Case::new(number, &[frame(TEXT, HELLO), bad, frame(PING, b"")], &[(TEXT, HELLO)], FAILED)
}

#[tokio::test]
async fn section_3_reserved_bits() {
    let bytes: &[u8] = b"\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF";
    let bad = reserved(3, TEXT, HELLO);
    run(vec![
        Case::new("3.1", &[reserved(1, TEXT, HELLO)], &[], FAILED),
        after_hello("3.2", reserved(2, TEXT, HELLO)),
        after_hello("3.3", vec![]).in_writes(&[frame(TEXT, HELLO), bad, frame(PING, b"")]),
        after_hello("3.4", reserved(4, TEXT, HELLO)).chopped(1),
        Case::new("3.5", &[reserved(5, BINARY, bytes)], &[], FAILED),
        Case::new("3.6", &[reserved(6, BINARY, HELLO)], &[], FAILED),
        Case::new("3.7", &[reserved(7, CLOSE, b"")], &[], FAILED),
    ])
    .await;
}

#[tokio::test]
async fn section_4_reserved_opcodes() {
    let mut cases = Vec::new();
    for (section, first) in [("4.1", 3), ("4.2", 11)] {
        cases.extend([
            Case::new(format!("{section}.1"), &[frame(first, b"")], &[], FAILED),
            Case::new(format!("{section}.2"), &[frame(first + 1, b"reserved opcode payload")], &[], FAILED),
            after_hello(&format!("{section}.3"), frame(first + 2, b"")),
            after_hello(&format!("{section}.4"), frame(first + 3, HELLO)),
            after_hello(&format!("{section}.5"), frame(first + 4, HELLO)).chopped(1),
        ]);
    }
    run(cases).await;
}

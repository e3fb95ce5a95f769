//! Section 9: large messages, up to our limit and one byte beyond it.

use super::case::{BINARY, CONTINUATION, Case, End, LIMITS, TEXT, frame, part, run};

const MESSAGE: usize = LIMITS.message_bytes_max;

/// The message in frames of `size` bytes.
fn fragmented(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let parts = payload.chunks(size).enumerate().map(|(i, bytes)| {
        let opcode = if i == 0 { opcode } else { CONTINUATION };
        if i + 1 == count { frame(opcode, bytes) } else { part(opcode, bytes) }
    });
    parts.collect()
}

#[tokio::test]
async fn sections_9_1_and_9_2_in_one_frame() {
    let mut cases = Vec::new();
    for (section, opcode) in [("9.1", TEXT), ("9.2", BINARY)] {
        for (i, len) in [64 << 10, 256 << 10, 1 << 20].into_iter().enumerate() {
            let payload = vec![b'*'; len];
            let number = format!("{section}.{}", i + 1);
            cases.push(Case::new(number, &[frame(opcode, &payload)], &[(opcode, &payload)], End::Clean));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn sections_9_3_and_9_4_in_many_frames() {
    let payload = vec![b'*'; MESSAGE];
    let mut cases = Vec::new();
    for (section, opcode) in [("9.3", TEXT), ("9.4", BINARY)] {
        for (i, size) in
            [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20].into_iter().enumerate()
        {
            let frames = fragmented(opcode, &payload, size);
            cases.push(Case::new(format!("{section}.{}", i + 1), &frames, &[(opcode, &payload)], End::Clean));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn sections_9_5_and_9_6_in_small_writes() {
    let payload = b"BAsd7&jh23".repeat(MESSAGE / 20);
    let mut cases = Vec::new();
    for (section, opcode) in [("9.5", TEXT), ("9.6", BINARY)] {
        for (i, size) in [64, 128, 256, 512, 1_024, 2_048].into_iter().enumerate() {
            let number = format!("{section}.{}", i + 1);
            let case = Case::new(number, &[frame(opcode, &payload)], &[(opcode, &payload)], End::Clean);
            cases.push(case.chopped(size));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn sections_9_7_and_9_8_many_messages() {
    let mut cases = Vec::new();
    for (section, opcode) in [("9.7", TEXT), ("9.8", BINARY)] {
        for (i, len) in [0, 16, 64, 256, 1_024, 4_096].into_iter().enumerate() {
            let payload = vec![b'*'; len];
            let frames = vec![frame(opcode, &payload); 1_000];
            let expected = vec![(opcode, &payload[..]); 1_000];
            cases.push(Case::new(format!("{section}.{}", i + 1), &frames, &expected, End::Clean));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn one_byte_too_many_is_refused() {
    let payload = vec![b'*'; MESSAGE + 1];
    let too_big = End::Failed(1009);
    run(vec![
        Case::new("one frame", &[frame(TEXT, &payload)], &[], too_big.clone()),
        Case::new("in writes of 64 KiB", &[frame(BINARY, &payload)], &[], too_big.clone()).chopped(64 << 10),
        Case::new("many frames", &fragmented(BINARY, &payload, 4_096), &[], too_big),
    ])
    .await;
}

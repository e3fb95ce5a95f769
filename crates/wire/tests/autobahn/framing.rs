//! Section 1: messages of every form of length.

use super::case::{BINARY, Case, End, TEXT, frame, run};

const LENGTHS: [usize; 8] = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];

fn cases(section: &str, opcode: u8, byte: u8) -> Vec<Case> {
    let case = |(i, len): (usize, usize)| {
        let payload = vec![byte; len];
        let number = format!("{section}.{}", i + 1);
        let case = Case::new(number, &[frame(opcode, &payload)], &[(opcode, &payload)], End::Clean);
        if i == 7 { case.chopped(997) } else { case }
    };
    LENGTHS.into_iter().enumerate().map(case).collect()
}

#[tokio::test]
async fn section_1_1_text() {
    run(cases("1.1", TEXT, b'*')).await;
}

#[tokio::test]
async fn section_1_2_binary() {
    run(cases("1.2", BINARY, 0xFE)).await;
}

//! Section 2: pings and pongs.

use super::case::{Case, End, PING, PONG, frame, run};

#[tokio::test]
async fn section_2_pings_and_pongs() {
    let bytes: &[u8] = b"\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF";
    let (most, too_many) = ([0xFE; 125], [0xFE; 126]);
    let ten: Vec<String> = (0..10).map(|i| format!("payload-{i}")).collect();
    let pings: Vec<Vec<u8>> = ten.iter().map(|payload| frame(PING, payload.as_bytes())).collect();
    let pongs: Vec<(u8, &[u8])> = ten.iter().map(|payload| (PONG, payload.as_bytes())).collect();
    let unasked = frame(PONG, b"unsolicited pong payload");
    run(vec![
        Case::new("2.1", &[frame(PING, b"")], &[(PONG, b"")], End::Clean),
        Case::new("2.2", &[frame(PING, b"Hello, world!")], &[(PONG, b"Hello, world!")], End::Clean),
        Case::new("2.3", &[frame(PING, bytes)], &[(PONG, bytes)], End::Clean),
        Case::new("2.4", &[frame(PING, &most)], &[(PONG, &most)], End::Clean),
        Case::new("2.5", &[frame(PING, &too_many)], &[], End::Failed(1002)),
        Case::new("2.6", &[frame(PING, &most)], &[(PONG, &most)], End::Clean).chopped(1),
        Case::new("2.7", &[frame(PONG, b"")], &[], End::Clean),
        Case::new("2.8", std::slice::from_ref(&unasked), &[], End::Clean),
        Case::new("2.9", &[unasked, frame(PING, b"ping payload")], &[(PONG, b"ping payload")], End::Clean),
        Case::new("2.10", &pings, &pongs, End::Clean),
        Case::new("2.11", &pings, &pongs, End::Clean).chopped(1),
    ])
    .await;
}

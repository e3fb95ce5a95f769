//! Nothing that was acknowledged is lost, doubled or reordered when the server is killed, and every reader goes on where
//! it was.

use std::time::Duration;

use fastrand::Rng;
use hubbub_testkit::{Crowd, Size};

use crate::common::server;

const SIZE: Size = Size { rooms: 4, senders: 8, pause: Duration::ZERO, readers: 6, connections: 1 };
/// Between two kills, at most; the least is what it takes to be ready.
const LIFE_MS: u64 = 400;

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let kills: u32 = std::env::var("HUBBUB_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let seed: u64 =
        std::env::var("HUBBUB_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!(
        "repeat with: HUBBUB_SEED={seed} HUBBUB_KILLS={kills} cargo test -p hubbub --test e2e kill -- --nocapture"
    );
    let mut rng = Rng::with_seed(seed);
    let mut server = server().await;
    let crowd = Crowd::gather("", &[server.address()], SIZE, &mut rng).await.unwrap();
    for _ in 0..kills {
        // Under load: at a random moment after the first acknowledgement of this life.
        crowd.acks(1).await;
        tokio::time::sleep(Duration::from_micros(rng.u64(..LIFE_MS * 1_000))).await;
        server.kill().await.unwrap();
        server.restart().await.unwrap();
    }
    let verdict = crowd.disperse().await.unwrap();
    println!(
        "{kills} kills, {} acknowledged, {} entries, {} unknown",
        verdict.acked, verdict.entries, verdict.unknown
    );
    verdict.is_clean();
    assert_eq!(verdict.refused, 0, "nothing that was sent is wrong");
}

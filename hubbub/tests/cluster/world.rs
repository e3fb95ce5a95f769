//! A cluster with a crowd in it.

use fastrand::Rng;
use hubbub_testkit::{Cluster, Crowd, Hubbub, Plan, Size, Verdict};
use tokio::sync::{Mutex, MutexGuard};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A cluster with people who talk at all of its gateways.
pub struct World {
    pub cluster: Cluster,
    pub crowd: Crowd,
    pub rng: Rng,
    _alone: MutexGuard<'static, ()>,
}

/// The program under test. Limits on how much one user may do are far away: these tests are of other promises.
pub fn plan() -> Plan {
    Plan {
        gateway_flags: vec!["--sends-per-second=100000".into(), "--reads-per-second=100000".into()],
        ..Plan::of(env!("CARGO_BIN_EXE_hubbub"))
    }
}

impl World {
    /// The cluster of the plan, at work.
    pub async fn of(plan: Plan) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let seed: u64 =
            std::env::var("HUBBUB_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("repeat with: HUBBUB_SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let cluster = Cluster::start(plan, |step| println!("{step}")).await.unwrap();
        let gateways: Vec<&Hubbub> = cluster.gateways.iter().collect();
        let size = Size { rooms: 6, senders: 8, readers: 4 };
        let crowd = Crowd::gather(&gateways, size, &mut rng).await.unwrap();
        crowd.acks(50).await;
        Self { cluster, crowd, rng, _alone: alone }
    }

    /// Waits until everybody is whole again after a fault, and says how long that took.
    pub async fn heals(&self, fault: &str) {
        self.crowd.acks(20).await;
        let whole = self.crowd.whole().await.unwrap();
        println!("{fault}: whole after {whole:?}");
    }

    /// Judges.
    pub async fn end(self) -> Verdict {
        let verdict = self.crowd.disperse().await.unwrap();
        println!(
            "{} acknowledged, {} entries, {} unknown, {} refused; waits p50 {:?} p99 {:?} longest {:?}",
            verdict.acked,
            verdict.entries,
            verdict.unknown,
            verdict.refused,
            verdict.wait(0.5),
            verdict.wait(0.99),
            verdict.wait(1.0)
        );
        verdict.is_clean();
        verdict
    }
}

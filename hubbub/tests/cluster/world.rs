//! A cluster with a crowd in it.

use std::time::Duration;

use fastrand::Rng;
use hubbub_client::{Client, Events, Options};
use hubbub_core::ids::RoomId;
use hubbub_testkit::{
    Cluster, Crowd, Hubbub, Keyspace, Operator, Person, Plan, Size, Verdict, eventually, in_time,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A cluster with people who talk at all of its gateways.
pub struct World {
    pub cluster: Cluster,
    pub crowd: Crowd,
    pub rng: Rng,
    faults: Vec<Fault>,
    _alone: MutexGuard<'static, ()>,
}

/// A metric of a gateway: questions that it asked again.
pub const ASKED_AGAIN: &str = "hubbub_gateway_asked_again_total";

/// Something that breaks; the times are the crowd's.
struct Fault {
    what: String,
    began: Duration,
    whole_after: Option<Duration>,
}

/// The program under test, in a keyspace of its own of the database that these tests share.
pub async fn plan() -> Plan {
    Plan { keyspace: Some(Keyspace::shared().await.unwrap()), ..with_own_database() }
}

/// The program under test, and a database that may be broken. Limits on how much one user may do, and on how late a busy machine
/// may be, are far away: these tests are of other promises.
pub fn with_own_database() -> Plan {
    Plan {
        gateway_flags: ["--sends-per-second=100000", "--reads-per-second=100000", "--loop-lag-max=0ms"]
            .map(Into::into)
            .into(),
        folder: std::env::var_os("HUBBUB_CLUSTER_FOLDER").map(Into::into),
        ..Plan::of(env!("CARGO_BIN_EXE_hubbub"))
    }
}

/// A cluster in which nobody is yet.
pub struct Quiet {
    pub cluster: Cluster,
    alone: MutexGuard<'static, ()>,
}

impl Quiet {
    /// The cluster of the plan.
    pub async fn of(plan: Plan) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let cluster = Cluster::start(plan, |step| println!("{step}")).await.unwrap();
        Self { cluster, alone }
    }

    /// The cluster of the plan, and its operator with this credential, who asks this gateway.
    pub async fn with_operator(mut plan: Plan, credential: &str, gateway: usize) -> (Self, Operator) {
        plan.gateway_flags.extend(Operator::flags(credential));
        let quiet = Self::of(plan).await;
        let asked = &quiet.cluster.gateways[gateway];
        let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), asked, credential).unwrap();
        (quiet, operator)
    }
}

impl World {
    /// The cluster of the plan, at work.
    pub async fn of(plan: Plan) -> Self {
        let Quiet { cluster, alone } = Quiet::of(plan).await;
        let seed: u64 =
            std::env::var("HUBBUB_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("repeat with: HUBBUB_SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let gateways: Vec<_> = cluster.gateways.iter().map(Hubbub::address).collect();
        let size = Size { rooms: 6, senders: 8, pause: Duration::ZERO, readers: 4, connections: 1 };
        let crowd = Crowd::gather("", &gateways, size, &mut rng).await.unwrap();
        crowd.acks(50).await;
        Self { cluster, crowd, rng, faults: Vec::new(), _alone: alone }
    }

    /// Says that something is about to break.
    pub fn breaks(&mut self, what: impl Into<String>) {
        let began = self.crowd.elapsed();
        self.faults.push(Fault { what: what.into(), began, whole_after: None });
    }

    /// Waits until everybody is whole again after the end of the fault.
    pub async fn heals(&mut self) {
        let ended = self.crowd.elapsed();
        self.crowd.acks(20).await;
        self.crowd.whole().await.unwrap();
        if let Some(fault) = self.faults.last_mut() {
            fault.whole_after = Some(self.crowd.elapsed().saturating_sub(ended));
        }
    }

    /// Judges, and prints what a user would have felt of each fault.
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
        for (n, fault) in self.faults.iter().enumerate() {
            let next = self.faults.get(n + 1).map_or(Duration::MAX, |next| next.began);
            let felt = verdict.waits.iter().filter(|wait| {
                let acked = wait.began + wait.took;
                acked >= fault.began && acked < next
            });
            let felt: Vec<Duration> = felt.map(|wait| wait.took).collect();
            // By their length, as the verdict has them.
            let p99 = felt.get(felt.len() * 99 / 100).copied().unwrap_or_default();
            let longest = felt.last().copied().unwrap_or_default();
            let whole = fault.whole_after.unwrap_or_default();
            println!(
                "{}: longest wait {longest:.1?}, p99 {p99:.1?}, whole {whole:.1?} after its end",
                fault.what
            );
        }
        verdict.is_clean();
        verdict
    }
}

/// All entries of a room by HTTP, page by page, at this gateway.
pub async fn log(gateway: &Hubbub, person: &Person, room: &RoomId) -> Vec<Value> {
    let (mut log, mut after) = (Vec::new(), json!(0));
    loop {
        let path = format!("/v1/chat/rooms/{room}/messages?after={after}&limit=300");
        // While a holder changes there may be no answer for a moment.
        let mut page = eventually("the room is read", async || {
            let page = gateway.get(&path, Some(&person.token)).await.unwrap();
            (page.status == 200).then(|| page.json())
        })
        .await;
        log.append(page["entries"].as_array_mut().unwrap());
        match page["more"] == true {
            true => after = page["next"].clone(),
            false => return log,
        }
    }
}

/// A connection of a person at this gateway.
pub async fn connect(gateway: &Hubbub, person: &Person) -> (Client, Events) {
    let options = Options { token: person.token.clone(), ..Options::new(gateway.ws_url()) };
    in_time("a connection", Client::connect(options)).await.unwrap()
}

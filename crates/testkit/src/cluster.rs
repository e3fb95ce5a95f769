//! A whole cluster on this machine.

use std::path::PathBuf;

use crate::{Cassandra, Folder, Hubbub, Keyspace, Nats, RabbitMq, Start};

/// What a cluster is to have.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program, which is every tier.
    pub program: PathBuf,
    /// Where its logs and data are kept; in a folder that is removed at its end if there is none.
    pub folder: Option<PathBuf>,
    /// Where it keeps what it acknowledged; in a database of its own if there is none.
    pub keyspace: Option<Keyspace>,
    /// Servers of NATS: 1, or 3.
    pub nats: usize,
    /// Gateways.
    pub gateways: usize,
    /// Room-workers.
    pub workers: usize,
    /// History services.
    pub histories: usize,
    /// Bridges to the bots; with one or more there is a broker.
    pub bridges: usize,
    /// More settings for gateways.
    pub gateway_flags: Vec<String>,
    /// More settings for workers.
    pub worker_flags: Vec<String>,
}

impl Plan {
    /// Three servers of NATS, a database, two of each tier but the bridges.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            folder: None,
            keyspace: None,
            nats: 3,
            gateways: 2,
            workers: 2,
            histories: 2,
            bridges: 0,
            gateway_flags: Vec::new(),
            worker_flags: Vec::new(),
        }
    }

    fn folder(&self, name: impl AsRef<str>) -> anyhow::Result<Folder> {
        match &self.folder {
            Some(folder) => Folder::kept(folder.join(name.as_ref())),
            None => Folder::temporary(),
        }
    }
}

/// A cluster of real servers and real processes.
pub struct Cluster {
    // In the order in which they end: first who is served.
    /// Gateways.
    pub gateways: Vec<Hubbub>,
    /// Room-workers.
    pub workers: Vec<Hubbub>,
    /// History services.
    pub histories: Vec<Hubbub>,
    /// Bridges to the bots.
    pub bridges: Vec<Hubbub>,
    /// The bots' broker, if there are bridges.
    pub broker: Option<RabbitMq>,
    /// Servers of NATS.
    pub nats: Vec<Nats>,
    /// The database, if it has one of its own.
    pub database: Option<Cassandra>,
    /// Where it keeps what it acknowledged.
    pub keyspace: Keyspace,
    plan: Plan,
}

impl Cluster {
    /// Starts it, and waits until each part is ready. `progress` is told what is waited for.
    ///
    /// # Errors
    /// When a part does not start; the error has its log.
    pub async fn start(plan: Plan, progress: impl Fn(&str)) -> anyhow::Result<Self> {
        let (database, keyspace) = match &plan.keyspace {
            Some(keyspace) => (None, keyspace.clone()),
            None => {
                progress("starting the database");
                let database = Cassandra::start_in(plan.folder("database")?, "").await?;
                let keyspace = Keyspace { database: database.address(), name: "hubbub".into() };
                (Some(database), keyspace)
            }
        };
        progress("starting NATS");
        let nats = Nats::start_cluster(plan.nats, |name| plan.folder(name)).await?;
        let broker = if plan.bridges == 0 {
            None
        } else {
            progress("starting the bots' broker");
            Some(RabbitMq::start_in(plan.folder("broker")?, "").await?)
        };
        let mut cluster = Self {
            gateways: Vec::new(),
            workers: Vec::new(),
            histories: Vec::new(),
            bridges: Vec::new(),
            broker,
            nats,
            database,
            keyspace,
            plan,
        };
        progress("starting history services");
        for _ in 0..cluster.plan.histories {
            let start = cluster.tier("history-service");
            cluster.add_history(start).await?;
        }
        progress("starting room-workers");
        for _ in 0..cluster.plan.workers {
            let start = cluster.tier("room-worker");
            cluster.add_worker(start).await?;
        }
        if cluster.plan.bridges > 0 {
            progress("starting bot-bridges");
        }
        for _ in 0..cluster.plan.bridges {
            let start = cluster.tier("bot-bridge");
            cluster.add_bridge(start).await?;
        }
        progress("starting gateways");
        for _ in 0..cluster.plan.gateways {
            let start = cluster.tier("gateway");
            cluster.add_gateway(start).await?;
        }
        Ok(cluster)
    }

    /// How a tier of this cluster is started.
    pub fn tier(&self, tier: &'static str) -> Start {
        self.tier_by(tier, &self.nats_urls(), &self.keyspace)
    }

    /// Where clients find NATS.
    pub fn nats_urls(&self) -> String {
        let urls: Vec<_> = self.nats.iter().map(Nats::url).collect();
        urls.join(",")
    }

    /// How it is started if it is to find the servers elsewhere, as behind a [`Proxy`](crate::Proxy), or another keyspace.
    pub fn tier_by(&self, tier: &'static str, nats: &str, keyspace: &Keyspace) -> Start {
        let start = Start::program(&self.plan.program)
            .as_tier(tier)
            .with(&format!("--nats={nats}"))
            .with(&format!("--nats-replicas={}", self.nats.len()));
        let start = keyspace.flags().iter().fold(start, |start, flag| start.with(flag));
        let flags = match tier {
            "gateway" => self.plan.gateway_flags.clone(),
            "room-worker" => self.plan.worker_flags.clone(),
            "bot-bridge" => self.broker.iter().map(|broker| format!("--amqp-url={}", broker.url())).collect(),
            _ => Vec::new(),
        };
        flags.iter().fold(start, |start, flag| start.with(flag))
    }

    /// Starts one more gateway.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_gateway(&mut self, start: Start) -> anyhow::Result<()> {
        let folder = self.plan.folder(format!("gateway-{}", self.gateways.len() + 1))?;
        self.gateways.push(Hubbub::start_in(start, folder).await?);
        Ok(())
    }

    /// Starts one more room-worker.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_worker(&mut self, start: Start) -> anyhow::Result<()> {
        let folder = self.plan.folder(format!("room-worker-{}", self.workers.len() + 1))?;
        self.workers.push(Hubbub::start_in(start, folder).await?);
        Ok(())
    }

    /// Starts one more history service.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_history(&mut self, start: Start) -> anyhow::Result<()> {
        let folder = self.plan.folder(format!("history-service-{}", self.histories.len() + 1))?;
        self.histories.push(Hubbub::start_in(start, folder).await?);
        Ok(())
    }

    /// Starts one more bridge to the bots.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_bridge(&mut self, start: Start) -> anyhow::Result<()> {
        let folder = self.plan.folder(format!("bot-bridge-{}", self.bridges.len() + 1))?;
        self.bridges.push(Hubbub::start_in(start, folder).await?);
        Ok(())
    }

    /// Ends the tiers in order, each with the time that it takes.
    ///
    /// # Errors
    /// The system's.
    pub async fn end(mut self, progress: impl Fn(&str)) -> anyhow::Result<()> {
        let tiers = [
            ("gateways", &mut self.gateways),
            ("bot-bridges", &mut self.bridges),
            ("room-workers", &mut self.workers),
            ("history services", &mut self.histories),
        ];
        for (what, tier) in tiers.into_iter().filter(|(_, tier)| !tier.is_empty()) {
            progress(&format!("ending {what}"));
            for one in tier.iter() {
                // One that has ended already is no less ended.
                let _ = one.ask_to_end();
            }
            for one in tier {
                one.ended().await?;
            }
        }
        progress("ending the servers");
        if let Some(broker) = &mut self.broker {
            broker.end().await?;
        }
        for nats in &mut self.nats {
            nats.end().await?;
        }
        match &mut self.database {
            Some(database) => database.end().await,
            None => Ok(()),
        }
    }
}

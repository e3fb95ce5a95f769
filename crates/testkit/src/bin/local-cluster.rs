//! A whole cluster on this machine, for whoever wants to look at one: `deploy/local/cluster`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use hubbub_testkit::{Cluster, Hubbub, Nats, Operator, Plan};
use tokio::signal::unix::{SignalKind, signal};

/// Runs NATS, a database and every tier of Hubbub on this machine until it is told to end (Ctrl-C, SIGTERM).
///
/// Ports are chosen and printed. Data and logs are kept in one folder: started again there, the rooms are there as well.
/// Apache Cassandra stands in for ScyllaDB.
#[derive(Debug, Parser)]
#[command(name = "local-cluster", version)]
struct Cli {
    /// Folder of data and logs.
    #[arg(long, value_name = "PATH", default_value = "hubbub-cluster")]
    folder: PathBuf,
    /// Servers of NATS: 1, or 3 that form a cluster.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    nats: usize,
    /// Gateways.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    gateways: usize,
    /// Room-workers.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    workers: usize,
    /// History services.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    histories: usize,
    /// Bridges to the bots. With one or more, a RabbitMQ runs for them.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    bridges: usize,
    /// A setting for the gateways, such as --gateway-flag=--log=debug; may be given several times.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    gateway_flag: Vec<String>,
    /// A setting for the room-workers; may be given several times.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    worker_flag: Vec<String>,
    /// The program of the tiers; the one beside this one if it is not given.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let beside = || anyhow::Ok(std::env::current_exe()?.with_file_name("hubbub"));
    let program = cli.program.map_or_else(beside, Ok)?;
    anyhow::ensure!(program.exists(), "there is no program at {}; build it, or name it", program.display());
    let credential = Operator::new_credential("operator");
    let mut gateway_flags = cli.gateway_flag;
    // Whoever brings credentials has their own.
    let has_own = gateway_flags.iter().any(|flag| flag.starts_with("--admin-token"));
    if !has_own {
        gateway_flags.extend(Operator::flags(&credential));
    }
    let plan = Plan {
        folder: Some(cli.folder.clone()),
        nats: cli.nats,
        gateways: cli.gateways,
        workers: cli.workers,
        histories: cli.histories,
        bridges: cli.bridges,
        gateway_flags,
        worker_flags: cli.worker_flag,
        ..Plan::of(&program)
    };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let told_to_end = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(told_to_end);
    let cluster = tokio::select! {
        started = Cluster::start(plan, say) => started.context("the cluster does not start")?,
        () = &mut told_to_end => return Ok(()),
    };
    show(&cluster, &cli.folder)?;
    if !has_own && let Some(gateway) = cluster.gateways.first() {
        let operator = Operator::of(&program, gateway, &credential)?;
        let mut out = io::stdout().lock();
        writeln!(out, "As an operator, in another shell:")?;
        writeln!(out, "  export ADMIN_URL=http://{} ADMIN_TOKEN={credential}", operator.address())?;
        writeln!(out, "  {} admin nodes", program.display())?;
    }
    told_to_end.await;
    cluster.end(say).await?;
    say("ended");
    Ok(())
}

/// A line of progress. With nobody to read it the cluster runs all the same.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What a Prometheus needs to scrape all of it: a file in the folder.
fn scraping(cluster: &Cluster, folder: &Path) -> io::Result<PathBuf> {
    let job = |tier: &str, processes: &[Hubbub]| {
        let targets: Vec<_> = processes.iter().map(|one| format!("\"{}\"", one.address())).collect();
        format!("  - {{job_name: hubbub-{tier}, static_configs: [{{targets: [{}]}}]}}\n", targets.join(", "))
    };
    let tiers = [
        ("gateway", &cluster.gateways),
        ("room-worker", &cluster.workers),
        ("history-service", &cluster.histories),
        ("bot-bridge", &cluster.bridges),
    ];
    let jobs: String = tiers.iter().map(|(tier, processes)| job(tier, processes)).collect();
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, format!("global: {{scrape_interval: 5s}}\nscrape_configs:\n{jobs}"))?;
    Ok(file)
}

fn show(cluster: &Cluster, folder: &Path) -> io::Result<()> {
    let of = |tier: &[Hubbub]| {
        let urls: Vec<_> = tier.iter().map(|one| format!("http://{}", one.address())).collect();
        urls.join("  ")
    };
    let nats: Vec<_> = cluster.nats.iter().map(Nats::url).collect();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\nHubbub runs as a cluster. Ctrl-C ends it in order; killed, any part of it may be started again."
    )?;
    writeln!(out, "  gateways          {}", of(&cluster.gateways))?;
    writeln!(out, "  room-workers      {}", of(&cluster.workers))?;
    writeln!(out, "  history services  {}", of(&cluster.histories))?;
    if let Some(broker) = &cluster.broker {
        writeln!(out, "  bot-bridges       {}", of(&cluster.bridges))?;
        writeln!(out, "  bots' broker      {}", broker.url())?;
    }
    writeln!(out, "  NATS              {}", nats.join("  "))?;
    writeln!(out, "  database          {}", cluster.keyspace.database)?;
    writeln!(out, "  logs and data     {}", folder.display())?;
    writeln!(out, "  to be watched by  prometheus --config.file={}", scraping(cluster, folder)?.display())?;
    writeln!(out, "Each of the tiers answers /healthz, /readyz and /metrics. Try a gateway:")?;
    if let Some(gateway) = cluster.gateways.first() {
        writeln!(out, "  curl http://{}/readyz", gateway.address())?;
    }
    out.flush()
}

//! The broker of tests: it starts, starts again with its data, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::path::{Path, PathBuf};

use hubbub_testkit::{RabbitMq, eventually};

fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

#[tokio::test]
async fn a_broker_starts_again_and_leaves_nothing_behind() {
    let mut broker = RabbitMq::start().await.unwrap();
    let registry = std::fs::read_to_string(broker.folder().join("epmd.pid")).unwrap().trim().parse().unwrap();
    let (first, url) = (broker.pid().unwrap(), broker.url());
    let name = std::fs::read_to_string(process(first).join("comm")).unwrap();
    assert_eq!(name.trim(), "beam.smp", "its process is the broker, not a shell around it");

    broker.kill().unwrap();
    eventually("a killed broker is gone", async || (!process(first).exists()).then_some(())).await;
    broker.start_again().await.unwrap();
    let second = broker.pid().unwrap();
    assert_ne!(second, first);
    assert_eq!(broker.url(), url);

    broker.end().await.unwrap();
    assert!(!process(second).exists());
    let log = std::fs::read_to_string(broker.folder().join("log")).unwrap();
    assert!(log.contains("SIGTERM received"), "ended in order: {log}");
    broker.start_again().await.unwrap();
    let third = broker.pid().unwrap();

    assert!(process(registry).exists() && process(third).exists());
    drop(broker);
    for pid in [registry, third] {
        eventually("what it started is gone", async || (!process(pid).exists()).then_some(())).await;
    }
}

//! Memory of members that say nothing.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;

use super::outcome::Idle;
use super::seat::{keep, take_all};
use crate::targets::live::Live;
use crate::view::View;

/// Opens half of the connections, then the rest, and looks at the server's memory before, between and after, when it has settled.
pub async fn run(live: &Rc<Live>, settle: Duration, view: &View) -> anyhow::Result<Idle> {
    let rss = async || {
        let usage = live
            .usage()
            .await?
            .context("the server's memory can't be read: --pid says which process it is")?;
        anyhow::Ok(usage.rss_kib)
    };
    let (half, later) = live.members.split_at(live.members.len() / 2);
    // What the start has left behind is not the connections', nor may its end be taken for theirs.
    tokio::time::sleep(settle).await;
    let before = rss().await?;
    let mut kept = keep(take_all(half, view).await?, half);
    tokio::time::sleep(settle).await;
    let between = rss().await?;
    let mut kept_too = keep(take_all(later, view).await?, later);
    tokio::time::sleep(settle).await;
    let after = rss().await?;
    let connections = live.members.len();
    anyhow::ensure!(
        kept.try_join_next().is_none() && kept_too.try_join_next().is_none(),
        "the server closed idle connections"
    );
    kept.shutdown().await;
    kept_too.shutdown().await;
    let grown = |from: u64, to: u64, by: usize| (to as f64 - from as f64) / by.max(1) as f64;
    Ok(Idle {
        connections: connections as u64,
        rss_before_kib: before,
        rss_half_kib: between,
        rss_after_kib: after,
        kib_a_connection: grown(before, after, connections),
        kib_a_connection_second_half: grown(between, after, later.len()),
    })
}

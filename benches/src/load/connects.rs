//! Connect, hello and join, as fast as so many at a time can.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fanout::generator;
use super::outcome::{Connects, Quantiles, microseconds};
use super::seat::{GREETING_TIMEOUT, Seat};
use crate::procfs::own_thread_cpu;
use crate::targets::live::Live;
use crate::view::View;

/// Every member connects; all stay until the last is there.
pub async fn run(live: &Rc<Live>, in_flight: usize, view: &View) -> anyhow::Result<Connects> {
    let total = live.members.len();
    let (mut latency, mut seats, mut failed, mut trouble) =
        (microseconds()?, Vec::with_capacity(total), 0, None);
    let (server, own, started) = (live.usage().await?, own_thread_cpu(), Instant::now());
    let (mut under_way, mut next) = (JoinSet::new(), 0);
    while next < total || !under_way.is_empty() {
        if next < total && under_way.len() < in_flight {
            under_way.spawn_local(timed(Rc::clone(live), next));
            next += 1;
        } else if let Some(done) = under_way.join_next().await {
            match done? {
                Ok((seat, took)) => {
                    seats.push(seat);
                    latency.saturating_record(took.as_micros() as u64);
                    view.count("connections", seats.len(), total);
                }
                Err(error) => {
                    failed += 1;
                    trouble.get_or_insert(format!("{error:#}"));
                }
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    // It was measured, whether or not the server says what it used.
    let cpu = server
        .zip(live.usage().await.ok().flatten())
        .map(|(began, ended)| ended.cpu_seconds - began.cpu_seconds);
    let core_share = (own_thread_cpu() - own).as_secs_f64() / seconds;
    Ok(Connects {
        connections: total as u64,
        in_flight,
        connects_a_second: seats.len() as f64 / seconds,
        cpu_us_each: cpu.map(|cpu| cpu * 1e6 / seats.len().max(1) as f64),
        latency: Quantiles::of(&latency),
        failed,
        trouble,
        generator: generator(core_share, None),
    })
}

async fn timed(live: Rc<Live>, index: usize) -> anyhow::Result<(Seat, Duration)> {
    let started = Instant::now();
    let seat = tokio::time::timeout(GREETING_TIMEOUT, Seat::take(&live.members[index])).await??;
    Ok((seat, started.elapsed()))
}

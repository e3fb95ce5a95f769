//! What the kernel says about a server: CPU time and resident memory.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

/// A process at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Usage {
    /// CPU time of all its threads, user and system, in seconds. Steps of a clock tick, 10 ms as a rule.
    pub cpu_seconds: f64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
}

/// Reads a process's usage.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the server's process is gone")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let ticks = cpu_ticks(&stat).context("an unreadable /proc/PID/stat")?;
    Ok(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        rss_kib: rss_kib(&status).context("no VmRSS in /proc/PID/status")?,
    })
}

/// Reads the usage of several processes together.
pub fn usage_of_all(pids: &[u32]) -> anyhow::Result<Usage> {
    pids.iter().try_fold(Usage::default(), |sum, &pid| {
        let one = usage(pid)?;
        Ok(Usage { cpu_seconds: sum.cpu_seconds + one.cpu_seconds, rss_kib: sum.rss_kib + one.rss_kib })
    })
}

/// CPU time of the calling thread: the generator's own.
pub fn own_thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// CPU time of everything that ran on this machine, in seconds over all cores.
pub fn machine_cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let ticks = busy_ticks(&stat).context("an unreadable /proc/stat")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn busy_ticks(stat: &str) -> Option<u64> {
    // user, nice, system, idle, iowait, irq, softirq, steal: all but the two in which nothing ran.
    let times = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let times: Vec<u64> = times.take(8).map_while(|time| time.parse().ok()).collect();
    (times.len() >= 4).then(|| times.iter().sum::<u64>() - times.iter().skip(3).take(2).sum::<u64>())
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the command's name in brackets, which may itself have spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 200";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy_ticks("cpu  10 1 20 5000 300 2 3 4 0 0\ncpu0 1"), Some(40));
        assert_eq!(busy_ticks("intr 1"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = usage(std::process::id()).expect("our own process");
        assert!(usage.rss_kib > 100);
        assert!(usage.cpu_seconds >= 0.0);
    }
}

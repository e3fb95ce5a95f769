//! What the process costs and what it may have, as Prometheus knows it from every program: read from `/proc`, left out where there is none.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Clock ticks a second in `/proc/self/stat`: 100 on every Linux that Rust's standard library runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// What the process costs at one moment; `None` where the system does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProcessCost {
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// CPU time of all threads, in user and kernel, since the start.
    pub cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// How many it may have.
    pub max_fds: Option<u64>,
}

impl ProcessCost {
    /// Reads it. A few small files: for a scrape, not for a hot path.
    pub fn now() -> Self {
        let read = |name| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self {
            resident_bytes: resident_bytes(),
            cpu_seconds: read("stat").as_deref().and_then(cpu_seconds),
            // The folder is itself one of the open files while it is listed.
            open_fds: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: open_files_max(),
        }
    }

    /// Appends it in Prometheus' text format, with the time at which the process began.
    pub fn render(&self, started: SystemTime, to: &mut String) {
        let mut add = |name: &str, kind: &str, help: &str, value: Option<f64>| {
            if let Some(value) = value {
                _ = write!(to, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
            }
        };
        let started = started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
        let resident = self.resident_bytes.map(|bytes| bytes as f64);
        let [fds, max_fds] = [self.open_fds, self.max_fds].map(|fds| fds.map(|fds| fds as f64));
        add(
            "process_cpu_seconds_total",
            "counter",
            "CPU time in user and kernel, in seconds.",
            self.cpu_seconds,
        );
        add("process_resident_memory_bytes", "gauge", "Resident memory, in bytes.", resident);
        add("process_open_fds", "gauge", "Open file descriptors.", fds);
        add("process_max_fds", "gauge", "Maximum number of open file descriptors.", max_fds);
        add("process_start_time_seconds", "gauge", "Start of the process, in Unix seconds.", started);
    }
}

/// Lets the process have as many open files as it may let itself have. A connection is one, and what a shell or a container gives it
/// to begin with is often 1,024, for the sake of programs that use `select`.
pub fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where the system does not keep its word it is as before, and connections are refused sooner.
        _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// How many open files the process may have; `None` for any number.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Memory that the process holds now.
pub fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Memory that the process may hold by the limit of its control group (cgroup v2), if it has one.
pub fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // In a container its own group is the root of what it sees.
    let limit = |group: &str| std::fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.max")).ok();
    limit(group).or_else(|| limit(""))?.trim().parse().ok()
}

/// `VmRSS:  1234 kB` of `/proc/self/status`, which unlike `statm` needs no page size.
fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// utime and stime, fields 14 and 15 of `/proc/self/stat`; field 2, the program's name, may hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, from_field_3) = stat.rsplit_once(')')?;
    let mut fields = from_field_3.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_program_name_does_not_shift_the_fields() {
        let stat = "1 (a ) b) S 0 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    8 kB\n"), Some(8_192));
        assert_eq!(resident_in("VmRSS: many"), None);
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let mut text = String::new();
        let cost = ProcessCost { open_fds: Some(7), ..ProcessCost::default() };
        cost.render(UNIX_EPOCH, &mut text);
        assert!(
            text.contains("\nprocess_open_fds 7\n") && text.contains("process_start_time_seconds 0\n"),
            "{text}"
        );
        assert!(!text.contains("memory") && !text.contains("max_fds"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_says_it_all() {
        let cost = ProcessCost::now();
        assert!(cost.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{cost:?}");
        assert!(cost.cpu_seconds.is_some() && cost.open_fds.is_some_and(|fds| fds >= 3), "{cost:?}");
        assert!(cost.max_fds.is_none_or(|max| cost.open_fds < Some(max)), "{cost:?}");
    }
}

//! Results for a person and for a program.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::compare::{Run, Summary};
use crate::load::outcome::{Generator, Outcome};
use crate::scenario::{Measure, Scenario};

/// A column: its title, the number, and its decimals.
type Column = (&'static str, &'static str, usize);

const FANOUT: (&str, &[Column]) = (
    "cpu_us_a_delivery",
    &[
        ("CPU µs/delivery", "cpu_us_a_delivery", 2),
        ("database µs", "database_cpu_us_a_delivery", 2),
        ("p50 ms", "delivery_p50_ms", 2),
        ("p99 ms", "delivery_p99_ms", 2),
        ("ack p50 ms", "ack_p50_ms", 2),
        ("ack p99 ms", "ack_p99_ms", 2),
        ("deliveries/s", "deliveries_a_second", 0),
        ("bytes", "bytes_a_delivery", 0),
        ("RSS MiB", "rss_mib", 1),
        ("server cores", "server_cores", 2),
        ("generator cores", "generator_cores", 2),
        ("other cores", "other_cores", 2),
        ("late p99 ms", "lateness_p99_ms", 2),
    ],
);
const IDLE: (&str, &[Column]) = (
    "kib_a_connection",
    &[
        ("KiB/connection", "kib_a_connection", 2),
        ("second half", "kib_a_connection_second_half", 2),
        ("RSS KiB", "rss_after_kib", 0),
    ],
);
const CONNECTS: (&str, &[Column]) = (
    "cpu_us_each",
    &[
        ("CPU µs each", "cpu_us_each", 1),
        ("connects/s", "connects_a_second", 0),
        ("p50 ms", "latency_p50_ms", 2),
        ("p99 ms", "latency_p99_ms", 2),
        ("failed", "failed", 0),
        ("generator cores", "generator_cores", 2),
    ],
);

/// Other work on the machine that is worth a remark, in cores.
const OTHER_CORES_MAX: f64 = 0.3;

/// The tables of all scenarios, and below them what was wrong.
pub fn tables(scenarios: &[Scenario], summaries: &[Summary], runs: &[Run]) -> String {
    let mut out = String::new();
    for scenario in scenarios {
        let (compared, columns) = match scenario.measure {
            Measure::Fanout(_) => FANOUT,
            Measure::Idle { .. } => IDLE,
            Measure::Connects { .. } => CONNECTS,
        };
        let mut rows = vec![header(columns)];
        for summary in summaries.iter().filter(|summary| summary.scenario == scenario.name) {
            rows.push(row(summary, compared, columns));
        }
        // Writing to a String can't fail.
        let _ = writeln!(out, "\n{}: {}\n", scenario.name, describe(scenario));
        out.push_str(&aligned(&rows));
    }
    for run in runs {
        if let Some(remark) = remark(&run.outcome) {
            let _ = writeln!(out, "\n{} round {} {}: {remark}", run.scenario, run.round, run.target);
        }
    }
    out
}

/// One outcome in a line.
pub fn line(outcome: &Outcome) -> String {
    let number = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.2}"));
    match outcome {
        Outcome::Fanout(fanout) => format!(
            "{} µs CPU a delivery, p50 {} ms, p99 {} ms, {:.0} deliveries/s{}",
            number(fanout.cpu_us_a_delivery),
            number(fanout.delivery.map(|delivery| delivery.p50_ms)),
            number(fanout.delivery.map(|delivery| delivery.p99_ms)),
            fanout.deliveries_a_second,
            if fanout.findings.any() { ", WRONG" } else { "" },
        ),
        Outcome::Idle(idle) => format!("{:.2} KiB a connection", idle.kib_a_connection),
        Outcome::Connects(connects) => {
            format!(
                "{:.0} connects/s, {} µs CPU each",
                connects.connects_a_second,
                number(connects.cpu_us_each)
            )
        }
    }
}

/// Everything, for a program.
pub fn json(scenarios: &[Scenario], summaries: &[Summary], runs: &[Run]) -> Value {
    json!({
        "tool": concat!("hubbub-bench ", env!("CARGO_PKG_VERSION")),
        "centrifugo_version": crate::peers::centrifugo::VERSION,
        "socketio_version": crate::peers::socketio::VERSION,
        "machine": machine(),
        "scenarios": scenarios,
        "summary": summaries,
        "runs": runs,
    })
}

fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model,
        "kernel": kernel.trim(),
    })
}

fn describe(scenario: &Scenario) -> String {
    let (rooms, members) = (scenario.shape.rooms, scenario.shape.members);
    match scenario.measure {
        Measure::Fanout(load) => format!(
            "rooms {rooms} × members {members}, {} messages/s of {} bytes, {} s after {} s of warm-up",
            load.rate, load.body_bytes, load.seconds, load.warm_up_seconds
        ),
        Measure::Idle { .. } => {
            format!("rooms {rooms} × members {members}, resident memory of idle connections")
        }
        Measure::Connects { in_flight } => {
            format!("rooms {rooms} × members {members}, connect + hello + join, {in_flight} in flight")
        }
    }
}

fn header(columns: &[Column]) -> Vec<String> {
    let mut cells =
        vec!["target".to_owned(), columns[0].0.to_owned(), "× raw".to_owned(), "× centrifugo".to_owned()];
    cells.extend(columns[1..].iter().map(|column| column.0.to_owned()));
    cells
}

fn row(summary: &Summary, compared: &str, columns: &[Column]) -> Vec<String> {
    let cell = |numbers: &BTreeMap<&'static str, f64>, name: &str, decimals: usize| {
        numbers.get(name).map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let mut cells = vec![
        summary.target.clone(),
        cell(&summary.medians, columns[0].1, columns[0].2),
        cell(&summary.times_raw, compared, 2),
        cell(&summary.times_centrifugo, compared, 2),
    ];
    cells.extend(columns[1..].iter().map(|column| cell(&summary.medians, column.1, column.2)));
    cells
}

/// A table that is Markdown and also reads well as it is.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ =
                if column == 0 { write!(out, "| {cell:width$} ") } else { write!(out, "| {cell:>width$} ") };
        }
        out.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let (dashes, end) = ("-".repeat(width + 1), if column == 0 { '-' } else { ':' });
                let _ = write!(out, "|{dashes}{end}");
            }
            out.push_str("|\n");
        }
    }
    out
}

fn remark(outcome: &Outcome) -> Option<String> {
    let mut remarks = Vec::new();
    let mut of_generator = |generator: &Generator| {
        if generator.was_the_limit {
            remarks.push("the generator was itself the limit".to_owned());
        }
    };
    match outcome {
        Outcome::Fanout(fanout) => {
            of_generator(&fanout.generator);
            if let Some(other) = fanout.other_cores.filter(|&other| other > OTHER_CORES_MAX) {
                remarks.push(format!("other work took {other:.1} cores meanwhile"));
            }
            if fanout.findings.any() {
                let found = fanout.findings;
                remarks.push(format!(
                    "WRONG: {} lost, {} doubled, {} reordered, {} gaps, {} strange",
                    found.lost, found.doubled, found.reordered, found.gaps, found.strange
                ));
            }
            if fanout.refused + fanout.unanswered + fanout.connections_lost > 0 {
                remarks.push(format!(
                    "{} sends refused, {} unanswered, {} connections lost",
                    fanout.refused, fanout.unanswered, fanout.connections_lost
                ));
            }
            remarks.extend(fanout.trouble.clone());
        }
        Outcome::Connects(connects) => {
            of_generator(&connects.generator);
            remarks.extend(connects.trouble.clone());
        }
        Outcome::Idle(_) => {}
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

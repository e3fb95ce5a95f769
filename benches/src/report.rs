//! Results for a person and for a program. The page that shows them is in [`html`].

pub mod about;
pub mod file;
pub mod html;
mod plot;
mod remark;

use std::collections::BTreeMap;
use std::fmt::Write;

use about::About;
use serde_json::{Value, json};

use crate::compare::{BASES, Run, Summary};
use crate::load::beside::Visitors;
use crate::load::outcome::{Outcome, Quantiles};
use crate::scenario::{Measure, Profile, Scenario};
use remark::remark;

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
        ("held messages/s", "held_rate", 0),
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

const RECONNECTS: (&str, &[Column]) = (
    "whole_max_ms",
    &[
        ("all whole ms", "whole_max_ms", 0),
        ("p50 ms", "whole_p50_ms", 0),
        ("p99 ms", "whole_p99_ms", 0),
        ("hello p99 ms", "greeted_p99_ms", 0),
        ("CPU µs each", "cpu_us_each", 1),
        ("missed", "missed", 0),
        ("refused", "refused", 0),
        ("failed", "failed", 0),
        ("generator cores", "generator_cores", 2),
        ("late p99 ms", "lateness_p99_ms", 2),
    ],
);

/// The tables of all scenarios, and below them what was wrong.
pub fn tables(scenarios: &[Scenario], summaries: &[Summary], runs: &[Run]) -> String {
    let mut out = String::new();
    for scenario in scenarios {
        let (compared, columns) = of_kind(&scenario.measure);
        let summaries: Vec<_> =
            summaries.iter().filter(|summary| summary.scenario == scenario.name).collect();
        // What nobody has is no column: the database of one who has none, the steps of a steady load.
        let known = |name: &str| summaries.iter().any(|summary| summary.medians.contains_key(name));
        let columns: Vec<Column> = columns
            .iter()
            .enumerate()
            .filter(|(at, column)| *at == 0 || known(column.1))
            .map(|(_, column)| *column)
            .collect();
        let bases: Vec<&str> = BASES
            .into_iter()
            .filter(|base| summaries.iter().any(|summary| summary.target == *base))
            .collect();
        let mut rows = vec![header(&columns, &bases)];
        rows.extend(summaries.iter().map(|summary| row(summary, compared, &columns, &bases)));
        // Writing to a String can't fail.
        let _ = writeln!(out, "\n{}: {}\n", scenario.name, describe(scenario));
        out.push_str(&aligned(&rows));
    }
    for run in runs {
        let of = format!("{} round {} {}", run.scenario, run.round, run.target);
        if let Outcome::Fanout(fanout) = &run.outcome {
            for step in &fanout.steps {
                let p99 = step.delivery.map_or(0.0, |delivery| delivery.p99_ms);
                let held = match (&step.not_held, step.generator_was_the_limit) {
                    (None, _) => "held".to_owned(),
                    (Some(why), true) => format!("not known: {why}"),
                    (Some(why), false) => format!("not held: {why}"),
                };
                let _ = write!(
                    out,
                    "\n{of}: {:.0} messages/s, {:.0} deliveries/s, p99 {p99:.1} ms: {held}",
                    step.messages_a_second, step.deliveries_a_second
                );
            }
            out.push_str(&beside(&of, &fanout.visitors));
        }
        if let Some(remark) = remark(&run.outcome) {
            let _ = write!(out, "\n{of}: {remark}");
        }
        for fault in run.outcome.faults() {
            let _ = write!(out, "\n{of}: {fault}");
        }
    }
    out
}

/// The number that is compared, and the columns.
fn of_kind(measure: &Measure) -> (&'static str, &'static [Column]) {
    match measure {
        Measure::Fanout(_) => FANOUT,
        Measure::Idle { .. } => IDLE,
        Measure::Connects { .. } => CONNECTS,
        Measure::Reconnects { .. } => RECONNECTS,
    }
}

/// What went on beside, a line each.
fn beside(of: &str, visitors: &Visitors) -> String {
    let ms = |quantiles: Option<Quantiles>| {
        quantiles.map_or("-".to_owned(), |ms| format!("p50 {:.1}, p99 {:.1} ms", ms.p50_ms, ms.p99_ms))
    };
    let Visitors { idle, visits, visits_failed, pages, commands, asks_failed, slow_readers, .. } = visitors;
    let Visitors { visits_unfinished, visits_unanswered, .. } = visitors;
    let mut out = String::new();
    let mut say = |happened: bool, line: String| {
        if happened {
            let _ = write!(out, "\n{of}: {line}");
        }
    };
    say(*idle > 0, format!("{idle} idled"));
    say(
        visits + visits_failed > 0,
        format!("{visits} visits, {}, {visits_failed} failed", ms(visitors.arrival)),
    );
    say(
        *visits_unfinished > 0,
        format!(
            "{visits_unfinished} visits under way at the end, {visits_unanswered} of them without an answer yet"
        ),
    );
    say(visitors.page.is_some(), format!("{pages} pages of history, {}", ms(visitors.page)));
    say(visitors.command.is_some(), format!("{commands} commands, {}", ms(visitors.command)));
    say(*asks_failed > 0, format!("{asks_failed} pages and commands failed"));
    let (behind, closed) = (visitors.told_behind, visitors.slow_closed);
    say(
        *slow_readers > 0,
        format!("{slow_readers} slow readers, told behind {behind} times, {closed} closed"),
    );
    say(
        !visitors.left_out.is_empty(),
        format!("left out, for the generator can't ask it of this target: {}", visitors.left_out.join(", ")),
    );
    say(visitors.trouble.is_some(), visitors.trouble.clone().unwrap_or_default());
    out
}

/// One outcome in a line.
pub fn line(outcome: &Outcome) -> String {
    let number = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.2}"));
    let wrong = if outcome.wrong().is_some() { ", WRONG" } else { "" };
    match outcome {
        Outcome::Fanout(fanout) => format!(
            "{} µs CPU a delivery, p50 {} ms, p99 {} ms, {:.0} deliveries/s{}",
            number(fanout.cpu_us_a_delivery),
            number(fanout.delivery.map(|delivery| delivery.p50_ms)),
            number(fanout.delivery.map(|delivery| delivery.p99_ms)),
            fanout.deliveries_a_second,
            wrong,
        ),
        Outcome::Reconnects(reconnects) => format!(
            "{} connections whole within {} ms, having missed {} messages{}",
            reconnects.connections - reconnects.failed,
            number(reconnects.whole.map(|whole| whole.max_ms)),
            reconnects.missed,
            wrong,
        ),
        Outcome::Idle(idle) => format!("{:.2} KiB a connection", idle.kib_a_connection),
        Outcome::Connects(connects) => {
            format!(
                "{:.0} connects/s, {} µs CPU each{wrong}",
                connects.connects_a_second,
                number(connects.cpu_us_each)
            )
        }
    }
}

/// Everything, for a program. `complete`: all that was asked for was measured.
pub fn json(
    about: &About,
    complete: bool,
    scenarios: &[Scenario],
    summaries: &[Summary],
    runs: &[Run],
) -> Value {
    json!({
        "about": about,
        "machine": machine(),
        "complete": complete,
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

/// A scenario in a line.
fn describe(scenario: &Scenario) -> String {
    let (rooms, members) = (scenario.shape.rooms, scenario.shape.members);
    let what = match scenario.measure {
        Measure::Fanout(load) => {
            let rate = match load.profile {
                Profile::Steady => load.rate.to_string(),
                Profile::Ramp { to } => format!("{} to {to}", load.rate),
                Profile::Steps { factor, .. } => format!("{}, × {factor} each step,", load.rate),
            };
            format!(
                "{rate} messages/s of {} bytes, {} s after {} s of warm-up",
                load.body_bytes, load.seconds, load.warm_up_seconds
            )
        }
        Measure::Idle { .. } => "resident memory of idle connections".to_owned(),
        Measure::Connects { in_flight } => format!("connect + hello + join, {in_flight} in flight"),
        Measure::Reconnects { rate, away_seconds, .. } => {
            format!(
                "all but one of each room cut at once, back after {away_seconds} s, {rate} messages/s meanwhile"
            )
        }
    };
    format!("rooms {rooms} × members {members}, {what}")
}

fn header(columns: &[Column], bases: &[&str]) -> Vec<String> {
    let mut cells = vec!["target".to_owned(), columns[0].0.to_owned()];
    cells.extend(bases.iter().map(|base| format!("× {base}")));
    cells.extend(columns[1..].iter().map(|column| column.0.to_owned()));
    cells
}

fn row(summary: &Summary, compared: &str, columns: &[Column], bases: &[&str]) -> Vec<String> {
    let cell = |numbers: Option<&BTreeMap<&'static str, f64>>, name: &str, decimals: usize| {
        let value = numbers.and_then(|numbers| numbers.get(name));
        value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let medians = Some(&summary.medians);
    let mut cells = vec![summary.target.clone(), cell(medians, columns[0].1, columns[0].2)];
    cells.extend(bases.iter().map(|base| cell(summary.times.get(base), compared, 2)));
    cells.extend(columns[1..].iter().map(|column| cell(medians, column.1, column.2)));
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

#[cfg(test)]
mod tests;

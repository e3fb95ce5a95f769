//! Results as one page: no script, no style sheet, no font and no picture from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::plot::{Across, Line, bars, lines, number};
use super::{Column, beside, describe, of_kind, remark};
use crate::compare::Run;
use crate::load::outcome::Outcome;
use crate::load::series::Sample;
use crate::scenario::Scenario;

const STYLE: &str = include_str!("style.css");

/// A result as it is in its file.
#[derive(Debug, Deserialize)]
struct Stored {
    tool: String,
    machine: Machine,
    scenarios: Vec<Scenario>,
    summary: Vec<Medians>,
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    cores: usize,
    cpu: Option<String>,
    kernel: String,
}

#[derive(Debug, Deserialize)]
struct Medians {
    scenario: String,
    target: String,
    medians: BTreeMap<String, f64>,
}

/// A line over time: whether it is dashed, what it is of, and the number.
type Curve<'a> = (bool, &'a str, fn(&Sample) -> Option<f64>);

/// A target of a result: a row of tables, a color of plots.
struct Entrant<'a> {
    name: String,
    medians: &'a BTreeMap<String, f64>,
    runs: Vec<&'a Run>,
}

/// Reads results and writes the page.
pub fn write(results: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)?;
        let stored: Stored = serde_json::from_str(&text).context("not a result of this version")?;
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        anyhow::Ok((stem, stored))
    };
    let stored: Vec<(String, Stored)> = results
        .iter()
        .map(|path| read(path).with_context(|| format!("reading {}", path.display())))
        .collect::<anyhow::Result<_>>()?;
    std::fs::write(output, page(&stored)).with_context(|| format!("writing {}", output.display()))?;
    eprintln!("{}", output.display());
    Ok(())
}

fn page(results: &[(String, Stored)]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>hubbub-bench</title><style>{STYLE}</style><h1>hubbub-bench</h1>"
    );
    for (stem, result) in results {
        let Machine { cores, cpu, kernel } = &result.machine;
        // Writing to a String can't fail.
        let _ = write!(
            out,
            "<p class=\"about\"><b>{}</b>: {}, {cores} cores, {}, Linux {}</p>",
            escaped(stem),
            escaped(&result.tool),
            escaped(cpu.as_deref().unwrap_or("an unknown processor")),
            escaped(kernel)
        );
    }
    let mut seen: Vec<&str> = Vec::new();
    for (_, result) in results {
        for scenario in &result.scenarios {
            if !seen.contains(&scenario.name.as_str()) {
                seen.push(&scenario.name);
                out.push_str(&section(scenario, &entrants(results, &scenario.name)));
            }
        }
    }
    out.push_str("</html>\n");
    out
}

fn entrants<'a>(results: &'a [(String, Stored)], scenario: &str) -> Vec<Entrant<'a>> {
    let mut entrants = Vec::new();
    let has = |(_, result): &&(String, Stored)| result.scenarios.iter().any(|of| of.name == scenario);
    let several = results.iter().filter(has).count() > 1;
    for (stem, result) in results {
        for row in result.summary.iter().filter(|row| row.scenario == scenario) {
            // The file's name only where it tells two apart.
            let name = if several { format!("{stem}: {}", row.target) } else { row.target.clone() };
            let of = |run: &&Run| run.scenario == scenario && run.target == row.target;
            entrants.push(Entrant {
                name,
                medians: &row.medians,
                runs: result.runs.iter().filter(of).collect(),
            });
        }
    }
    entrants
}

fn section(scenario: &Scenario, entrants: &[Entrant<'_>]) -> String {
    let (compared, columns) = of_kind(&scenario.measure);
    let mut out = format!(
        "<section><h2>{}</h2><p>{}</p><p class=\"about\">{}</p>",
        escaped(&scenario.name),
        escaped(&scenario.about),
        escaped(&describe(scenario))
    );
    out.push_str(&table(columns, entrants));
    out.push_str("<div class=\"plots\">");
    let colored = || entrants.iter().enumerate();
    let title = columns.iter().find(|column| column.1 == compared).map_or(compared, |column| column.0);
    let compare: Vec<_> = colored()
        .filter_map(|(color, entrant)| Some((entrant.name.clone(), color, *entrant.medians.get(compared)?)))
        .collect();
    out.push_str(&bars(title, "median of the rounds", &compare));
    let over_time = |of: &[Curve<'_>]| -> Vec<Line> {
        colored()
            .flat_map(|(color, entrant)| {
                let series = middle(&entrant.runs).map_or(&[][..], |run| run.outcome.series());
                of.iter().map(move |(dashed, what, value)| Line {
                    name: format!("{} {what}", entrant.name),
                    color,
                    dashed: *dashed,
                    points: series.iter().filter_map(|at| Some((at.at, value(at)?))).collect(),
                })
            })
            .filter(|line| !line.points.is_empty())
            .collect()
    };
    for (title, unit, of) in [
        (
            "latency over time, p99 and (dashed) p50",
            "ms",
            &[
                (false, "p99", (|at| Some(at.delivery?.p99_ms)) as fn(&Sample) -> Option<f64>),
                (true, "p50", |at| Some(at.delivery?.p50_ms)),
            ][..],
        ),
        ("deliveries", "a second", &[(false, "", |at| Some(at.deliveries))]),
        (
            "CPU of the server and (dashed) of the generator",
            "cores",
            &[(false, "server", |at| at.server_cores), (true, "generator", |at| Some(at.generator_cores))],
        ),
        ("memory of the server", "MiB", &[(false, "", |at| at.rss_mib)]),
        ("acknowledged after, p99", "ms", &[(false, "", |at| Some(at.ack?.p99_ms))]),
    ] {
        out.push_str(&lines(title, unit, Across::Time, &over_time(of)));
    }
    let curves: Vec<Line> = colored()
        .filter_map(|(color, entrant)| match &middle(&entrant.runs)?.outcome {
            Outcome::Fanout(fanout) => {
                Some(Line { name: entrant.name.clone(), color, dashed: false, points: fanout.curve.clone() })
            }
            _ => None,
        })
        .collect();
    out.push_str(&lines("latency by quantile", "ms", Across::Quantile, &curves));
    out.push_str("</div>");
    for entrant in entrants {
        out.push_str(&steps(entrant));
        for run in &entrant.runs {
            if let Outcome::Fanout(fanout) = &run.outcome {
                let of = format!("{} round {}", entrant.name, run.round);
                for line in beside(&of, &fanout.visitors).lines().filter(|line| !line.is_empty()) {
                    let _ = write!(out, "<p class=\"about\">{}</p>", escaped(line));
                }
            }
            if let Some(remark) = remark(&run.outcome) {
                let _ = write!(
                    out,
                    "<p class=\"remark\"><b>{}</b>, round {}: {}</p>",
                    escaped(&entrant.name),
                    run.round,
                    escaped(&remark)
                );
            }
            for fault in run.outcome.faults() {
                let _ = write!(out, "<p class=\"remark\">{}</p>", escaped(&fault.to_string()));
            }
        }
    }
    out.push_str("</section>");
    out
}

fn table(columns: &[Column], entrants: &[Entrant<'_>]) -> String {
    let known = |column: &&Column| entrants.iter().any(|entrant| entrant.medians.contains_key(column.1));
    let columns: Vec<&Column> = columns.iter().filter(known).collect();
    let mut out = "<table><tr><th>".to_owned();
    for column in &columns {
        let _ = write!(out, "<th>{}", escaped(column.0));
    }
    for (color, entrant) in entrants.iter().enumerate() {
        let _ = write!(out, "<tr><td><i class=\"key b{}\"></i>{}", color % 8, escaped(&entrant.name));
        for column in &columns {
            let value = entrant.medians.get(column.1);
            let cell = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.*}", column.2));
            let _ = write!(out, "<td>{cell}");
        }
    }
    out.push_str("</table>");
    out
}

fn steps(entrant: &Entrant<'_>) -> String {
    let Some(Outcome::Fanout(fanout)) = middle(&entrant.runs).map(|run| &run.outcome) else {
        return String::new();
    };
    if fanout.steps.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "<h3>{}, step by step</h3><table><tr><th>messages/s<th>deliveries/s<th>p50 ms<th>p99 ms<th>CPU µs/delivery<th>held",
        escaped(&entrant.name)
    );
    for step in &fanout.steps {
        let ms = |of: fn(&crate::load::outcome::Quantiles) -> f64| {
            step.delivery.as_ref().map_or_else(|| "–".to_owned(), |delivery| number(of(delivery)))
        };
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            number(step.rate),
            number(step.deliveries_a_second),
            ms(|ms| ms.p50_ms),
            ms(|ms| ms.p99_ms),
            step.cpu_us_a_delivery.map_or_else(|| "–".to_owned(), number),
            escaped(step.not_held.as_deref().unwrap_or("yes"))
        );
    }
    out.push_str("</table>");
    out
}

/// The round that stands for all of them in a plot over time: the middle one.
fn middle<'a>(runs: &[&'a Run]) -> Option<&'a Run> {
    runs.get(runs.len().saturating_sub(1) / 2).copied()
}

/// Text that means nothing else in a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

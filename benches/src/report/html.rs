//! Results as one page: no script, no style sheet, no font and no picture from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::about::{About, FORMAT};
use super::plot::{Across, Line, bars, lines, number};
use super::{Column, beside, describe, of_kind, remark};
use crate::compare::{BASES, Run, numbers};
use crate::load::outcome::Outcome;
use crate::load::series::Sample;
use crate::scenario::Scenario;

const STYLE: &str = include_str!("style.css");

/// A result as it is in its file.
#[derive(Debug, Deserialize)]
struct Stored {
    about: About,
    complete: bool,
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
    times: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A line over time: whether it is dashed, what it is of, and the number.
type Curve<'a> = (bool, &'a str, fn(&Sample) -> Option<f64>);

/// A target of a result: a row of tables, a color of plots.
struct Entrant<'a> {
    name: String,
    medians: &'a BTreeMap<String, f64>,
    times: &'a BTreeMap<String, BTreeMap<String, f64>>,
    runs: Vec<&'a Run>,
}

/// Reads results and writes the page.
pub fn write(results: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let stored = results.iter().map(|path| read(path).with_context(|| format!("reading {}", path.display())));
    let stored: Vec<Stored> = stored.collect::<anyhow::Result<_>>()?;
    let labeled: Vec<(String, Stored)> = labels(results).into_iter().zip(stored).collect();
    std::fs::write(output, page(&labeled)).with_context(|| format!("writing {}", output.display()))?;
    eprintln!("{}", output.display());
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Stored> {
    let value: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path)?).context("not a result")?;
    let format = value["about"]["format"].as_u64();
    ensure!(
        format == Some(FORMAT.into()),
        "a result of another version ({}), of which numbers may mean something else: measure again",
        value["about"]["tool"].as_str().or(value["tool"].as_str()).unwrap_or("unknown")
    );
    serde_json::from_value(value).context("not a result")
}

/// How results are called: by their files' names, with folders where two are alike, and with a number where those are too.
fn labels(results: &[PathBuf]) -> Vec<String> {
    let stem =
        |path: &Path| path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let stems: Vec<String> = results.iter().map(|path| stem(path)).collect();
    let mut labels: Vec<String> = Vec::new();
    for (path, stem) in results.iter().zip(&stems) {
        let alike = stems.iter().filter(|other| *other == stem).count() > 1;
        let label = if alike { path.with_extension("").display().to_string() } else { stem.clone() };
        let again = (2..).map(|n| format!("{label} ({n})")).find(|again| !labels.contains(again));
        let is_new = !labels.contains(&label);
        labels.push(if is_new { label } else { again.unwrap_or_default() });
    }
    labels
}

fn page(results: &[(String, Stored)]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>hubbub-bench</title><style>{STYLE}</style><h1>hubbub-bench</h1>"
    );
    for (label, Stored { about, complete, machine, .. }) in results {
        let Machine { cores, cpu, kernel } = machine;
        let versions: Vec<&str> = about.targets.iter().filter_map(|of| of.version.as_deref()).collect();
        // Writing to a String can't fail.
        let _ = write!(
            out,
            "<p class=\"about\"><b>{}</b>{}: {} on {}, {cores} cores, {}, Linux {}; {}<br><code>{}</code></p>",
            escaped(label),
            if *complete { "" } else { " (not all that was asked for)" },
            escaped(&about.tool),
            escaped(&about.began),
            escaped(cpu.as_deref().unwrap_or("an unknown processor")),
            escaped(kernel),
            escaped(&versions.join(", ")),
            escaped(&about.command.join(" "))
        );
    }
    // One section for what is the same load, whatever it is called; of those that share a name each says whose it is.
    let mut seen: Vec<&Scenario> = Vec::new();
    for (label, result) in results {
        for scenario in &result.scenarios {
            if !seen.contains(&scenario) {
                let is_named = seen.iter().any(|other| other.name == scenario.name);
                seen.push(scenario);
                let heading =
                    if is_named { format!("{} ({label})", scenario.name) } else { scenario.name.clone() };
                out.push_str(&section(&heading, scenario, &entrants(results, scenario)));
            }
        }
    }
    out.push_str("</html>\n");
    out
}

fn entrants<'a>(results: &'a [(String, Stored)], scenario: &Scenario) -> Vec<Entrant<'a>> {
    let mut entrants = Vec::new();
    let has = |(_, result): &&(String, Stored)| result.scenarios.contains(scenario);
    let several = results.iter().filter(has).count() > 1;
    for (label, result) in results.iter().filter(has) {
        for row in result.summary.iter().filter(|row| row.scenario == scenario.name) {
            // The result's name only where it tells two apart.
            let name = if several { format!("{label}: {}", row.target) } else { row.target.clone() };
            let of = |run: &&Run| run.scenario == scenario.name && run.target == row.target;
            entrants.push(Entrant {
                name,
                medians: &row.medians,
                times: &row.times,
                runs: result.runs.iter().filter(of).collect(),
            });
        }
    }
    entrants
}

fn section(heading: &str, scenario: &Scenario, entrants: &[Entrant<'_>]) -> String {
    let (compared, columns) = of_kind(&scenario.measure);
    let mut out = format!(
        "<section><h2>{}</h2><p>{}</p><p class=\"about\">{}</p>",
        escaped(heading),
        escaped(&scenario.about),
        escaped(&describe(scenario))
    );
    out.push_str(&table(compared, columns, entrants));
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
                let series = middle(entrant, compared).map_or(&[][..], |run| run.outcome.series());
                of.iter().map(move |(dashed, what, value)| Line {
                    name: format!("{} {what}", entrant.name),
                    color,
                    dashed: *dashed,
                    points: series.iter().filter_map(|at| Some((at.at_s, value(at)?))).collect(),
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
        ("deliveries", "a second", &[(false, "", |at| Some(at.deliveries_a_second))]),
        (
            "CPU of the server and (dashed) of the generator",
            "cores",
            &[(false, "server", |at| at.server_cores), (true, "generator", |at| Some(at.generator_cores))],
        ),
        ("how late the generator sent", "ms", &[(false, "", |at| Some(at.late_ms))]),
        ("memory of the server", "MiB", &[(false, "", |at| at.rss_mib)]),
        ("acknowledged after, p99", "ms", &[(false, "", |at| Some(at.ack?.p99_ms))]),
    ] {
        out.push_str(&lines(title, unit, Across::Time, &over_time(of)));
    }
    let curves: Vec<Line> = colored()
        .filter_map(|(color, entrant)| match &middle(entrant, compared)?.outcome {
            Outcome::Fanout(fanout) => {
                Some(Line { name: entrant.name.clone(), color, dashed: false, points: fanout.curve.clone() })
            }
            _ => None,
        })
        .collect();
    out.push_str(&lines("latency by quantile", "ms", Across::Quantile, &curves));
    out.push_str("</div>");
    for entrant in entrants {
        out.push_str(&steps(entrant, compared));
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

fn table(compared: &str, columns: &[Column], entrants: &[Entrant<'_>]) -> String {
    let known = |column: &&Column| entrants.iter().any(|entrant| entrant.medians.contains_key(column.1));
    let columns: Vec<&Column> = columns.iter().filter(known).collect();
    // What can be carried away from the machine stands right behind the number that it is of.
    let ratio = |entrant: &Entrant<'_>, base: &str| entrant.times.get(base)?.get(compared).copied();
    let has = |base: &&str| entrants.iter().any(|entrant| ratio(entrant, base).is_some());
    let bases: Vec<&str> = BASES.into_iter().filter(has).collect();
    let mut out = "<table><tr><th>".to_owned();
    for column in &columns {
        let _ = write!(out, "<th>{}", escaped(column.0));
        if column.1 == compared {
            bases.iter().for_each(|base| _ = write!(out, "<th>× {base}"));
        }
    }
    let cell = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "<td>–".to_owned(), |value| format!("<td>{value:.decimals$}"))
    };
    for (color, entrant) in entrants.iter().enumerate() {
        let _ = write!(out, "<tr><td><i class=\"key b{}\"></i>{}", color % 8, escaped(&entrant.name));
        for column in &columns {
            out.push_str(&cell(entrant.medians.get(column.1).copied(), column.2));
            if column.1 == compared {
                bases.iter().for_each(|base| out.push_str(&cell(ratio(entrant, base), 2)));
            }
        }
    }
    out.push_str("</table>");
    out
}

fn steps(entrant: &Entrant<'_>, compared: &str) -> String {
    let Some(Outcome::Fanout(fanout)) = middle(entrant, compared).map(|run| &run.outcome) else {
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
            number(step.messages_a_second),
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

/// The round that stands for all of them in a plot over time: the one whose number is nearest to the median that is compared.
fn middle<'a>(entrant: &Entrant<'a>, compared: &str) -> Option<&'a Run> {
    let median = entrant.medians.get(compared).copied();
    let far = |run: &Run| {
        let value =
            numbers(&run.outcome).into_iter().find(|(name, _)| *name == compared).map(|(_, value)| value);
        value.zip(median).map_or(0.0, |(value, median)| (value - median).abs())
    };
    entrant.runs.iter().copied().min_by(|one, other| far(one).total_cmp(&far(other)))
}

/// Text that means nothing else in a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

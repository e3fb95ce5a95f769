//! Targets side by side: interleaved in rounds, so that what else the machine does hits all of them alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::load::outcome::Outcome;
use crate::load::thread::measure;
use crate::scenario::Scenario;
use crate::targets::live::{Settings, Target};
use crate::view::View;

/// A target and the name it has in tables.
#[derive(Debug, Clone)]
pub struct Named {
    /// As given on the command line.
    pub name: String,
    /// What it is.
    pub target: Target,
}

/// The targets to which others are compared, where they were measured too.
pub const BASES: [&str; 3] = ["raw", "centrifugo", "socketio-node"];

/// One measurement of one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// 1, 2, 3 …
    pub round: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The target's.
    pub target: String,
    /// What came out.
    pub outcome: Outcome,
}

/// The medians of a target in a scenario, and how they compare.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The target's.
    pub target: String,
    /// Median over the rounds, by the name of the number.
    pub medians: BTreeMap<&'static str, f64>,
    /// Medians over those of each of the [`BASES`].
    pub times: BTreeMap<&'static str, BTreeMap<&'static str, f64>>,
}

/// Runs every scenario on every target, round by round. A measurement that can't be made ends it all.
pub fn run(
    targets: &[Named],
    scenarios: &[Scenario],
    rounds: u32,
    settings: &Settings,
) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for scenario in scenarios {
        for round in 1..=rounds {
            for Named { name, target } in targets {
                let view = View::new(format!("{:10} round {round}/{rounds} {name:24}", scenario.name));
                let outcome = measure(target.clone(), settings.clone(), scenario.clone(), view.clone())
                    .inspect_err(|_| view.finish("failed"))
                    .map_err(|error| error.context(format!("{name} in {}", scenario.name)))?;
                view.finish(&crate::report::line(&outcome));
                runs.push(Run { round, scenario: scenario.name.clone(), target: name.clone(), outcome });
            }
        }
    }
    Ok(runs)
}

/// The medians of all runs, in the order of scenarios and targets.
pub fn summarise(targets: &[Named], scenarios: &[Scenario], runs: &[Run]) -> Vec<Summary> {
    let mut summaries = Vec::new();
    for scenario in scenarios {
        let medians_of = |target: &str| {
            let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
            for run in runs.iter().filter(|run| run.scenario == scenario.name && run.target == target) {
                for (name, value) in numbers(&run.outcome) {
                    values.entry(name).or_default().push(value);
                }
            }
            values.into_iter().filter_map(|(name, values)| Some((name, median(values)?))).collect()
        };
        let bases = BASES.map(|base| (base, medians_of(base)));
        for Named { name, .. } in targets {
            let medians: BTreeMap<&'static str, f64> = medians_of(name);
            summaries.push(Summary {
                scenario: scenario.name.clone(),
                target: name.clone(),
                times: bases.iter().map(|(base, of)| (*base, ratios(&medians, of))).collect(),
                medians,
            });
        }
    }
    summaries
}

/// The numbers of an outcome that are compared.
fn numbers(outcome: &Outcome) -> Vec<(&'static str, f64)> {
    let numbers = match outcome {
        Outcome::Fanout(fanout) => vec![
            ("cpu_us_a_delivery", fanout.cpu_us_a_delivery),
            ("cpu_us_a_message", fanout.cpu_us_a_message),
            ("database_cpu_us_a_delivery", fanout.database_cpu_us_a_delivery),
            ("server_cores", fanout.server_cores),
            ("other_cores", fanout.other_cores),
            ("rss_mib", fanout.rss_mib),
            ("deliveries_a_second", Some(fanout.deliveries_a_second)),
            ("bytes_a_delivery", Some(fanout.bytes_a_delivery)),
            ("delivery_p50_ms", fanout.delivery.map(|delivery| delivery.p50_ms)),
            ("delivery_p99_ms", fanout.delivery.map(|delivery| delivery.p99_ms)),
            ("ack_p50_ms", fanout.ack.map(|ack| ack.p50_ms)),
            ("ack_p99_ms", fanout.ack.map(|ack| ack.p99_ms)),
            ("generator_cores", Some(fanout.generator.core_share)),
            // A load that grows and was not held at all is held at none: left out, the median would be that of the good rounds.
            ("held_rate", fanout.held_rate()),
            ("lateness_p99_ms", fanout.generator.lateness.map(|lateness| lateness.p99_ms)),
        ],
        Outcome::Idle(idle) => vec![
            ("kib_a_connection", Some(idle.kib_a_connection)),
            ("kib_a_connection_second_half", Some(idle.kib_a_connection_second_half)),
            ("rss_after_kib", Some(idle.rss_after_kib as f64)),
        ],
        Outcome::Reconnects(reconnects) => vec![
            ("whole_p50_ms", reconnects.whole.map(|whole| whole.p50_ms)),
            ("whole_p99_ms", reconnects.whole.map(|whole| whole.p99_ms)),
            ("whole_max_ms", reconnects.whole.map(|whole| whole.max_ms)),
            ("greeted_p99_ms", reconnects.greeted.map(|greeted| greeted.p99_ms)),
            ("cpu_us_each", reconnects.cpu_us_each),
            ("missed", Some(reconnects.missed as f64)),
            ("refused", Some(reconnects.refused as f64)),
            ("failed", Some(reconnects.failed as f64)),
            ("generator_cores", Some(reconnects.generator.core_share)),
            ("lateness_p99_ms", reconnects.generator.lateness.map(|lateness| lateness.p99_ms)),
        ],
        Outcome::Connects(connects) => vec![
            ("cpu_us_each", connects.cpu_us_each),
            ("connects_a_second", Some(connects.connects_a_second)),
            ("latency_p50_ms", connects.latency.map(|latency| latency.p50_ms)),
            ("latency_p99_ms", connects.latency.map(|latency| latency.p99_ms)),
            ("failed", Some(connects.failed as f64)),
            ("generator_cores", Some(connects.generator.core_share)),
        ],
    };
    numbers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn ratios(of: &BTreeMap<&'static str, f64>, to: &BTreeMap<&'static str, f64>) -> BTreeMap<&'static str, f64> {
    let ratio = |(name, value): (&&'static str, &f64)| {
        let base = to.get(name).filter(|base| **base > 0.0)?;
        Some((*name, value / base))
    };
    of.iter().filter_map(ratio).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn a_ratio_to_nothing_is_left_out() {
        let of = BTreeMap::from([("a", 6.0), ("b", 1.0), ("c", 1.0)]);
        let to = BTreeMap::from([("a", 3.0), ("b", 0.0)]);
        assert_eq!(ratios(&of, &to), BTreeMap::from([("a", 2.0)]));
    }
}

//! Targets side by side: interleaved in rounds, so that what else the machine does hits all of them alike.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
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

/// Refuses what can't be told apart in tables, and targets that are not there: before anything is measured.
pub fn check(targets: &[Named], scenarios: &[Scenario], settings: &Settings) -> anyhow::Result<()> {
    let twice = |names: &[&str]| {
        names
            .iter()
            .enumerate()
            .find(|(at, name)| names[..*at].contains(name))
            .map(|(_, name)| (*name).to_owned())
    };
    let of_scenarios: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    if let Some(name) = twice(&of_scenarios) {
        bail!("two scenarios have the name {name}: give one of the files another name");
    }
    let of_targets: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    if let Some(name) = twice(&of_targets) {
        bail!("the target {name} is named twice: --rounds says how often each is measured");
    }
    targets.iter().try_for_each(|Named { name, target }| target.check(settings).context(name.clone()))
}

/// Runs every scenario on every target, round by round. A measurement that can't be made ends it all; `keep` is given what was
/// measured until then each time that there is more of it.
pub fn run(
    targets: &[Named],
    scenarios: &[Scenario],
    rounds: u32,
    settings: &Settings,
    keep: &mut dyn FnMut(&[Run]) -> anyhow::Result<()>,
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
                keep(&runs)?;
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
        // Who left something out did less, and to less there is no ratio.
        let left_out_by = |target: &str| -> BTreeSet<&str> {
            let of = |run: &&Run| run.scenario == scenario.name && run.target == target;
            runs.iter().filter(of).flat_map(|run| run.outcome.left_out()).map(String::as_str).collect()
        };
        let bases = BASES.map(|base| (base, medians_of(base), left_out_by(base)));
        for Named { name, .. } in targets {
            let (medians, left_out): (BTreeMap<&'static str, f64>, _) = (medians_of(name), left_out_by(name));
            let like = bases.iter().filter(|(.., by_base)| *by_base == left_out);
            summaries.push(Summary {
                scenario: scenario.name.clone(),
                target: name.clone(),
                times: like.map(|(base, of, _)| (*base, ratios(&medians, of))).collect(),
                medians,
            });
        }
    }
    summaries
}

/// The numbers of an outcome that are compared.
pub(crate) fn numbers(outcome: &Outcome) -> Vec<(&'static str, f64)> {
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

    fn settings() -> Settings {
        Settings {
            work_dir: "/nowhere".into(),
            own_binary: "/bin/true".into(),
            centrifugo_binary: "/nowhere/centrifugo".into(),
            hubbub_args: Vec::new(),
            keys: true,
            users: None,
            jwt_secret: None,
            event_bytes: 255,
            patience: std::time::Duration::from_secs(1),
        }
    }

    #[test]
    fn two_of_one_name_and_peers_that_are_not_there_are_refused() {
        let named = |name: &str, target| Named { name: name.to_owned(), target };
        let idle = |name| {
            let shape = crate::scenario::Shape { rooms: 1, members: 1 };
            Scenario::plain(name, shape, crate::scenario::Measure::Idle { settle_seconds: 0 })
        };
        let raw = || named("raw", Target::Raw);
        let says = |targets: &[Named], scenarios: &[Scenario]| {
            check(targets, scenarios, &settings()).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(says(&[raw()], &[idle("a"), idle("b")]), Ok(()));
        for (targets, scenarios, why) in [
            (vec![raw()], vec![idle("a"), idle("a")], "two scenarios have the name a"),
            (vec![raw(), raw()], vec![idle("a")], "raw is named twice"),
            (vec![named("x", Target::Centrifugo { history: true })], vec![idle("a")], "centrifugo install"),
            (vec![named("x", Target::SocketIoNode)], vec![idle("a")], "socketio install"),
            (vec![named("x", Target::HubbubBinary("/nowhere/hubbub".into()))], vec![idle("a")], "no program"),
        ] {
            let said = says(&targets, &scenarios).expect_err(why);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn there_is_no_ratio_to_who_left_something_out() {
        let outcome = |left_out: &[&str]| {
            let left_out = left_out.iter().map(|what| (*what).to_owned()).collect();
            let visitors = crate::load::beside::Visitors { left_out, ..Default::default() };
            let fanout = crate::load::outcome::tests::stepped(Vec::new());
            Outcome::Fanout(Box::new(crate::load::outcome::Fanout {
                cpu_us_a_delivery: Some(2.0),
                visitors,
                ..fanout
            }))
        };
        let run = |target: &str, left_out| Run {
            round: 1,
            scenario: "day".to_owned(),
            target: target.to_owned(),
            outcome: outcome(left_out),
        };
        let runs = [
            run("raw", &["history"]),
            run("centrifugo", &["history"]),
            run("socketio-node", &[]),
            run("hubbub", &[]),
        ];
        let targets: Vec<Named> =
            runs.iter().map(|run| Named { name: run.target.clone(), target: Target::Raw }).collect();
        let shape = crate::scenario::Shape { rooms: 1, members: 1 };
        let day = Scenario::plain("day", shape, crate::scenario::Measure::Idle { settle_seconds: 0 });
        let summaries = summarise(&targets, &[day], &runs);
        let bases = |at: usize| summaries[at].times.keys().copied().collect::<Vec<_>>();
        assert_eq!((bases(1), bases(3)), (vec!["centrifugo", "raw"], vec!["socketio-node"]));
    }

    #[test]
    fn a_ratio_to_nothing_is_left_out() {
        let of = BTreeMap::from([("a", 6.0), ("b", 1.0), ("c", 1.0)]);
        let to = BTreeMap::from([("a", 3.0), ("b", 0.0)]);
        assert_eq!(ratios(&of, &to), BTreeMap::from([("a", 2.0)]));
    }
}

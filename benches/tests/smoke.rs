//! The generator against the raw server at a small size, so that neither can rot.

use std::path::PathBuf;

use hubbub_benches::compare::{Named, run, summarise};
use hubbub_benches::load::outcome::Outcome;
use hubbub_benches::report;
use hubbub_benches::scenario::{Load, Measure, Profile, Scenario, Shape};
use hubbub_benches::targets::live::{Settings, Target};

fn settings(test: &str) -> Settings {
    Settings {
        work_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test),
        own_binary: PathBuf::from(env!("CARGO_BIN_EXE_hubbub-bench")),
        centrifugo_binary: PathBuf::new(),
        hubbub_args: Vec::new(),
        keys: true,
        users: None,
        event_bytes: 255,
    }
}

fn scenario(name: &str, measure: Measure) -> Scenario {
    Scenario::plain(name, Shape { rooms: 2, members: 3 }, measure)
}

#[test]
fn every_delivery_of_the_raw_server_comes_once_and_in_order() {
    let load = Load { rate: 100, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile: Profile::Steady };
    let scenarios = [scenario("fanout", Measure::Fanout(load))];
    let targets = [Named { name: "raw".to_owned(), target: Target::Raw }];
    let runs = run(&targets, &scenarios, 1, &settings("fanout")).expect("a run");
    let Outcome::Fanout(fanout) = &runs[0].outcome else { panic!("not a fan-out: {runs:?}") };
    assert!(!fanout.findings.any(), "{fanout:?}");
    let delivered = fanout.delivery.expect("deliveries").count;
    assert_eq!((fanout.messages, delivered, fanout.connections_lost), (100, 300, 0), "{fanout:?}");
    assert_eq!(fanout.bytes_a_delivery.round(), 255.0);

    let summaries = summarise(&targets, &scenarios, &runs);
    assert_eq!(summaries[0].times["raw"].get("bytes_a_delivery"), Some(&1.0));
    let text = report::tables(&scenarios, &summaries, &runs);
    assert!(text.contains("CPU µs/delivery"), "{text}");
    assert_eq!(report::json(&scenarios, &summaries, &runs)["runs"][0]["target"], "raw");
}

#[test]
fn memory_and_connects_are_measured() {
    let scenarios = [
        scenario("idle", Measure::Idle { settle_seconds: 0 }),
        scenario("connects", Measure::Connects { in_flight: 2 }),
    ];
    let targets = [Named { name: "raw".to_owned(), target: Target::Raw }];
    let runs = run(&targets, &scenarios, 1, &settings("idle")).expect("a run");
    let (Outcome::Idle(idle), Outcome::Connects(connects)) = (&runs[0].outcome, &runs[1].outcome) else {
        panic!("not what was asked for: {runs:?}")
    };
    assert!(idle.rss_before_kib > 0 && idle.connections == 6, "{idle:?}");
    assert!(connects.failed == 0 && connects.connections == 6, "{connects:?}");
}

#[test]
fn a_server_that_cannot_start_is_an_error_that_says_why() {
    let load = Load { rate: 1, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile: Profile::Steady };
    let targets = [Named { name: "hubbub".to_owned(), target: Target::HubbubBinary("/bin/false".into()) }];
    let scenarios = [scenario("fanout", Measure::Fanout(load))];
    let error = run(&targets, &scenarios, 1, &settings("false")).expect_err("no server");
    assert!(format!("{error:#}").contains("ended at its start"), "{error:#}");
}

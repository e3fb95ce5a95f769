//! The generator against the raw server at a small size, so that neither can rot.

use std::path::PathBuf;
use std::time::Duration;

use hubbub_benches::compare::{Named, run, summarise};
use hubbub_benches::load::outcome::Outcome;
use hubbub_benches::report::about::About;
use hubbub_benches::scenario::{Beside, Load, Measure, Profile, Scenario, Shape};
use hubbub_benches::targets::live::{Settings, Target};
use hubbub_benches::{peers, report};

fn settings(test: &str) -> Settings {
    Settings {
        work_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test),
        own_binary: PathBuf::from(env!("CARGO_BIN_EXE_hubbub-bench")),
        centrifugo_binary: PathBuf::new(),
        hubbub_args: Vec::new(),
        keys: true,
        users: None,
        jwt_secret: None,
        event_bytes: 255,
        patience: Duration::from_secs(5),
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
    let runs = run(&targets, &scenarios, 1, &settings("fanout"), &mut |_| Ok(())).expect("a run");
    let Outcome::Fanout(fanout) = &runs[0].outcome else { panic!("not a fan-out: {runs:?}") };
    assert!(!fanout.findings.any(), "{fanout:?}");
    let delivered = fanout.delivery.expect("deliveries").count;
    assert_eq!((fanout.messages, delivered, fanout.connections_lost), (100, 300, 0), "{fanout:?}");
    assert_eq!(fanout.bytes_a_delivery.round(), 255.0);

    let summaries = summarise(&targets, &scenarios, &runs);
    assert_eq!(summaries[0].times["raw"].get("bytes_a_delivery"), Some(&1.0));
    let text = report::tables(&scenarios, &summaries, &runs);
    assert!(text.contains("CPU µs/delivery"), "{text}");
    let about = About::now(&targets, &settings("fanout"));
    assert_eq!(report::json(&about, true, &scenarios, &summaries, &runs)["runs"][0]["target"], "raw");
}

#[test]
fn memory_and_connects_are_measured() {
    let scenarios = [
        scenario("idle", Measure::Idle { settle_seconds: 0 }),
        scenario("connects", Measure::Connects { in_flight: 2 }),
    ];
    let targets = [Named { name: "raw".to_owned(), target: Target::Raw }];
    let runs = run(&targets, &scenarios, 1, &settings("idle"), &mut |_| Ok(())).expect("a run");
    let (Outcome::Idle(idle), Outcome::Connects(connects)) = (&runs[0].outcome, &runs[1].outcome) else {
        panic!("not what was asked for: {runs:?}")
    };
    assert!(idle.rss_before_kib > 0 && idle.connections == 6, "{idle:?}");
    assert!(connects.failed == 0 && connects.connections == 6, "{connects:?}");
}

#[test]
fn a_load_that_grows_ends_at_the_first_step_that_is_not_held() {
    let profile = Profile::Steps { factor: 2.0, at_most: 3, p99_ms: 60_000.0 };
    let load = Load { rate: 20, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile };
    let scenarios = [scenario("steps", Measure::Fanout(load))];
    let targets = [Named { name: "raw".to_owned(), target: Target::Raw }];
    let runs = run(&targets, &scenarios, 1, &settings("steps"), &mut |_| Ok(())).expect("a run");
    let Outcome::Fanout(fanout) = &runs[0].outcome else { panic!("not a fan-out: {runs:?}") };
    let (last, before) = fanout.steps.split_last().expect("steps");
    assert!(before.iter().all(|step| step.not_held.is_none()), "{:?}", fanout.steps);
    // On a machine that is busy enough a step may fail; then there is none behind it.
    assert!(last.not_held.is_some() || fanout.steps.len() == 3, "{:?}", fanout.steps);
    assert!(!fanout.findings.any(), "{fanout:?}");
}

#[test]
fn visits_that_are_under_way_when_the_time_ends_are_counted() {
    let load = Load { rate: 20, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile: Profile::Steady };
    // Each stays for two seconds, so that there are always some.
    let beside = Beside { churn: 20.0, ..Beside::default() };
    let scenarios = [Scenario { beside, ..scenario("visits", Measure::Fanout(load)) }];
    let targets = [Named { name: "raw".to_owned(), target: Target::Raw }];
    let runs = run(&targets, &scenarios, 1, &settings("visits"), &mut |_| Ok(())).expect("a run");
    let Outcome::Fanout(fanout) = &runs[0].outcome else { panic!("not a fan-out: {runs:?}") };
    let seen = &fanout.visitors;
    assert!(seen.visits_unfinished >= 10 && seen.visits_failed == 0, "{seen:?}");
    // Who is in has had an answer, and is there or has left.
    let arrived = seen.arrival.map_or(0, |arrival| arrival.count);
    assert_eq!(seen.visits + seen.visits_unfinished, arrived + seen.visits_unanswered, "{seen:?}");
}

#[test]
fn results_become_a_page_that_asks_nobody_for_anything() {
    let load = Load {
        rate: 50,
        body_bytes: 128,
        seconds: 3,
        warm_up_seconds: 0,
        profile: Profile::Ramp { to: 100 },
    };
    let scenarios = [scenario("<fanout>", Measure::Fanout(load))];
    let targets = [Named { name: "raw".to_owned(), target: Target::Raw }];
    let settings = settings("page");
    let runs = run(&targets, &scenarios, 1, &settings, &mut |_| Ok(())).expect("a run");
    let (result, page) = (settings.work_dir.join("result.json"), settings.work_dir.join("page.html"));
    let about = About::now(&targets, &settings);
    let stored = report::json(&about, true, &scenarios, &summarise(&targets, &scenarios, &runs), &runs);
    std::fs::write(&result, stored.to_string()).expect("a result");
    report::html::write(&[result.clone(), result], &page).expect("a page");
    let page = std::fs::read_to_string(page).expect("a page");
    for part in
        ["&lt;fanout&gt;", "<h2>", "latency over time", "latency by quantile", "deliveries", "result: raw"]
    {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(page.matches("<svg").count() >= 4, "{page}");
    for outside in ["http:", "https:", "//", "src=", "href=", "@import", "url(", "<script"] {
        assert!(!page.contains(outside), "{outside} in {page}");
    }
}

#[test]
fn the_socket_io_server_on_node_speaks_as_our_door_does() {
    let settings = settings("socketio");
    std::fs::create_dir_all(&settings.work_dir).expect("a folder");
    peers::socketio::install(&settings.work_dir).expect("npm");
    let load = Load { rate: 50, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile: Profile::Steady };
    let targets = [Named { name: "socketio-node".to_owned(), target: Target::SocketIoNode }];
    let runs = run(&targets, &[scenario("node", Measure::Fanout(load))], 1, &settings, &mut |_| Ok(()))
        .expect("a run");
    let Outcome::Fanout(fanout) = &runs[0].outcome else { panic!("not a fan-out: {runs:?}") };
    assert!(!fanout.findings.any(), "{fanout:?}");
    assert_eq!((fanout.ack.expect("acks").count, fanout.delivery.expect("deliveries").count), (50, 150));
}

#[test]
fn a_server_that_cannot_start_is_an_error_that_says_why() {
    let load = Load { rate: 1, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile: Profile::Steady };
    let targets = [Named { name: "hubbub".to_owned(), target: Target::HubbubBinary("/bin/false".into()) }];
    let scenarios = [scenario("fanout", Measure::Fanout(load))];
    let error = run(&targets, &scenarios, 1, &settings("false"), &mut |_| Ok(())).expect_err("no server");
    assert!(format!("{error:#}").contains("ended at its start"), "{error:#}");
}

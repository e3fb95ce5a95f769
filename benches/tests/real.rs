//! The tools against the real server: the parts that have no peer to be tried on, and `verify` with what it must find.

mod liar;

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use hubbub_benches::compare::{Named, Run, run};
use hubbub_benches::exit;
use hubbub_benches::load::outcome::Outcome;
use hubbub_benches::scenario::{Beside, Load, Measure, Profile, Scenario, Shape};
use hubbub_benches::targets::live::{Settings, Target};
use hubbub_benches::verify::{self, Plan, Verdict};
use hubbub_benches::view::View;
use hubbub_testkit::{Hubbub, Start, eventually};
use liar::{Fault, LAST, Liar};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::JoinSet;

/// What tokens are signed with for a server that runs already.
const SECRET: &str = "a secret of at least 32 bytes, for tests";

/// The server that was built with this test; another one if HUBBUB_BIN says so.
fn hubbub() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_hubbub-bench")).with_file_name("hubbub");
    let binary = std::env::var_os("HUBBUB_BIN").map_or(beside, PathBuf::from);
    assert!(binary.exists(), "no server at {}: cargo build -p hubbub", binary.display());
    binary
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(future)
}

fn settings(test: &str) -> Settings {
    Settings {
        work_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test),
        own_binary: PathBuf::from(env!("CARGO_BIN_EXE_hubbub-bench")),
        centrifugo_binary: PathBuf::new(),
        hubbub_args: Vec::new(),
        keys: true,
        users: None,
        jwt_secret: Some(SECRET.to_owned()),
        event_bytes: 255,
        patience: Duration::from_secs(5),
    }
}

fn measure(test: &str, scenario: Scenario) -> Vec<Run> {
    scenario.check().expect("a scenario");
    let targets = [Named { name: "hubbub".to_owned(), target: Target::HubbubBinary(hubbub()) }];
    run(&targets, &[scenario], 1, &settings(test), &mut |_| Ok(())).expect("a run")
}

#[test]
fn everything_beside_happens_and_nothing_is_delivered_wrongly_by_either_door() {
    let profile = Profile::Ramp { to: 60 };
    let load = Load { rate: 20, body_bytes: 128, seconds: 3, warm_up_seconds: 1, profile };
    let beside = Beside { idle: 10, churn: 4.0, history: 16.0, commands: 8.0, slow_readers: 2 };
    let scenario = Scenario {
        socketio: 0.5,
        beside,
        ..Scenario::plain("day", Shape { rooms: 2, members: 4 }, Measure::Fanout(load))
    };
    let runs = measure("beside", scenario);
    let Outcome::Fanout(fanout) = &runs[0].outcome else { panic!("not a fan-out: {runs:?}") };
    assert!(!fanout.findings.any(), "{fanout:?}");
    assert_eq!((fanout.messages, fanout.delivery.expect("deliveries").count), (120, 480), "{fanout:?}");
    let seen = &fanout.visitors;
    assert_eq!((seen.idle, seen.slow_closed, seen.asks_failed, &seen.trouble), (10, 0, 0, &None), "{seen:?}");
    assert!(seen.visits > 0 && seen.pages > 0 && seen.commands > 0 && seen.left_out.is_empty(), "{seen:?}");
    assert!(fanout.series.len() >= 3 && fanout.series.iter().all(|at| at.rss_mib.is_some()), "{fanout:?}");
}

#[test]
fn those_who_are_cut_resume_and_are_whole() {
    let measure_of = Measure::Reconnects { rate: 50, body_bytes: 128, seconds: 1, away_seconds: 1 };
    let runs = measure("reconnects", Scenario::plain("storm", Shape { rooms: 2, members: 5 }, measure_of));
    let Outcome::Reconnects(storm) = &runs[0].outcome else { panic!("not a storm: {runs:?}") };
    assert!(!storm.findings.any() && storm.failed == 0, "{storm:?}");
    assert_eq!((storm.connections, storm.whole.expect("times").count), (8, 8), "{storm:?}");
    assert!(storm.missed > 0 && storm.generator.lateness.is_some(), "{storm:?}");
}

fn plan(url: &str) -> Plan {
    Plan {
        urls: vec![url.to_owned()],
        owned: false,
        tokens: Vec::new(),
        rooms: 1,
        senders: 2,
        readers: 2,
        rate: 40,
        time: Duration::from_secs(1),
        patience: Duration::from_secs(60),
    }
}

/// Waits until a server has kept so many.
async fn has_entries(server: &Hubbub, entries: f64) {
    eventually("it has kept something", async || {
        let kept = server.metric("hubbub_store_entries_total").await.unwrap_or(0.0);
        (kept >= entries).then_some(())
    })
    .await;
}

#[test]
fn a_server_that_is_killed_twice_keeps_its_promises() {
    block_on(async {
        let mut server = Hubbub::start(Start::program(hubbub())).await.expect("a server");
        let plan =
            Plan { rooms: 2, time: Duration::from_secs(3), ..plan(&format!("ws://{}", server.address())) };
        let verifying =
            tokio::task::spawn_local(async move { verify::run(&plan, &View::new("verify".into())).await });
        // First while they still come, five of them who join two rooms each.
        for entries in [3.0, 25.0] {
            has_entries(&server, entries).await;
            server.kill().await.expect("killed");
            server.restart().await.expect("started again");
        }
        let verdict = verifying.await.expect("no panic").expect("a verdict");
        assert!(verdict.is_kept() && verdict.acked > 40, "{verdict}");
        assert!(!verdict.outages.is_empty(), "{verdict}");
    });
}

/// What is said of a deployment that lost everything after something was acknowledged: by people with tokens that are signed, whom
/// the new one knows, or by those whose accounts went with the rest.
fn wiped(signed: bool) -> Verdict {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut start = Start::program(hubbub());
        if signed {
            start = start.with(&format!("--jwt-secret={SECRET}"));
        }
        let mut server = Hubbub::start_in(start, folder.into()).await.expect("a server");
        let tokens =
            if signed { vec![hubbub_benches::targets::hubbub::token(SECRET, "ann")] } else { Vec::new() };
        let (time, patience) = (Duration::from_secs(3), Duration::from_secs(15));
        let plan = Plan { tokens, time, patience, ..plan(&format!("ws://{}", server.address())) };
        let verifying =
            tokio::task::spawn_local(async move { verify::run(&plan, &View::new("verify".into())).await });
        has_entries(&server, 20.0).await;
        server.kill().await.expect("killed");
        std::fs::remove_dir_all(&data).expect("its data");
        server.restart().await.expect("started again");
        verifying.await.expect("no panic").expect("a verdict")
    })
}

#[test]
fn a_server_that_lost_its_data_has_broken_its_promises() {
    let verdict = wiped(true);
    let said = verdict.to_string();
    assert!(said.contains("BROKEN") && said.contains("no_such_room"), "{said}");
    assert!(verdict.acked > 0 && verdict.refused > 0 && verdict.refused_by["no_such_room"] > 0, "{said}");
}

#[test]
fn a_server_that_lost_its_accounts_too_has_broken_its_promises_and_nobody_came_back() {
    let verdict = wiped(false);
    let said = verdict.to_string();
    assert!(said.contains("BROKEN") && said.contains("account that was registered"), "{said}");
    let lasting = verdict.outages.iter().filter(|outage| outage.to.is_none()).count();
    assert_eq!(lasting, 5, "a judge, two readers, two senders: {said}");
}

#[test]
fn a_server_that_speaks_tls_is_verified_by_those_who_trust_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let start =
        Start::program(hubbub()).with(&format!("--tls-cert={certificate}")).with(&format!("--tls-key={key}"));
    let server = block_on(Hubbub::start(start)).expect("a server");
    let verify = |authorities: &str| {
        let said = Command::new(env!("CARGO_BIN_EXE_hubbub-bench"))
            .args(["verify", "--rooms=1", "--senders=2", "--readers=2", "--rate=40", "--seconds=1"])
            .arg(format!("--url=wss://localhost:{}", server.address().port()))
            .env("SSL_CERT_FILE", authorities)
            .output()
            .expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (said.status.code(), text(said.stdout), text(said.stderr))
    };
    let (code, verdict, log) = verify(&certificate);
    assert!(code == Some(0) && verdict.contains("KEPT"), "{verdict}{log}");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (code, _, log) = verify(&file("other.pem", other.cert.pem()));
    assert!(code == Some(i32::from(exit::NOT_DONE)) && log.contains("certificate"), "{log}");
}

/// A load of so many messages through a liar, who lies to one connection or to each.
async fn lied_to(server: &Hubbub, fault: Option<Fault>) -> Outcome {
    // Three have visited their room before, so that this one is the second of those who are measured.
    let only = (fault == Some(Fault::Shift)).then_some(4);
    let liar = Liar::at(server.address(), fault, only).await.expect("a way");
    let pid = (fault != Some(Fault::NoMetrics)).then(|| server.pid());
    let running = Target::HubbubRunning { address: liar.address(), pid, socketio: false };
    let measured = tokio::task::spawn_blocking(move || {
        let rate = LAST as u32;
        let load = Load { rate, body_bytes: 64, seconds: 1, warm_up_seconds: 0, profile: Profile::Steady };
        let scenario = Scenario::plain("lied", Shape { rooms: 1, members: 3 }, Measure::Fanout(load));
        let targets = [Named { name: "hubbub".to_owned(), target: running }];
        run(&targets, &[scenario], 1, &settings("lied"), &mut |_| Ok(())).expect("a run").remove(0)
    });
    measured.await.expect("no panic").outcome
}

#[test]
fn planted_faults_of_a_load_are_found_and_named() {
    block_on(async {
        let start = Start::program(hubbub()).with(&format!("--jwt-secret={SECRET}"));
        let server = Rc::new(Hubbub::start(start).await.expect("a server"));
        let mut measuring = JoinSet::new();
        for (fault, named) in [
            (None, None),
            (Some(Fault::Drop), Some("lost")),
            (Some(Fault::DropLast), Some("not come in time")),
            (Some(Fault::Double), Some("doubled")),
            (Some(Fault::DoubleLast), Some("doubled")),
            (Some(Fault::Swap), Some("gaps")),
            (Some(Fault::Body), Some("altered")),
            (Some(Fault::User), Some("altered")),
            (Some(Fault::Room), Some("altered")),
            (Some(Fault::Shift), Some("misnumbered")),
            (Some(Fault::AckElsewhere), Some("misnumbered")),
            (Some(Fault::AckTwice), Some("answers to nothing")),
            (Some(Fault::NoAck), Some("sends without an answer")),
            (Some(Fault::Refuse), Some("refused and delivered")),
        ] {
            let server = Rc::clone(&server);
            measuring.spawn_local(async move {
                let outcome = lied_to(&server, fault).await;
                let wrong = outcome.wrong();
                assert_eq!(wrong.is_some(), named.is_some(), "{fault:?}: {wrong:?}");
                assert!(
                    wrong.is_none_or(|wrong| wrong.contains(named.unwrap_or(""))),
                    "{fault:?}: {outcome:?}"
                );
                let first = outcome.faults().first().map(ToString::to_string);
                let is_named = first.as_ref().is_none_or(|first| first.contains("in room 0 (0"));
                assert!(first.is_some() == named.is_some() && is_named, "{fault:?}: {first:?}");
            });
        }
        while let Some(measured) = measuring.join_next().await {
            measured.expect("as planted");
        }
    });
}

#[test]
fn a_server_that_does_not_say_what_it_uses_holds_up_nobody_who_sends() {
    block_on(async {
        let start = Start::program(hubbub()).with(&format!("--jwt-secret={SECRET}"));
        let server = Hubbub::start(start).await.expect("a server");
        let outcome = lied_to(&server, Some(Fault::NoMetrics)).await;
        let Outcome::Fanout(fanout) = &outcome else { panic!("not a fan-out: {outcome:?}") };
        assert!(outcome.wrong().is_none() && fanout.cpu_us_a_delivery.is_none(), "{outcome:?}");
        // It would be late by all the time for which the answer was waited.
        let late = fanout.generator.lateness.expect("messages").max_ms;
        assert!(late < 900.0 && fanout.messages == LAST as u64, "{outcome:?}");
    });
}

/// Processes that this one has started and that still run.
fn children(of: u32) -> Vec<String> {
    let stat = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()
    };
    let all = std::fs::read_dir("/proc").expect("processes").filter_map(stat);
    all.filter(|stat| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        fields.get(1) == Some(&of.to_string().as_str()) && fields.first() != Some(&"Z")
    })
    .filter_map(|stat| stat.split_whitespace().next().map(str::to_owned))
    .collect()
}

#[test]
fn a_signal_keeps_what_was_measured_and_ends_what_was_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("short.toml");
    std::fs::write(&scenario, "about = \"a\"\nrooms = 1\nmembers = 2\n[load]\nrate = 9\nseconds = 1")
        .expect("written");
    let mut measuring = Command::new(env!("CARGO_BIN_EXE_hubbub-bench"))
        .args(["compare", "--targets=hubbub", "--rounds=90", "--work-dir=work"])
        .arg(format!("--server-bin={}", hubbub().display()))
        .arg(format!("--scenario={}", scenario.display()))
        .current_dir(folder.path())
        .spawn()
        .expect("it runs");
    let result = folder.path().join("work/result.json");
    let kept = || std::fs::read_to_string(&result).ok();
    // In the middle of the second one.
    let servers = block_on(eventually("the second one is measured", async || {
        assert!(measuring.try_wait().expect("its state").is_none(), "it has ended");
        kept().map(|_| children(measuring.id())).filter(|servers| !servers.is_empty())
    }));
    let pid = rustix::process::Pid::from_child(&measuring);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    assert_eq!(measuring.wait().expect("it ends").code(), Some(128 + 15));
    for server in &servers {
        assert!(!PathBuf::from(format!("/proc/{server}")).exists(), "{server} of {servers:?} runs");
    }
    let left = std::fs::read_dir(folder.path().join("work")).expect("a folder");
    let left: Vec<String> =
        left.map(|file| file.expect("a file").file_name().display().to_string()).collect();
    assert!(!left.iter().any(|name| name.starts_with("hubbub-data")), "{left:?}");
    let result: serde_json::Value = serde_json::from_str(&kept().expect("a result")).expect("JSON");
    assert!(!result["runs"].as_array().expect("runs").is_empty() && result["complete"] == false, "{result}");
}

#[test]
fn who_is_asked_to_end_verifying_judges_what_was_seen() {
    let server = block_on(Hubbub::start(Start::program(hubbub()))).expect("a server");
    let verifying = Command::new(env!("CARGO_BIN_EXE_hubbub-bench"))
        .args(["verify", "--rooms=1", "--senders=2", "--readers=2", "--rate=40", "--seconds=600"])
        .arg(format!("--url=ws://{}", server.address()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    block_on(has_entries(&server, 20.0));
    let pid = rustix::process::Pid::from_child(&verifying);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let said = verifying.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.contains("KEPT"), "{text}");
}

#[test]
fn a_fault_at_one_connection_is_found_whoever_has_it() {
    // In the order in which they come: a judge, two readers, two senders.
    const JUDGE: usize = 0;
    const SENDER: usize = 4;
    block_on(async {
        let server = Hubbub::start(Start::program(hubbub())).await.expect("a server");
        for (fault, only, named) in [
            (Fault::Drop, JUDGE, "GapForReader at"),
            (Fault::Double, SENDER, "RepeatForReader at"),
            (Fault::Alter, SENDER, "TwoContents at"),
        ] {
            let liar = Liar::at(server.address(), Some(fault), Some(only)).await.expect("a way");
            let plan = plan(&format!("ws://{}", liar.address()));
            let verdict = verify::run(&plan, &View::new("verify".into())).await.expect("a verdict");
            let whose = if only == JUDGE { "judge0" } else { "sender1" };
            assert!(verdict.broken.len() == 1, "{fault:?}: {verdict}");
            let said = verdict.to_string();
            assert!(said.contains(named) && said.contains(whose), "{fault:?}: {said}");
        }
    });
}

#[test]
fn planted_faults_are_found_and_named() {
    block_on(async {
        let server = Hubbub::start(Start::program(hubbub())).await.expect("a server");
        let address = server.address();
        let mut verifying = JoinSet::new();
        for (fault, name) in [
            (None, "KEPT"),
            (Some(Fault::Drop), "GapForReader"),
            (Some(Fault::Double), "RepeatForReader"),
            (Some(Fault::Swap), "GapForReader"),
            (Some(Fault::Alter), "TwoContents"),
            (Some(Fault::AckElsewhere), "AckedIsLost"),
            (Some(Fault::OldPage), "PageEndsEarly"),
        ] {
            verifying.spawn_local(async move {
                let liar = Liar::to(address, fault).await.expect("a way");
                let plan = plan(&format!("ws://{}", liar.address()));
                let verdict = verify::run(&plan, &View::new("verify".into())).await.expect("a verdict");
                assert_eq!(verdict.is_kept(), fault.is_none(), "{fault:?}: {verdict}");
                assert!(verdict.to_string().contains(name), "{fault:?}: {verdict}");
            });
        }
        while let Some(verified) = verifying.join_next().await {
            verified.expect("as planted");
        }
    });
}

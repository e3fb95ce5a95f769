use super::*;
use crate::load::outcome::tests::{step, stepped};

fn said(fanout: crate::load::outcome::Fanout) -> String {
    let outcome = Outcome::Fanout(Box::new(fanout));
    tables(&[], &[], &[Run { round: 1, scenario: "some".to_owned(), target: "raw".to_owned(), outcome }])
}

#[test]
fn a_step_says_whether_it_was_held_or_whether_that_is_not_known() {
    let said = said(stepped(vec![step(10.0, None), step(20.0, Some(false)), step(30.0, Some(true))]));
    let steps: Vec<&str> = said.lines().filter_map(|line| line.split("p99 0.0 ms: ").nth(1)).collect();
    assert_eq!(steps, ["held", "not held: a reason", "not known: a reason"], "{said}");
}

#[test]
fn visits_under_way_at_the_end_are_shown_where_there_are_any() {
    let with = |visitors| said(crate::load::outcome::Fanout { visitors, ..stepped(Vec::new()) });
    let visitors = Visitors { visits: 5, visits_failed: 1, ..Visitors::default() };
    let none = with(visitors.clone());
    assert!(none.contains("5 visits, -, 1 failed") && !none.contains("under way"), "{none}");
    // Also where no visit ever ended.
    for visits in [0, 5] {
        let said = with(Visitors { visits, visits_unfinished: 7, visits_unanswered: 3, ..visitors.clone() });
        assert!(said.contains("7 visits under way at the end, 3 of them without an answer yet"), "{said}");
    }
}

fn about() -> About {
    About {
        format: about::FORMAT,
        tool: "hubbub-bench 0".to_owned(),
        began: "2026-11-30T12:00:00Z".to_owned(),
        command: vec!["hubbub-bench".to_owned(), "compare".to_owned()],
        users: None,
        server_args: Vec::new(),
        targets: Vec::new(),
    }
}

fn load(rate: u32) -> Scenario {
    let profile = Profile::Steady;
    let load = crate::scenario::Load { rate, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile };
    Scenario::plain("fanout", crate::scenario::Shape { rooms: 1, members: 2 }, Measure::Fanout(load))
}

/// The result of a load of that rate, whose target needed so much a delivery, in a file of that path.
fn result(path: &std::path::Path, rate: u32, about: &About, cpu_us: [f64; 2]) {
    let targets = ["raw", "hubbub"];
    let run = |(target, cpu_us): (&str, f64)| Run {
        round: 1,
        scenario: "fanout".to_owned(),
        target: target.to_owned(),
        outcome: Outcome::Fanout(Box::new(crate::load::outcome::Fanout {
            cpu_us_a_delivery: Some(cpu_us),
            ..stepped(Vec::new())
        })),
    };
    let runs: Vec<Run> = targets.into_iter().zip(cpu_us).map(run).collect();
    let named = targets.map(|name| crate::compare::Named {
        name: name.to_owned(),
        target: crate::targets::live::Target::Raw,
    });
    let scenarios = [load(rate)];
    let summaries = crate::compare::summarise(&named, &scenarios, &runs);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    file::write_whole(path, &json(about, true, &scenarios, &summaries, &runs).to_string()).expect("written");
}

#[test]
fn a_page_of_several_results_mixes_no_loads_and_calls_no_two_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let paths = [path("r1/result.json"), path("r2/result.json"), path("r3/other.json")];
    result(&paths[0], 40, &about(), [2.0, 3.0]);
    result(&paths[1], 40, &about(), [2.0, 5.0]);
    result(&paths[2], 400, &about(), [4.0, 5.0]);
    let page = path("page.html");
    html::write(&paths, &page).expect("a page");
    let page = std::fs::read_to_string(page).expect("a page");
    let headings: Vec<&str> =
        page.split("<h2>").skip(1).filter_map(|rest| rest.split("</h2>").next()).collect();
    assert_eq!(headings, ["fanout", "fanout (other)"]);
    for part in
        ["r1/result: hubbub", "r2/result: hubbub", "× raw", "<td>1.50", "<td>2.50", "<td>1.25", "T12:00:00Z"]
    {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("other: hubbub"), "the only one of its load: {page}");
}

#[test]
fn a_result_of_another_version_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("old.json");
    result(&path, 40, &About { format: 1, ..about() }, [1.0, 1.0]);
    let error = html::write(&[path], &folder.path().join("page.html")).expect_err("another version");
    assert!(format!("{error:#}").contains("another version (hubbub-bench 0)"), "{error:#}");
}

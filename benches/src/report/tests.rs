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

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

//! A step of ten seconds with 2 messages a second for ten members: 200 deliveries, of which the last message's may be in time
//! after its end.

use super::*;
use crate::load::outcome::Quantiles;
use crate::load::schedule::Schedule;
use crate::scenario::{Load, Profile};

const DELIVERIES: u64 = 200;
const LATEST: u64 = 10;
/// 99 of 100.
const ENOUGH: u64 = 198;

fn due(at: usize) -> Due {
    let profile = Profile::Steps { factor: 2.0, at_most: 2, p99_ms: 600.0 };
    let load = Load { rate: 2, body_bytes: 128, seconds: 10, warm_up_seconds: 1, profile };
    let schedule = Schedule::new(&load);
    Due::of(&schedule.measured()[at], 10, schedule.limit())
}

fn generator() -> Generator {
    let lateness = Some(Quantiles { count: due(0).messages, ..Quantiles::default() });
    Generator { core_share: 0.1, lateness, was_the_limit: false }
}

/// Of which so many deliveries came by the end, the first ones in time.
fn step(came: u64, in_time: u64, generator: &Generator) -> Step {
    let delivery = Quantiles { count: came, p99_ms: 5.0, ..Quantiles::default() };
    let held = Held {
        messages_a_second: 2.0,
        deliveries_a_second: 20.0,
        delivery: Some(delivery),
        cpu_us_a_delivery: None,
        not_held: None,
        generator_was_the_limit: false,
    };
    Step::new(held, due(0), OfPhase { came, in_time, refused: 0 }, generator)
}

fn last(came: u64) -> OfPhase {
    OfPhase { came, in_time: came, refused: 0 }
}

#[test]
fn what_is_due_is_every_message_for_every_member_whatever_was_sent() {
    let due = [0, 1].map(due);
    let limit = Duration::from_millis(600);
    assert_eq!(due[0], Due { messages: 20, deliveries: DELIVERIES, latest: LATEST, limit });
    assert_eq!(due[1], Due { messages: 40, deliveries: 2 * DELIVERIES, latest: 2 * LATEST, limit });
}

#[test]
fn what_never_came_counts_however_quick_the_others_were() {
    for came in 0..=DELIVERIES {
        let held = step(came, came, &generator()).end(last(came), None);
        assert_eq!(held.not_held.is_none(), came >= ENOUGH, "{came}: {held:?}");
        assert!(!held.generator_was_the_limit, "{held:?}");
    }
    let why = step(197, 197, &generator()).end(last(197), None).not_held;
    assert_eq!(why.as_deref(), Some("98.5 % of the deliveries that were due came within 600 ms"));
}

#[test]
fn a_step_is_held_only_if_enough_came_at_all_and_what_could_still_be_in_time_is_waited_for() {
    for came in 0..=DELIVERIES {
        for in_time in came.saturating_sub(5)..=came {
            let at_end = step(came, in_time, &generator()).is_held();
            let in_hope = in_time + (DELIVERIES - came).min(LATEST) >= ENOUGH;
            assert_eq!(at_end, in_hope && came * 10 >= DELIVERIES * 9, "{came} {in_time}");
            for in_all in came..=DELIVERIES {
                let held = step(came, in_time, &generator()).end(last(in_all), None).not_held.is_none();
                assert!(!held || in_all >= ENOUGH, "{came} {in_time} {in_all}");
                assert!(!held || at_end, "what was not held is not held later: {came} {in_time} {in_all}");
                assert!(held || in_all < DELIVERIES || !at_end, "{came} {in_time} {in_all}");
            }
        }
    }
}

#[test]
fn a_refusal_that_comes_after_the_end_is_the_steps() {
    let of_all = OfPhase { refused: 1, ..last(DELIVERIES) };
    let held = step(DELIVERIES, DELIVERIES, &generator()).end(of_all, None);
    assert_eq!(held.not_held.as_deref(), Some("1 sends were refused"));
}

#[test]
fn a_step_that_the_generator_did_not_offer_is_neither_held_nor_the_targets_failure() {
    let few = Some(Quantiles { count: due(0).messages - 1, ..Quantiles::default() });
    for limit in [
        Generator { was_the_limit: true, ..generator() },
        Generator { lateness: few, ..generator() },
        Generator { lateness: None, ..generator() },
    ] {
        // Whatever came of it.
        for came in [0, DELIVERIES / 2, DELIVERIES] {
            let step = step(came, came, &limit);
            assert!(!step.is_held(), "the load grows no further: {step:?}");
            let held = step.end(last(DELIVERIES), None);
            assert!(held.generator_was_the_limit, "{held:?}");
            assert!(held.not_held.is_some_and(|why| why.starts_with("the generator was itself the limit")));
        }
    }
}

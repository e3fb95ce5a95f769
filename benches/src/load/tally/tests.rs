use super::*;
use crate::scenario::{Load, Profile};

const SHAPE: Shape = Shape { rooms: 1, members: 2 };

/// Two steps of a second, 10 and then 20 messages, which began so long ago.
fn tally(began: Duration) -> Tally {
    let profile = Profile::Steps { factor: 2.0, at_most: 2, p99_ms: 500.0 };
    let load = Load { rate: 10, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile };
    let start = Instant::now().checked_sub(began).expect("a machine that runs for some seconds");
    Tally::new(start, SHAPE, Schedule::new(&load), Senders::All).expect("a tally")
}

#[test]
fn what_comes_late_is_of_the_step_in_which_it_was_due_and_only_once() {
    let mut tally = tally(Duration::from_secs(20));
    let stamps: Vec<Stamp> = (0..15).map(|index| tally.on_send(index)).collect();
    tally.begin_phase(Duration::from_secs(1)).expect("a phase");
    for stamp in stamps[..10].iter().chain(&stamps[..10]) {
        tally.on_seen(0, 0, 1, Seen::Delivery(*stamp, None));
    }
    assert_eq!(tally.of_phase(0), OfPhase { came: 10, in_time: 0, refused: 0 });
    assert_eq!(
        tally.of_phase(1),
        OfPhase::default(),
        "what is left of one step is nothing of the next one's"
    );
    tally.on_seen(0, 0, 1, Seen::Refused(Some(3), b"no"));
    tally.on_seen(0, 0, 1, Seen::Refused(Some(12), b"no"));
    assert_eq!([0, 1].map(|step| tally.of_phase(step).refused), [1, 1]);
}

#[test]
fn what_comes_within_the_limit_is_in_time() {
    let mut tally = tally(Duration::ZERO);
    let stamps: Vec<Stamp> = (0..30).map(|index| tally.on_send(index)).collect();
    // Due in more than a second, so that a machine that hangs for a moment makes nothing of it late.
    for member in 0..2 {
        tally.on_seen(0, member, 1, Seen::Delivery(stamps[29], None));
    }
    assert_eq!(tally.of_phase(1), OfPhase { came: 2, in_time: 2, refused: 0 });
}

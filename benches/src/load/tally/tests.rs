use super::*;
use crate::scenario::{Load, Profile};

const SHAPE: Shape = Shape { rooms: 1, members: 2 };

/// Two steps of a second, 10 and then 20 messages, which began so long ago.
fn tally(began: Duration) -> Tally {
    let profile = Profile::Steps { factor: 2.0, at_most: 2, p99_ms: 500.0 };
    let load = Load { rate: 10, body_bytes: 128, seconds: 1, warm_up_seconds: 0, profile };
    let start = Instant::now().checked_sub(began).expect("a machine that runs for some seconds");
    Tally::new(start, SHAPE, Schedule::new(&load), Senders::All, Expected::default()).expect("a tally")
}

/// A delivery as it comes when nothing is wrong with it.
fn delivery(stamp: Stamp, then: impl FnOnce(Seen<'_>)) {
    let mut body = vec![b'"'];
    stamp.write_body(0, &mut body);
    then(Seen::Delivery(Delivery::plain(Stamp::find(&body).expect("a stamp"))));
}

fn refused(index: u64) -> Seen<'static> {
    Seen::Refused { index: Some(index), text: b"no", for_good: true }
}

#[test]
fn what_comes_late_is_of_the_step_in_which_it_was_due_and_only_once() {
    let mut tally = tally(Duration::from_secs(20));
    let stamps: Vec<Stamp> = (0..15).map(|index| tally.on_send(index)).collect();
    tally.begin_phase(Duration::from_secs(1)).expect("a phase");
    for stamp in stamps[..10].iter().chain(&stamps[..10]) {
        delivery(*stamp, |seen| tally.on_seen(0, 0, 1, seen));
    }
    assert_eq!(tally.of_phase(0), OfPhase { came: 10, in_time: 0, refused: 0 });
    assert_eq!(
        tally.of_phase(1),
        OfPhase::default(),
        "what is left of one step is nothing of the next one's"
    );
    tally.on_seen(0, 0, 1, refused(3));
    tally.on_seen(0, 0, 1, refused(12));
    assert_eq!([0, 1].map(|step| tally.of_phase(step).refused), [1, 1]);
}

#[test]
fn what_comes_within_the_limit_is_in_time() {
    let mut tally = tally(Duration::ZERO);
    let stamps: Vec<Stamp> = (0..30).map(|index| tally.on_send(index)).collect();
    // Due in more than a second, so that a machine that hangs for a moment makes nothing of it late.
    for member in 0..2 {
        delivery(stamps[29], |seen| tally.on_seen(0, member, 1, seen));
    }
    assert_eq!(tally.of_phase(1), OfPhase { came: 2, in_time: 2, refused: 0 });
}

#[test]
fn what_never_comes_is_as_late_as_it_was_waited_for() {
    let mut tally = tally(Duration::from_secs(20));
    let stamps: Vec<Stamp> = (0..10).map(|index| tally.on_send(index)).collect();
    for stamp in &stamps[..9] {
        (0..2).for_each(|member| delivery(*stamp, |seen| tally.on_seen(0, member, 1, seen)));
    }
    delivery(stamps[9], |seen| tally.on_seen(0, 0, 1, seen));
    assert!(!tally.is_complete());
    tally.on_end();
    let timings = tally.timings().expect("timings");
    assert_eq!(timings.delivery.len(), 20, "nine of ten and one of two came");
    assert!(timings.delivery.max() > 19_000_000, "{}", timings.delivery.max());
    let (found, faults) = tally.findings();
    assert_eq!((found, faults.len()), (Findings { not_come: 1, ..Findings::default() }, 1));
}

#[test]
fn a_stamp_that_is_not_the_one_that_was_sent_is_altered() {
    for change in [
        |_: &mut Stamp| {},
        |stamp: &mut Stamp| stamp.sender = 0,
        |stamp: &mut Stamp| stamp.due += 1,
        |stamp: &mut Stamp| stamp.count -= 1,
    ] {
        let mut tally = tally(Duration::from_secs(20));
        let stamps: Vec<Stamp> = (0..2).map(|index| tally.on_send(index)).collect();
        delivery(stamps[0], |seen| tally.on_seen(0, 0, 1, seen));
        let mut changed = stamps[1];
        change(&mut changed);
        delivery(changed, |seen| tally.on_seen(0, 0, 1, seen));
        assert_eq!(tally.findings().0.altered, u64::from(changed != stamps[1]), "{changed:?}");
    }
}

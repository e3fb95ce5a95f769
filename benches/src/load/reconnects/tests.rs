use super::*;
use crate::load::outcome::Generator;

/// What is said of the generator that used so much of a core while all came back, was late meanwhile, and began its
/// messages so long after they were due.
fn said(core_share: f64, late_ms: Option<f64>, late_in_all: Duration) -> Generator {
    let shape = Shape { rooms: 1, members: 2 };
    let load = Load { rate: 10, body_bytes: 128, seconds: 10, warm_up_seconds: 0, profile: Profile::Steady };
    let now = Instant::now();
    // On time is what is due in some seconds, so that a machine that hangs for a moment makes nothing of it late.
    let start = now.checked_sub(late_in_all).expect("a machine that runs for a minute");
    let mut tally =
        Tally::new(start, shape, Schedule::new(&load), Senders::First, Expected::default()).expect("a tally");
    (50..100).for_each(|index| _ = tally.on_send(index));
    let returned = Returned {
        readers: JoinSet::new(),
        connections: 1,
        missed: 1,
        greeted: microseconds().expect("a histogram"),
        whole: microseconds().expect("a histogram"),
        refused: 0,
        failed: 0,
        trouble: None,
        late: late_ms.map(|p99_ms| Quantiles { count: 9, p99_ms, ..Quantiles::default() }),
    };
    let began = Moment::of_generator(now, Duration::ZERO);
    let ended = Moment::of_generator(now + Duration::from_secs(1), Duration::from_secs_f64(core_share));
    let outcome = returned.outcome(&tally, (&began, &ended), Duration::from_secs(30), Vec::new());
    outcome.expect("an outcome").generator
}

#[test]
fn a_generator_that_sends_late_is_named_as_the_limit() {
    let (on_time, late) = (Duration::ZERO, Duration::from_secs(30));
    for (core_share, late_ms, late_in_all, is_limit) in [
        (0.5, None, on_time, false),
        (0.5, Some(1.0), on_time, false),
        // Only while all came back.
        (0.5, Some(300.0), on_time, true),
        // All the time, whether or not something was due while all came back.
        (0.5, None, late, true),
        (0.5, Some(1.0), late, true),
        (0.95, Some(1.0), on_time, true),
    ] {
        let generator = said(core_share, late_ms, late_in_all);
        assert_eq!(
            generator.was_the_limit, is_limit,
            "{core_share} {late_ms:?} {late_in_all:?}: {generator:?}"
        );
        assert!(generator.lateness.is_some(), "{generator:?}");
    }
}

use super::*;

/// A run in which nothing was measured but these steps.
pub(crate) fn stepped(steps: Vec<Held>) -> Fanout {
    Fanout {
        messages: 0,
        deliveries: 0,
        deliveries_a_second: 0.0,
        bytes_a_delivery: 0.0,
        cpu_us_a_delivery: None,
        cpu_us_a_message: None,
        database_cpu_us_a_delivery: None,
        server_cores: None,
        other_cores: None,
        rss_mib: None,
        delivery: None,
        ack: None,
        refused: 0,
        connections_lost: 0,
        findings: Findings::default(),
        faults: Vec::new(),
        patience_s: 30.0,
        trouble: None,
        generator: Generator { core_share: 0.1, lateness: None, was_the_limit: false },
        steps,
        visitors: Visitors::default(),
        curve: Vec::new(),
        series: Vec::new(),
    }
}

/// A step that was held, was not by the target (`Some(false)`), or was not offered by the generator (`Some(true)`).
pub(crate) fn step(messages_a_second: f64, fails: Option<bool>) -> Held {
    Held {
        messages_a_second,
        deliveries_a_second: 0.0,
        delivery: None,
        cpu_us_a_delivery: None,
        not_held: fails.map(|_| "a reason".to_owned()),
        generator_was_the_limit: fails == Some(true),
    }
}

#[test]
fn what_the_generator_does_not_offer_is_not_held_and_no_failure_of_the_target() {
    let rate = |fails: &[Option<bool>]| {
        let steps = fails.iter().enumerate().map(|(at, fails)| step(10.0 * (at + 1) as f64, *fails));
        stepped(steps.collect()).held_rate()
    };
    assert_eq!(rate(&[]), None, "a steady load");
    assert_eq!(rate(&[None, None]), Some(20.0));
    assert_eq!(rate(&[None, Some(false)]), Some(10.0));
    assert_eq!(rate(&[None, Some(true)]), Some(10.0));
    assert_eq!(rate(&[Some(false)]), Some(0.0), "held at none");
    assert_eq!(rate(&[Some(true)]), None, "nothing is known of the target");
    // A step that turned out later not to have been held ends what was held, whatever came behind it.
    assert_eq!(rate(&[None, Some(false), None]), Some(10.0));
}

#[test]
fn who_does_not_come_or_come_back_is_wrong_and_slowness_is_not() {
    let generator = Generator { core_share: 0.1, lateness: None, was_the_limit: true };
    let connects = |failed| {
        let (latency, trouble) = (None, None);
        let (connects_a_second, cpu_us_each) = (1.0, None);
        Outcome::Connects(Box::new(Connects {
            connections: 9,
            in_flight: 2,
            connects_a_second,
            cpu_us_each,
            latency,
            failed,
            trouble,
            generator,
        }))
    };
    assert_eq!(
        [0, 2].map(|failed| connects(failed).wrong()),
        [None, Some("2 of 9 could not connect".to_owned())]
    );
    let reconnects = |failed, findings| {
        Outcome::Reconnects(Box::new(Reconnects {
            connections: 9,
            missed: 1,
            greeted: None,
            whole: None,
            cpu_us_each: None,
            refused: 3,
            failed,
            findings,
            faults: Vec::new(),
            patience_s: 30.0,
            trouble: None,
            generator,
            series: Vec::new(),
        }))
    };
    assert_eq!(reconnects(0, Findings::default()).wrong(), None);
    let wrong = reconnects(9, Findings { unanswered: 1, ..Findings::default() }).wrong();
    assert_eq!(wrong.as_deref(), Some("9 of 9 did not come back, 1 sends without an answer (waited 30 s)"));
    let slow = Fanout { refused: 4, generator, ..stepped(Vec::new()) };
    assert_eq!(Outcome::Fanout(Box::new(slow)).wrong(), None);
}

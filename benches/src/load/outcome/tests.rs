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
        unanswered: 0,
        connections_lost: 0,
        findings: Findings::default(),
        trouble: None,
        generator: Generator { core_share: 0.1, lateness: None, was_the_limit: false },
        steps,
        visitors: Visitors::default(),
        curve: Vec::new(),
        series: Vec::new(),
    }
}

/// A step that was held, was not by the target (`Some(false)`), or was not offered by the generator (`Some(true)`).
pub(crate) fn step(rate: f64, fails: Option<bool>) -> Held {
    Held {
        rate,
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

//! What is to be known before a number is believed.

use crate::load::outcome::{Fanout, Generator, Outcome};

/// Other work on the machine that is worth a remark, in cores.
const OTHER_CORES_MAX: f64 = 0.3;
/// The generator's own lateness that is worth one: from here on, if it is so much of the deliveries' latency at the same quantile.
const LATE_MS_MIN: f64 = 5.0;
const LATE_SHARE_MIN: f64 = 0.5;

/// In a line, if there is something.
pub(super) fn remark(outcome: &Outcome) -> Option<String> {
    let mut remarks: Vec<String> =
        outcome.wrong().map(|wrong| format!("WRONG: {wrong}")).into_iter().collect();
    let mut of_generator = |generator: &Generator| {
        if generator.was_the_limit {
            remarks.push("the generator was itself the limit".to_owned());
        }
    };
    match outcome {
        Outcome::Fanout(fanout) => {
            of_generator(&fanout.generator);
            remarks.extend(own_lateness(fanout));
            if let Some(other) = fanout.other_cores.filter(|&other| other > OTHER_CORES_MAX) {
                remarks.push(format!("other work took {other:.1} cores meanwhile"));
            }
            if fanout.refused + fanout.connections_lost > 0 {
                remarks.push(format!(
                    "{} sends refused, {} connections lost",
                    fanout.refused, fanout.connections_lost
                ));
            }
            remarks.extend(fanout.trouble.clone());
        }
        Outcome::Connects(connects) => {
            of_generator(&connects.generator);
            remarks.extend(connects.trouble.clone());
        }
        Outcome::Reconnects(reconnects) => {
            of_generator(&reconnects.generator);
            remarks.extend(reconnects.trouble.clone());
        }
        Outcome::Idle(_) => {}
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

/// A generator that stands still for a moment makes all late that was due meanwhile, and it would pass as the target's doing.
fn own_lateness(fanout: &Fanout) -> Option<String> {
    let (late, delivery) = fanout.generator.lateness.zip(fanout.delivery)?;
    let quantiles = [
        ("p99", late.p99_ms, delivery.p99_ms),
        ("p99.9", late.p999_ms, delivery.p999_ms),
        ("max", late.max_ms, delivery.max_ms),
    ];
    quantiles.into_iter().find_map(|(name, late, delivery)| {
        (late >= LATE_MS_MIN && late >= LATE_SHARE_MIN * delivery).then(|| {
            format!(
                "from {name} on the latency is the generator's own: it was {late:.0} ms late, deliveries took {delivery:.0} ms"
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::Quantiles;
    use crate::load::outcome::tests::stepped;

    #[test]
    fn a_generator_that_stood_still_is_not_the_targets_latency() {
        let said = |p99_ms: f64, p999_ms: f64, of_delivery: f64| {
            let of =
                |p999_ms| Quantiles { count: 9, p99_ms, p999_ms, max_ms: p999_ms, ..Quantiles::default() };
            let generator = Generator { core_share: 0.1, lateness: Some(of(p999_ms)), was_the_limit: false };
            let delivery = Quantiles { p99_ms: 12.0, ..of(of_delivery) };
            let fanout = Fanout { generator, delivery: Some(delivery), ..stepped(Vec::new()) };
            remark(&Outcome::Fanout(Box::new(fanout))).unwrap_or_default()
        };
        assert!(said(0.2, 335.0, 342.0).contains("from p99.9 on"), "{}", said(0.2, 335.0, 342.0));
        assert!(said(9.0, 335.0, 342.0).contains("from p99 on"));
        // Late, but what deliveries took is the target's; or not late enough to matter.
        assert_eq!(said(0.2, 100.0, 342.0), "");
        assert_eq!(said(0.2, 4.0, 5.0), "");
    }
}

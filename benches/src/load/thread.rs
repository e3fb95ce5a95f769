//! The generator's own thread and runtime, so that its CPU time can be told from everything else's.

use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime::{Builder, LocalOptions};

use super::outcome::Outcome;
use super::{connects, fanout, idle, reconnects};
use crate::scenario::{Measure, Scenario};
use crate::signals::Signals;
use crate::targets::live::{Live, Settings, Target};
use crate::view::View;

/// Starts the target, measures, stops it: also when a signal ends the measurement.
pub fn measure(
    target: Target,
    settings: Settings,
    scenario: Scenario,
    view: View,
) -> anyhow::Result<Outcome> {
    let generator = std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let mut signals = Signals::listen()?;
            tokio::select! {
                outcome = one(&target, &settings, &scenario, &view) => outcome,
                signal = signals.next() => Err(signal.into()),
            }
        })
    })?;
    generator.join().map_err(|_| anyhow!("the generator panicked"))?
}

async fn one(
    target: &Target,
    settings: &Settings,
    scenario: &Scenario,
    view: &View,
) -> anyhow::Result<Outcome> {
    let waiting = (settings.patience, view);
    let live = Rc::new(Live::start(target, settings, scenario, view).await?);
    Ok(match scenario.measure {
        Measure::Fanout(load) => {
            let fanout = fanout::run(&live, scenario.shape, load, scenario.beside, waiting).await?;
            Outcome::Fanout(Box::new(fanout))
        }
        Measure::Idle { settle_seconds } => {
            Outcome::Idle(idle::run(&live, Duration::from_secs(settle_seconds.into()), view).await?)
        }
        Measure::Connects { in_flight } => {
            Outcome::Connects(Box::new(connects::run(&live, in_flight, view).await?))
        }
        Measure::Reconnects { rate, body_bytes, seconds, away_seconds } => {
            let storm = reconnects::Storm { rate, body_bytes, seconds, away_seconds };
            Outcome::Reconnects(Box::new(reconnects::run(&live, scenario.shape, storm, waiting).await?))
        }
    })
}

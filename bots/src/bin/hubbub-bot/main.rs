//! A bot of Hubbub as a program of its own, and the example for those who write one: it speaks AMQP and nothing else.

mod bodies;
mod session;
mod settings;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Parser;
use hubbub_bots::Bot;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use session::Program;
use settings::Flags;

/// Waits between two connections; one that lasted longer than the longest begins anew.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Not below: libraries would log what they send, tokens and all.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO);
    log.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
    let flags = Flags::parse();
    let program = Program {
        broker: flags.broker()?,
        queues: flags.queues()?,
        token: flags.token()?.into(),
        bot: Bot::new(flags.prices()?),
    };
    let (end, mut ending) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        end.send_replace(true);
    });

    let mut wait = WAIT_MIN;
    while !*ending.borrow() {
        let began = Instant::now();
        if let Err(error) = program.session(&mut ending).await {
            if began.elapsed() > WAIT_MAX {
                wait = WAIT_MIN;
            }
            tracing::warn!("trying again, for: {error:#}");
            // Not all at the same moment, when there are many.
            let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            tokio::select! {
                () = sleep(jittered) => {}
                _ = ending.wait_for(|&ending| ending) => {}
            }
            wait = WAIT_MAX.min(wait * 2);
        }
    }
    tracing::info!("ended");
    Ok(())
}

//! The bridge between the chat and its bots: members' commands go out, bots' answers come in. Any number of bridges run side by
//! side, and none keeps anything that its death may lose.
//!
//! - *Out* ([`commands`]): a gateway asks, any one bridge hands the command to the broker, and answers once the broker has
//!   confirmed it. Who asks is who remembers: a question that died with its bridge is asked again, of another one.
//! - *In* ([`answers`]): an answer is checked, becomes an entry through its room's holder, and only then is settled at the broker.
//!   The entry's key comes from the answer's id, so that one that is delivered again is found by the holder.
//! - What commands there are, bots say themselves ([`catalog`]).

mod answers;
mod bounded;
mod catalog;
mod commands;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{NodeId, Partitions, User};
use hubbub_core::ports::accounts::{Accounts, Secret};
use hubbub_core::ports::broker::Broker;
use hubbub_core::ports::bus::{Bus, BusError, Listener, Message, Subject};
use hubbub_node::bans::Banned;
use hubbub_node::revoked::Revoked;
use hubbub_wire::tier::control::Control;
use hubbub_wire::tier::parcel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answers::Answers;
use crate::catalog::Catalog;
use crate::commands::Commands;

/// How long what is under way at the end may take.
const FINISH_MAX: Duration = Duration::from_secs(3);

/// The ports a bridge stands on.
#[derive(Clone)]
pub struct Ports {
    /// To the other tiers.
    pub bus: Arc<dyn Bus>,
    /// To the bots.
    pub broker: Arc<dyn Broker>,
    /// Which bot a token stands for.
    pub accounts: Arc<dyn Accounts>,
    /// Which bots may not answer.
    pub banned: Arc<Banned>,
    /// Tokens that were called back.
    pub revoked: Arc<Revoked>,
}

/// Settings of a bridge.
#[derive(Clone)]
pub struct Config {
    /// How many partitions there are.
    pub partitions: Partitions,
    /// The node that it is to gateways, if it is one of several.
    pub node: Option<NodeId>,
    /// The bot inside this process, if there is one: its token is known here alone.
    pub own_bot: Option<(Secret, User)>,
    /// Answers of one bot to one room a second, in the long run; ten times as many at once.
    pub answers_per_second: u32,
}

/// Serves until `end`, and then finishes what is under way.
///
/// # Errors
/// When the bus can't be listened to.
pub async fn serve(ports: Ports, config: Config, end: CancellationToken) -> Result<(), BusError> {
    metrics::describe();
    let tasks = TaskTracker::new();
    let (catalog, _heard) = Catalog::shared(ports.bus.clone()).await?;
    let commands = Commands::new(ports.broker.clone(), catalog.clone());
    let (asked, served) = commands.listen(&*ports.bus, config.node.clone()).await?;
    let told = hear_control(ports.revoked.clone(), ports.banned.clone());
    let _told = ports.bus.listen(Subject::Control, told).await?;
    let answers = Arc::new(Answers::new(ports, config, catalog, end.clone()));
    tokio::join!(commands.work(asked, &tasks, &end), answers.work(&tasks));
    // From here on other bridges are asked.
    drop(served);
    tasks.close();
    if tokio::time::timeout(FINISH_MAX, tasks.wait()).await.is_err() {
        tracing::warn!("answers of bots that were under way go back to the broker");
    }
    Ok(())
}

/// Tokens that were called back and users who were banned, as gateways tell.
fn hear_control(revoked: Arc<Revoked>, banned: Arc<Banned>) -> Listener {
    Arc::new(move |mut message: Message| match parcel::header(&mut message.payload) {
        Ok(Control::Revoked { token, until, .. }) => revoked.add(token, until),
        Ok(Control::Banned { user }) => banned.ban(user),
        Ok(Control::BanLifted { user }) => banned.lift(&user),
        Err(error) => tracing::error!(%error, "the bus brought what can't be read"),
    })
}

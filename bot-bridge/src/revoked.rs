//! Tokens that were called back while this bridge could not hear of it: before it began, or while it was cut off. It asks each gateway that
//! comes into sight, for whichever of the two was away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::NodeId;
use hubbub_core::ports::bus::Bus;
use hubbub_node::revoked::{Revoked, told_by};
use hubbub_node::roster::Roster;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How long the first answers of bots wait for a gateway to tell: one that lives is heard of within half a second.
pub const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked who lives.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Asks gateways, as long as it is not dropped. `told` is cancelled as soon as one has told.
pub async fn keep_asking(
    bus: Arc<dyn Bus>,
    gateways: Arc<Roster>,
    revoked: Arc<Revoked>,
    told: CancellationToken,
) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut in_sight, mut questions) = (BTreeSet::new(), JoinSet::new());
    loop {
        look.tick().await;
        while questions.try_join_next().is_some() {}
        let living = BTreeSet::from_iter(gateways.living());
        for gateway in living.difference(&in_sight).cloned() {
            questions.spawn(ask(bus.clone(), gateway, revoked.clone(), told.clone()));
        }
        in_sight = living;
    }
}

async fn ask(bus: Arc<dyn Bus>, gateway: NodeId, revoked: Arc<Revoked>, told: CancellationToken) {
    if let Some(tokens) = told_by(&*bus, &gateway).await {
        tokens.iter().for_each(|(until, token)| revoked.add(*token, *until));
        told.cancel();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::ids::{Millis, Partitions, User, UserId};
    use hubbub_core::ports::PortFuture;
    use hubbub_core::ports::accounts::{Account, Accounts, AccountsError, BuiltInAccounts, Role, Secret};
    use hubbub_core::ports::broker::{Broker, BrokerError, Delivery, Outgoing, Settled};
    use hubbub_core::ports::bus::{Message, Reply, Subject, Subscription};
    use hubbub_node::revoked::token_id;
    use hubbub_node::roster::give_signs_of_life;
    use hubbub_wire::amqp;
    use hubbub_wire::tier::bots::{AskBots, CommandFacts, ToldBots};
    use hubbub_wire::tier::node::Tier;
    use hubbub_wire::tier::parcel;
    use hubbub_wire::tier::presence::{Question, RevokedPage};
    use tokio::sync::{Mutex, mpsc, oneshot};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;
    use crate::{Config, Ports, serve};

    const CALLED_BACK: &str = "called back";
    /// After this a test has failed.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// Each token is that of a bot.
    struct Bots;

    impl Accounts for Bots {
        fn validate<'a>(&'a self, _: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>> {
            let user = User { id: UserId::parse("bot-stocks").unwrap(), name: "Stocks".into() };
            let account = Account { user, roles: vec![Role::Bot], expires_at: Millis(u64::MAX) };
            Box::pin(std::future::ready(Ok(account)))
        }

        fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
            None
        }
    }

    type Said = (Bytes, oneshot::Sender<Settled>);

    /// A broker with a queue of what bots say.
    struct Queue(Mutex<mpsc::UnboundedReceiver<Said>>);

    impl Broker for Queue {
        fn send(&self, _: Outgoing) -> PortFuture<'static, Result<(), BrokerError>> {
            Box::pin(std::future::ready(Err(BrokerError::Unknown)))
        }

        fn receive(&self) -> PortFuture<'_, Delivery> {
            Box::pin(async move {
                let Some((body, settled)) = self.0.lock().await.recv().await else {
                    return std::future::pending().await;
                };
                Delivery::new("1".into(), body, move |how| _ = settled.send(how))
            })
        }

        fn trouble(&self) -> Option<String> {
            None
        }
    }

    /// A bridge, and where its bots say something.
    struct World {
        bus: Arc<dyn Bus>,
        said: mpsc::UnboundedSender<Said>,
        _end: tokio_util::sync::DropGuard,
    }

    impl World {
        fn begin(bus: Arc<dyn Bus>) -> Self {
            let (said, queue) = mpsc::unbounded_channel();
            let broker = Arc::new(Queue(Mutex::new(queue)));
            let ports = Ports { bus: bus.clone(), broker, accounts: Arc::new(Bots), banned: Arc::default() };
            let (partitions, node) = (Partitions::new(1).unwrap(), NodeId::parse("bridge").ok());
            let config = Config { partitions, node, own_bot: None, answers_per_second: 10 };
            let end = CancellationToken::new();
            tokio::spawn(serve(ports, config, end.clone()));
            Self { bus, said, _end: end.drop_guard() }
        }

        /// What becomes of something that a bot says.
        async fn settled(&self, token: &str) -> Settled {
            let facts =
                CommandFacts { command: "stock".into(), usage: "/stock=CODE".into(), about: "".into() };
            let (tell, settled) = oneshot::channel();
            self.said.send((amqp::announcement(&Secret::new(token.into()), &[facts]), tell)).unwrap();
            timeout(DEADLINE, settled).await.expect("in time").expect("settled")
        }
    }

    /// A gateway that knows of two tokens that were called back, and tells one a page.
    async fn gateway(bus: &Arc<dyn Bus>) -> Subscription {
        let node = NodeId::parse("gateway").unwrap();
        let answer = |mut question: Message, reply: Reply| {
            let Question::Revoked { after } = parcel::header(&mut question.payload).unwrap() else {
                panic!("something else is asked")
            };
            let token = token_id(&Secret::new(if after.is_none() { "another" } else { CALLED_BACK }.into()));
            let tokens = vec![(Millis(u64::MAX - u64::from(after.is_none())), token)];
            reply.send(parcel::pack(&RevokedPage { tokens, more: after.is_none() }));
        };
        let served = bus.serve(Subject::Node(node.clone()), Arc::new(answer)).await.unwrap();
        tokio::spawn(give_signs_of_life(bus.clone(), node, Tier::Gateway, || true, CancellationToken::new()));
        served
    }

    #[tokio::test(start_paused = true)]
    async fn a_bridge_that_starts_refuses_what_was_called_back_before() {
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::default());
        let _gateway = gateway(&bus).await;
        let world = World::begin(bus);
        assert_eq!(world.settled(CALLED_BACK).await, Settled::Refused);
        assert_eq!(world.settled("of a bot").await, Settled::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bridge_serves_where_no_gateway_lives_and_asks_one_that_comes_into_sight() {
        let world = World::begin(Arc::new(LocalBus::default()));
        let began = Instant::now();
        tokio::task::yield_now().await;
        let known = parcel::pack(&AskBots::Known);
        let mut known = world.bus.request(&Subject::Bots, known.into(), DEADLINE).await.unwrap();
        assert!(matches!(parcel::header(&mut known), Ok(ToldBots::Known(_))));
        assert_eq!(began.elapsed(), Duration::ZERO, "commands wait for no gateway");
        assert_eq!(world.settled(CALLED_BACK).await, Settled::Done);
        assert!(began.elapsed() <= TOLD_WITHIN + LOOK_EVERY, "{:?}", began.elapsed());
        let _gateway = gateway(&world.bus).await;
        let came = Instant::now();
        while world.settled(CALLED_BACK).await == Settled::Done {
            assert!(came.elapsed() < DEADLINE, "it was not asked");
            sleep(LOOK_EVERY).await;
        }
    }
}

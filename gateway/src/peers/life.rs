//! What a gateway does about the others, from its start to its end: it listens, tells, asks and answers, and looks who lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_core::ids::NodeId;
use hubbub_core::ports::bus::{Bus, BusError, Message, Payload, Reply, Subject, Subscription};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::presence::{Changes, Page, Place, Question};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::metrics as names;
use crate::peers::announce::announce;
use crate::peers::balance::Balance;
use crate::peers::peer::{News, Peer, Snapshot};
use crate::peers::{Peers, Verdict};

/// How often it is looked who lives, and how often changes are told at most: the first after a while at once, since what
/// was not told dies with a gateway.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Turns after which it is looked whether there are too many connections here.
const BALANCE_EVERY: u32 = 5;
/// Turns after which a gateway without changes says how far it is, so that the loss of its last message is noticed.
const SIGN_EVERY: u32 = 5;
/// What the bus brought and nobody looked at yet; beyond it a message is lost, and noticed by its number.
const INBOX_MAX: usize = 4_096;
/// How long the roster must lack a gateway before its users are dropped. A gateway that does not hear the bus loses the
/// others from its roster first and itself at last, within a beat: by then it knows that it is the one.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// How long one that is gone is remembered: should it be back, its users were told offline.
const REMEMBERED: Duration = Duration::from_secs(600);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Pages of one answer: more users than one process can hold.
const PAGES_MAX: usize = 16_384;

enum Heard {
    Changes(Payload),
    Question(Payload, Reply),
}

/// Ears on the bus.
pub struct Listening {
    heard: mpsc::Receiver<Heard>,
    _subscriptions: [Subscription; 2],
}

impl Peers {
    /// Hears the others, and whoever asks, from now on.
    ///
    /// # Errors
    /// As of [`Bus::listen`].
    pub async fn listen(&self, bus: &dyn Bus) -> Result<Listening, BusError> {
        let (inbox, heard) = mpsc::channel(INBOX_MAX);
        let asked = inbox.clone();
        let listener = Arc::new(move |message: Message| _ = inbox.try_send(Heard::Changes(message.payload)));
        let server = Arc::new(move |message: Message, reply| {
            _ = asked.try_send(Heard::Question(message.payload, reply));
        });
        let listening = bus.listen(Subject::Presence, listener).await?;
        let serving = bus.serve(Subject::Node(self.cluster.node.clone()), server).await?;
        Ok(Listening { heard, _subscriptions: [listening, serving] })
    }

    /// Keeps this gateway and the others informed until `leaving`; then says that it leaves.
    pub async fn live(
        self: Arc<Self>,
        gateway: Arc<Gateway>,
        mut listening: Listening,
        leaving: CancellationToken,
    ) {
        let mut turn = tokio::time::interval(TELL_EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut attempt, mut silent_turns, mut turns) = (0, 0, 0_u32);
        let mut balance = Balance::new(gateway.config.rebalance_per_second);
        let mut living = Vec::new();
        let mut told = Instant::now();
        loop {
            tokio::select! {
                () = leaving.cancelled() => break,
                _ = turn.tick() => {
                    let (verdict, to_ask) = self.look_around(Instant::now(), &mut attempt);
                    announce(&gateway, &self, verdict);
                    for (node, attempt) in to_ask {
                        tokio::spawn(self.clone().ask(gateway.clone(), node, attempt));
                    }
                    turns = turns.wrapping_add(1);
                    if turns.is_multiple_of(BALANCE_EVERY) {
                        self.balance(&gateway, &mut balance, &mut living);
                    }
                    silent_turns += 1;
                    if self.tell(&gateway, silent_turns >= SIGN_EVERY) {
                        (silent_turns, told) = (0, Instant::now());
                    }
                }
                () = self.news.notified(), if told.elapsed() >= TELL_EVERY => {
                    if self.tell(&gateway, false) {
                        (silent_turns, told) = (0, Instant::now());
                    }
                }
                Some(heard) = listening.heard.recv() => {
                    let verdict = self.hear(heard);
                    announce(&gateway, &self, verdict);
                }
            }
        }
        self.tell(&gateway, false);
        self.say(&gateway, Changes { leaving: true, ..self.sign() });
    }

    /// Lets some connections go if there are more than this gateway's share. `before` is who lived at the last look.
    fn balance(&self, gateway: &Gateway, balance: &mut Balance, before: &mut Vec<NodeId>) {
        let others: Vec<_> = {
            let known = self.lock();
            if known.living != *before {
                before.clone_from(&known.living);
                balance.unsettle();
            }
            let others = known.living.iter().filter(|node| **node != self.cluster.node);
            others.map(|node| known.others.get(node).and_then(Peer::carried)).collect()
        };
        let count = balance.turn(Instant::now(), gateway.carries(), &others);
        if count > 0 {
            tracing::debug!(
                count,
                "more connections here than this gateway's share: some are sent elsewhere"
            );
            gateway.send_away(count);
        }
    }

    /// Who lives, who died, and who must be asked.
    fn look_around(&self, now: Instant, attempt: &mut u64) -> (Verdict, Vec<(NodeId, u64)>) {
        let me = &self.cluster.node;
        let mut living = self.cluster.roster.living();
        let mut known = self.lock();
        if !living.contains(me) {
            // Our own signs of life do not come back: we are cut off, and whom we do not hear may be well.
            known.living = Vec::new();
            known.others.values_mut().for_each(Peer::may_be_missing);
            return Default::default();
        }
        let mut news = News::default();
        for (node, peer) in known.others.iter_mut().filter(|(node, _)| living.binary_search(node).is_err()) {
            if now.duration_since(peer.is_missing(now)) >= DEAD_AFTER && !peer.is_gone() {
                tracing::info!(%node, "a gateway is silent: its users count as gone");
                peer.end(now, false, &mut news);
            }
        }
        let is_forgotten = |since: Instant| now.duration_since(since) > REMEMBERED;
        known.others.retain(|node, peer| {
            living.binary_search(node).is_ok() || !peer.gone_since().is_some_and(is_forgotten)
        });
        let mut to_ask = Vec::new();
        for node in living.iter().filter(|node| *node != me) {
            let peer = known.others.entry(node.clone()).or_default();
            peer.lives();
            if peer.begin_asking(*attempt, now) {
                to_ask.push((node.clone(), *attempt));
                *attempt += 1;
            }
        }
        living.retain(|node| !known.others.get(node).is_some_and(Peer::has_left));
        known.living = living;
        if known.is_acquainted(me, now) {
            self.acquainted.cancel();
        }
        metrics::gauge!(names::PEERS).set(known.living.len().saturating_sub(1) as f64);
        let verdict = known.weigh(me, news, None);
        (verdict, to_ask)
    }

    /// Tells what changed, or if `anyway` that nothing did. Whether anything was said.
    fn tell(&self, gateway: &Gateway, anyway: bool) -> bool {
        let mut said = false;
        loop {
            let changes = {
                let mut known = self.lock();
                if known.living.iter().all(|node| *node == self.cluster.node) {
                    known.keep_to_itself();
                    return true;
                }
                known.next_changes(&self.cluster.node)
            };
            let Some(changes) = changes else { break };
            self.say(gateway, changes);
            said = true;
        }
        if anyway && !said {
            self.say(gateway, self.sign());
            said = true;
        }
        said
    }

    fn sign(&self) -> Changes {
        Changes {
            node: self.cluster.node.clone(),
            number: self.lock().number,
            came: Vec::new(),
            went: Vec::new(),
            counts: Vec::new(),
            carried: None,
            leaving: false,
        }
    }

    fn say(&self, gateway: &Gateway, changes: Changes) {
        let changes = Changes { carried: Some(gateway.carries()), ..changes };
        if let Err(error) = gateway.bus.publish(&Subject::Presence, parcel::pack(&changes).into()) {
            // The others see it by the next number.
            tracing::debug!(%error, "could not tell the other gateways who came and went");
        }
    }

    fn hear(&self, heard: Heard) -> Verdict {
        match heard {
            Heard::Question(mut payload, reply) => match parcel::header::<Question>(&mut payload) {
                Ok(Question::Present { from }) => {
                    let page = self.lock().page(from);
                    reply.send(parcel::pack(&page));
                }
                Err(error) => unreadable(&error),
            },
            Heard::Changes(mut payload) => match parcel::header::<Changes>(&mut payload) {
                Ok(changes) if changes.node != self.cluster.node => return self.hear_changes(changes),
                Ok(_) => {}
                Err(error) => unreadable(&error),
            },
        }
        Verdict::default()
    }

    fn hear_changes(&self, changes: Changes) -> Verdict {
        let mut known = self.lock();
        let (node, leaving) = (changes.node.clone(), changes.leaving);
        let mut news = News::default();
        // Of one that the roster does not have, all is asked for as soon as it does.
        let Some(peer) = known.others.get_mut(&node) else { return Verdict::default() };
        peer.hear(changes, Instant::now(), &mut news);
        if leaving {
            known.living.retain(|living| *living != node);
        }
        known.weigh(&self.cluster.node, news, Some(&node))
    }

    /// Asks a gateway for all that it has to tell.
    async fn ask(self: Arc<Self>, gateway: Arc<Gateway>, node: NodeId, attempt: u64) {
        metrics::counter!(names::PEER_SNAPSHOTS).increment(1);
        let snapshot = self.collect(&*gateway.bus, &node).await;
        let mut known = self.lock();
        let Some(peer) = known.others.get_mut(&node) else { return };
        let mut news = News::default();
        match snapshot {
            Some(snapshot) => peer.learn(attempt, snapshot, &mut news),
            None => peer.end_asking(attempt, Instant::now() + ASK_AGAIN),
        }
        let verdict = known.weigh(&self.cluster.node, news, Some(&node));
        drop(known);
        announce(&gateway, &self, verdict);
    }

    async fn collect(&self, bus: &dyn Bus, node: &NodeId) -> Option<Snapshot> {
        let subject = Subject::Node(node.clone());
        let mut snapshot = Snapshot::default();
        let mut from = Place::Users(None);
        for _ in 0..PAGES_MAX {
            let question = parcel::pack(&Question::Present { from });
            let mut answer = match bus.request(&subject, question.into(), ASK_TIMEOUT).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::debug!(%error, %node, "a gateway did not say who is there");
                    return None;
                }
            };
            let mut page = match parcel::header::<Page>(&mut answer) {
                Ok(page) => page,
                Err(error) => {
                    unreadable(&error);
                    return None;
                }
            };
            let next = page.next.take();
            snapshot.take(page);
            match next {
                Some(place) => from = place,
                None => return Some(snapshot),
            }
        }
        None
    }
}

fn unreadable(error: &parcel::BadParcel) {
    metrics::counter!(names::PEER_UNREADABLE).increment(1);
    tracing::debug!(%error, "another gateway said what can't be read");
}

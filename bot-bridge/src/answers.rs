//! Answers in: checked, kept in their room once, and only then settled at the broker.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hubbub_core::ids::{Key, RoomId, User, UserId};
use hubbub_core::limits::BotText;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{AccountsError, Role, Secret};
use hubbub_core::ports::broker::{Delivery, Settled};
use hubbub_core::ports::bus::{BusError, Payload, Subject};
use hubbub_core::room::{Answer, Refusal, Verb};
use hubbub_node::backoff::Backoff;
use hubbub_node::rate_limit::RateLimit;
use hubbub_node::revoked::{Refused, token_id};
use hubbub_wire::amqp::{self, FromBot, Says};
use hubbub_wire::tier::act::{Ask, Told, What};
use hubbub_wire::tier::parcel;
use metrics::counter;
use sha2::{Digest, Sha256};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounded::Bounded;
use crate::catalog::Catalog;
use crate::metrics::{ANSWERS, TRIED_AGAIN};
use crate::{Config, Ports};

/// How long one try to keep an answer may take.
const TRY_MAX: Duration = Duration::from_secs(2);
/// Pauses between tries, to keep an answer or to check a token.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
/// How long it may be asked what becomes of an answer while others are decided: each takes a place of those that the broker gives a
/// bridge unsettled, and 2,000 without an end would keep out all other bots. Well below the 30 minutes after which RabbitMQ takes a
/// consumer for stuck.
const UNDECIDED_MAX: Duration = Duration::from_secs(600);
/// Whether others are: one was within this time. While none is, the accounts or the rooms are away, and answers wait for them.
const OTHERS_WITHIN: Duration = Duration::from_secs(60);
/// Labels of answers that were given up: nobody said whether the token is valid, or the room did not answer.
const NO_VERDICT: &str = "no_verdict";
const ROOM_SILENT: &str = "room_silent";
/// Answers of which it is remembered that they are kept: their settling may be lost with the broker, and when that is back
/// their room may have gone on for longer than it remembers keys.
const REMEMBERED_MAX: usize = 100_000;

/// Takes answers in.
pub struct Answers {
    ports: Ports,
    config: Config,
    catalog: Arc<Catalog>,
    end: CancellationToken,
    rate: RateLimit<(UserId, RoomId)>,
    /// By its bot too: what ids bots give is theirs, and two may give the same.
    kept: Mutex<Bounded<(UserId, RoomId, Key), ()>>,
    /// A flood of junk is counted, and not each of it logged.
    said: RateLimit<&'static str>,
    /// When the accounts last said something of a token, and a room of an answer.
    judged: Decided,
    told: Decided,
}

/// When something of a kind was last decided.
#[derive(Default)]
struct Decided(Mutex<Option<tokio::time::Instant>>);

impl Decided {
    /// Waits for a decision, for as long as none is taken at all; `None` if others are and this one is not.
    async fn wait<T>(&self, decision: impl Future<Output = T>) -> Option<T> {
        let mut decision = std::pin::pin!(decision);
        let mut until = tokio::time::Instant::now() + UNDECIDED_MAX;
        loop {
            if let Ok(decided) = timeout_at(until, &mut decision).await {
                return Some(decided);
            }
            if self.lock().is_some_and(|last| last + OTHERS_WITHIN >= until) {
                return None;
            }
            until += OTHERS_WITHIN;
        }
    }

    fn note(&self) {
        *self.lock() = Some(tokio::time::Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<tokio::time::Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of an answer: its metric's label, and the broker's part.
type Outcome = (&'static str, Settled);

impl Answers {
    pub fn new(ports: Ports, config: Config, catalog: Arc<Catalog>, end: CancellationToken) -> Self {
        let per_second = config.answers_per_second;
        Self {
            ports,
            catalog,
            end,
            rate: RateLimit::new(per_second, per_second.saturating_mul(10)),
            kept: Mutex::new(Bounded::new(REMEMBERED_MAX)),
            said: RateLimit::new(1, 3),
            judged: Decided::default(),
            told: Decided::default(),
            config,
        }
    }

    /// Takes answers until the `end`.
    pub async fn work(self: &Arc<Self>, tasks: &TaskTracker) {
        while let Some(delivery) = self.end.run_until_cancelled(self.ports.broker.receive()).await {
            let this = self.clone();
            let mut taken = Box::pin(async move { this.take(delivery).await });
            // Polled here first: if the bot's token can be checked at once, its answer is on its way to the holder before the
            // next one is looked at, and a bot's answers keep their order.
            if taken.as_mut().now_or_never().is_none() {
                tasks.spawn(taken);
            }
        }
    }

    async fn take(&self, delivery: Delivery) {
        let judged = self.judge(&delivery.id, &delivery.body);
        // At the end, what is not done is dropped, and goes to another bridge.
        let Some((label, settled)) = self.end.run_until_cancelled(judged).await else { return };
        counter!(ANSWERS, "outcome" => label).increment(1);
        if settled == Settled::Refused && self.said.check(&label, Instant::now()).is_ok() {
            // Its body has a token in it.
            tracing::warn!(reason = label, id = delivery.id, "a bot's answer was refused{}", in_words(label));
        }
        delivery.settle(settled);
    }

    async fn judge(&self, id: &str, body: &[u8]) -> Outcome {
        let FromBot { token, says } = match amqp::from_bot(body) {
            Ok(from) => from,
            Err(junk) => return (junk.label(), Settled::Refused),
        };
        let bot = match self.judged.wait(self.bot(&token)).await {
            Some(Ok(bot)) => bot,
            Some(Err(label)) => return (label, Settled::Refused),
            None => return (NO_VERDICT, Settled::Refused),
        };
        match says {
            Says::Commands(commands) => {
                self.catalog.announce(bot.id, commands);
                ("announced", Settled::Done)
            }
            Says::Answer { room, text } => {
                let told = self.told.wait(self.keep(bot, room, text, key(id))).await;
                told.unwrap_or((ROOM_SILENT, Settled::Refused))
            }
        }
    }

    /// The bot of a token. Waits while that can't be told.
    async fn bot(&self, token: &Secret) -> Result<User, &'static str> {
        if let Some((own, user)) = &self.config.own_bot
            && own == token
        {
            return match self.ports.banned.has(&user.id) {
                true => Err("banned"),
                false => Ok(user.clone()),
            };
        }
        let mut backoff = PAUSES;
        let verdict = loop {
            match self.ports.accounts.validate(token).await {
                Err(AccountsError::Unavailable { .. } | AccountsError::RateLimited { .. }) => {
                    backoff.pause().await;
                }
                verdict => break verdict,
            }
        };
        self.judged.note();
        match verdict {
            Ok(account) if self.ports.revoked.refuses(token_id(token), account.expires_at) != Refused::No => {
                Err("token")
            }
            Ok(account) if self.ports.banned.has(&account.user.id) => Err("banned"),
            Ok(account) if account.roles.contains(&Role::Bot) => Ok(account.user),
            Ok(_) => Err("role"),
            Err(_) => Err("token"),
        }
    }

    /// Has the room's holder keep an answer, however often that has to be asked: until the future is dropped.
    async fn keep(&self, bot: User, room: RoomId, text: BotText, key: Key) -> Outcome {
        let this = (bot.id.clone(), room.clone(), key.clone());
        if self.lock_kept().get(&this).is_some() {
            return ("kept", Settled::Done);
        }
        if self.rate.check(&(bot.id.clone(), room.clone()), Instant::now()).is_err() {
            return ("rate_limited", Settled::Refused);
        }
        let what = What::Do { user: bot, verb: Verb::Answer { text, key } };
        let timeout_ms = TRY_MAX.as_millis() as u32;
        let subject = Subject::Act(self.config.partitions.of(&room));
        let payload = parcel::pack(&Ask { room, what, timeout_ms });
        let mut backoff = PAUSES;
        loop {
            let answer: PortFuture<'_, _> = self.ports.bus.request(&subject, payload.clone().into(), TRY_MAX);
            if let Some(outcome) = outcome_of(answer.await) {
                self.told.note();
                if outcome.1 == Settled::Done {
                    self.lock_kept().insert(this, ());
                }
                return outcome;
            }
            counter!(TRIED_AGAIN).increment(1);
            backoff.pause().await;
        }
    }

    fn lock_kept(&self) -> std::sync::MutexGuard<'_, Bounded<(UserId, RoomId, Key), ()>> {
        // A panic elsewhere can at worst leave a key to be asked for, which its room finds.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a label does not say by itself, for who reads the log.
fn in_words(label: &str) -> &'static str {
    match label {
        NO_VERDICT => {
            ": for 10 minutes the accounts did not say whether its token is valid, and spoke of others"
        }
        ROOM_SILENT => ": for 10 minutes its room could not be reached, and others could",
        _ => "",
    }
}

/// What a holder's answer means; `None` if it is to be asked again.
fn outcome_of(answer: Result<Payload, BusError>) -> Option<Outcome> {
    let mut payload = match answer {
        Ok(payload) => payload,
        Err(BusError::TooLarge) => return Some(("too_large", Settled::Refused)),
        Err(_) => return None,
    };
    match parcel::header(&mut payload) {
        Ok(Told::Done(Answer::Kept { .. })) => Some(("kept", Settled::Done)),
        Ok(Told::NoSuchRoom | Told::Done(Answer::Refused(Refusal::NoSuchRoom))) => {
            Some(("no_such_room", Settled::Refused))
        }
        Ok(Told::Done(_) | Told::Synced(_) | Told::Erased(_) | Told::Trimmed(_)) => {
            tracing::error!("a tier answered what can't be read");
            Some(("unreadable", Settled::Refused))
        }
        Ok(Told::Unavailable | Told::Moved) => None,
        Err(error) => {
            tracing::error!(%error, "a tier answered what can't be read");
            None
        }
    }
}

/// An answer's key in its room: of the answer's id alone, which is the bot's or the one that it was given.
fn key(id: &str) -> Key {
    let digest: [u8; 32] = Sha256::digest(id).into();
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Key::parse(&format!("bot:{hex}")).expect("36 plain characters are a key")
}

#[cfg(test)]
mod tests {
    use hubbub_adapters::broker::LocalBroker;
    use hubbub_adapters::bus::LocalBus;
    use hubbub_core::ids::{Millis, Partitions, Seq};
    use hubbub_core::ports::accounts::{Account, Accounts, BuiltInAccounts};
    use hubbub_core::ports::bus::{Message, Reply, Subscription};
    use hubbub_wire::tier::bots::CommandFacts;

    use super::*;

    /// Each token is that of the one bot, but for [`WEATHER`] and [`UNJUDGED`], and ends some time.
    struct Bots;

    /// The token of another bot.
    const WEATHER: &str = "of the bot for the weather";
    /// A token of which nothing is ever said.
    const UNJUDGED: &str = "unjudged";

    impl Accounts for Bots {
        fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Result<Account, AccountsError>> {
            if token.reveal() == UNJUDGED {
                let inside = "the service speaks of something else".into();
                return Box::pin(std::future::ready(Err(AccountsError::Unavailable { inside })));
            }
            let expires_at = Millis(1_000_000_000_000_000);
            let user = user(if token.reveal() == WEATHER { "bot-weather" } else { "bot-stocks" });
            let account = Account { user, roles: vec![Role::Bot], expires_at };
            Box::pin(std::future::ready(Ok(account)))
        }

        fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
            None
        }
    }

    fn user(id: &str) -> User {
        User { id: UserId::parse(id).unwrap(), name: id.into() }
    }

    async fn answers(own_bot: Option<(Secret, User)>) -> Answers {
        let bus = Arc::new(LocalBus::default());
        let (catalog, _) = Catalog::shared(bus.clone()).await.unwrap();
        let broker = Arc::new(LocalBroker::new().0);
        let ports =
            Ports { bus, broker, accounts: Arc::new(Bots), banned: Arc::default(), revoked: Arc::default() };
        let partitions = Partitions::new(1).unwrap();
        let config = Config { partitions, node: None, own_bot, answers_per_second: 10_000 };
        Answers::new(ports, config, catalog, CancellationToken::new())
    }

    async fn announces(answers: &Answers, token: &Secret) -> Outcome {
        let facts = CommandFacts { command: "stock".into(), usage: "/stock=CODE".into(), about: "".into() };
        answers.judge("1", &amqp::announcement(token, &[facts])).await
    }

    /// A holder that keeps whatever it is asked to but in the room "silent", and whose users' answers those were.
    async fn holder(answers: &Answers) -> (Arc<Mutex<Vec<String>>>, Subscription) {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeps = kept.clone();
        let serve = move |mut message: Message, reply: Reply| {
            let Ask { room, what: What::Do { user, .. }, .. } = parcel::header(&mut message.payload).unwrap()
            else {
                panic!("nothing to keep");
            };
            if room.as_str() == "silent" {
                return;
            }
            keeps.lock().unwrap().push(user.id.to_string());
            reply.send(parcel::pack(&Told::Done(Answer::Kept { seq: Seq(1), at: None })));
        };
        let subject = Subject::Act(answers.config.partitions.of(&room()));
        (kept, answers.ports.bus.serve(subject, Arc::new(serve)).await.unwrap())
    }

    fn room() -> RoomId {
        RoomId::parse("r").unwrap()
    }

    async fn says(answers: &Answers, id: &str, token: &str) -> Outcome {
        says_in(answers, "r", id, token).await
    }

    async fn says_in(answers: &Answers, room: &str, id: &str, token: &str) -> Outcome {
        let (token, text) = (Secret::new(token.into()), BotText::new("hi".into(), false).unwrap());
        answers.judge(id, &amqp::answer(&RoomId::parse(room).unwrap(), &token, &text)).await
    }

    #[tokio::test]
    async fn an_answer_is_known_again_by_its_bot_and_its_id() {
        let answers = answers(None).await;
        let (kept, _holder) = holder(&answers).await;
        for token in ["of the bot", WEATHER, "of the bot"] {
            assert_eq!(says(&answers, "1", token).await, ("kept", Settled::Done));
        }
        assert_eq!(*kept.lock().unwrap(), ["bot-stocks", "bot-weather"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_nothing_can_be_told_does_not_hold_its_place_for_ever() {
        let answers = answers(None).await;
        let minutes = |n: u64| Duration::from_secs(n * 60);
        // Nobody holds the rooms: they are away, all of them, and that may be for long.
        for token in [UNJUDGED, "of the bot"] {
            let outcome = tokio::time::timeout(minutes(60), says(&answers, "1", token)).await;
            assert!(outcome.is_err(), "{token}");
        }
        // Another room than this is held.
        let (_, _holder) = holder(&answers).await;
        let ids = std::cell::Cell::new(0);
        for (token, room, label) in [(UNJUDGED, "r", "no_verdict"), ("of the bot", "silent", "room_silent")] {
            let stuck = async |patience| {
                let others = async {
                    loop {
                        ids.set(ids.get() + 1);
                        says(&answers, &format!("another's {}", ids.get()), WEATHER).await;
                        tokio::time::sleep(Duration::from_secs(20)).await;
                    }
                };
                tokio::select! {
                    outcome = tokio::time::timeout(patience, says_in(&answers, room, "1", token)) => outcome,
                    never = others => never,
                }
            };
            assert!(stuck(minutes(9)).await.is_err(), "{label} too soon");
            assert_eq!(stuck(minutes(11)).await, Ok((label, Settled::Refused)));
        }
    }

    #[tokio::test]
    async fn a_bot_is_refused_once_its_token_is_called_back() {
        let (answers, token) = (answers(None).await, Secret::new("of the bot".into()));
        assert_eq!(announces(&answers, &token).await, ("announced", Settled::Done));
        answers.ports.revoked.add(token_id(&token), Millis(u64::MAX));
        assert_eq!(announces(&answers, &token).await, ("token", Settled::Refused));
        assert_eq!(announces(&answers, &Secret::new("another".into())).await.0, "announced");
    }

    #[tokio::test]
    async fn a_bot_is_refused_once_it_is_banned_the_one_inside_too() {
        let token = Secret::new("of the bot inside".into());
        let answers = answers(Some((token.clone(), user("bot")))).await;
        assert_eq!(announces(&answers, &token).await, ("announced", Settled::Done));
        answers.ports.banned.ban(user("bot").id);
        assert_eq!(announces(&answers, &token).await, ("banned", Settled::Refused));
        let other = Secret::new("of another".into());
        assert_eq!(announces(&answers, &other).await, ("announced", Settled::Done));
        answers.ports.banned.ban(user("bot-stocks").id);
        assert_eq!(announces(&answers, &other).await, ("banned", Settled::Refused));
    }
}

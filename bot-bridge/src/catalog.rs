//! Which commands there are: as bots announce them, again and again. A bot that is silent for three minutes has none any more.
//!
//! An announcement comes to one bridge, which tells the others. One that begins asks them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubbub_core::ids::UserId;
use hubbub_core::ports::bus::{Bus, BusError, Message, Subject, Subscription};
use hubbub_wire::tier::bots::{Announcement, CommandFacts};
use hubbub_wire::tier::parcel;
use tokio::time::Instant;

/// Silence after which a bot's commands are forgotten.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Bots that are known; of more, nothing is taken in.
const BOTS_MAX: usize = 200;
/// Commands that are named to someone who gave a wrong one.
const NAMED_MAX: usize = 20;

/// What bots announced.
pub struct Catalog {
    bus: Arc<dyn Bus>,
    bots: Mutex<HashMap<UserId, (Instant, Vec<CommandFacts>)>>,
}

/// What the catalog says of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// There is such a command, or nothing was announced and bots may have any.
    Possible,
    /// There is none: a text for its sender.
    Absent(String),
    /// It asks what there is: a text for its sender.
    Help(String),
}

impl Catalog {
    /// A catalog that other bridges fill as well. The subscription keeps it so.
    pub async fn shared(bus: Arc<dyn Bus>) -> Result<(Arc<Self>, Subscription), BusError> {
        let catalog = Arc::new(Self { bus: bus.clone(), bots: Mutex::default() });
        let (told, mut wanted) = tokio::sync::mpsc::channel(1);
        let hearing = catalog.clone();
        let hear = move |mut message: Message| match parcel::header(&mut message.payload) {
            Ok(Announcement::Commands { bot, commands, age_ms }) => {
                let heard = Instant::now().checked_sub(Duration::from_millis(age_ms));
                if let Some(heard) = heard {
                    hearing.take(bot, commands, heard);
                }
            }
            // One that is asked for already will do.
            Ok(Announcement::Wanted) => _ = told.try_send(()),
            Err(error) => tracing::debug!(%error, "an announcement that can't be read"),
        };
        let heard = bus.listen(Subject::Announcements, Arc::new(hear)).await?;
        let weak = Arc::downgrade(&catalog);
        tokio::spawn(async move {
            while wanted.recv().await.is_some() {
                let Some(catalog) = weak.upgrade() else { return };
                catalog.say_all();
            }
        });
        catalog.say(&Announcement::Wanted);
        Ok((catalog, heard))
    }

    /// A bot announced its commands to this bridge.
    pub fn announce(&self, bot: UserId, commands: Vec<CommandFacts>) {
        self.say(&Announcement::Commands { bot: bot.clone(), commands: commands.clone(), age_ms: 0 });
        self.take(bot, commands, Instant::now());
    }

    /// What a bot said last counts, whoever tells of it and when.
    fn take(&self, bot: UserId, commands: Vec<CommandFacts>, heard: Instant) {
        let mut bots = self.lock();
        let is_news = match bots.get(&bot) {
            Some((known, _)) => *known <= heard,
            None => bots.len() < BOTS_MAX,
        };
        if is_news {
            bots.insert(bot, (heard, commands));
        }
    }

    fn say_all(&self) {
        let all: Vec<_> = self.lock().iter().map(|(bot, known)| (bot.clone(), known.clone())).collect();
        for (bot, (heard, commands)) in all {
            let age_ms = u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.say(&Announcement::Commands { bot, commands, age_ms });
        }
    }

    fn say(&self, announcement: &Announcement) {
        if let Err(error) = self.bus.publish(&Subject::Announcements, parcel::pack(announcement).into()) {
            tracing::debug!(%error, "the other bridges were not told of commands");
        }
    }

    /// All commands, by their names.
    pub fn known(&self) -> Vec<CommandFacts> {
        let now = Instant::now();
        let mut bots = self.lock();
        bots.retain(|_, (heard, _)| now.duration_since(*heard) < SILENCE_MAX);
        let mut known: Vec<_> = bots.values().flat_map(|(_, commands)| commands).cloned().collect();
        known.sort_unstable();
        known.dedup_by(|one, other| one.command == other.command);
        known
    }

    /// What there is to say of a text that gives a command.
    pub fn look_up(&self, text: &str) -> Entry {
        let known = self.known();
        let name = CommandFacts::name_in(text).unwrap_or_default();
        if known.is_empty() || known.iter().any(|known| known.command == name) {
            return Entry::Possible;
        }
        if name == "help" {
            let lines = known.iter().map(|known| match known.about.as_str() {
                "" => known.usage.clone(),
                about => format!("{}: {about}", known.usage),
            });
            return Entry::Help(lines.collect::<Vec<_>>().join("\n"));
        }
        let usages: Vec<_> = known.iter().take(NAMED_MAX).map(|known| known.usage.as_str()).collect();
        let name: String = name.chars().take(40).collect();
        Entry::Absent(format!("there is no command /{name}; there are {}", usages.join(", ")))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, (Instant, Vec<CommandFacts>)>> {
        // Each change is one call: a panic elsewhere leaves nothing half done.
        self.bots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hubbub_adapters::bus::LocalBus;

    use super::*;

    fn bot(n: usize) -> UserId {
        UserId::parse(&format!("bot-{n}")).unwrap()
    }

    fn facts(command: &str, about: &str) -> CommandFacts {
        CommandFacts { command: command.into(), usage: format!("/{command}=X"), about: about.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_announced_is_known_until_its_bot_is_silent() {
        let (catalog, _heard) = Catalog::shared(Arc::new(LocalBus::default())).await.unwrap();
        assert_eq!(catalog.look_up("/anything"), Entry::Possible, "bots that announce nothing may have it");
        catalog.announce(bot(1), vec![facts("stock", "a price"), facts("hello", "")]);
        assert_eq!(catalog.look_up("/stock"), Entry::Possible);
        let absent = Entry::Absent("there is no command /weather; there are /hello=X, /stock=X".into());
        assert_eq!(catalog.look_up("/weather=here"), absent);
        assert_eq!(catalog.look_up("/help"), Entry::Help("/hello=X\n/stock=X: a price".into()));
        tokio::time::advance(SILENCE_MAX).await;
        assert_eq!(catalog.known(), []);
    }

    #[tokio::test]
    async fn bridges_tell_each_other_and_one_that_begins_asks() {
        let bus = Arc::new(LocalBus::default());
        let (first, _heard) = Catalog::shared(bus.clone()).await.unwrap();
        first.announce(bot(1), vec![facts("stock", "")]);
        let (second, _also) = Catalog::shared(bus.clone()).await.unwrap();
        while second.known().is_empty() {
            tokio::task::yield_now().await;
        }
        second.announce(bot(2), vec![facts("hello", "")]);
        assert_eq!(first.known(), second.known());
        assert_eq!(first.known().len(), 2);
    }

    #[tokio::test]
    async fn bots_without_end_are_not_taken_in() {
        let (catalog, _heard) = Catalog::shared(Arc::new(LocalBus::default())).await.unwrap();
        for n in 0..=BOTS_MAX {
            catalog.announce(bot(n), vec![facts(&format!("c{n}"), "")]);
        }
        assert_eq!(catalog.known().len(), BOTS_MAX);
        catalog.announce(bot(0), vec![facts("other", "")]);
        assert_eq!(catalog.look_up("/other"), Entry::Possible);
    }
}

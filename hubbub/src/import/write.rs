//! A room of the files becomes a room of the store: its log, entry by entry, from where an earlier run stopped.
//!
//! The first entry is the owner's join, as in every log; then its members join, and the messages follow by time. An author who is
//! not a member at the end joins before the first message and leaves after the last one.

use std::collections::HashMap;
use std::sync::Arc;

use hubbub_core::ids::{Millis, Seq, User, UserId};
use hubbub_core::ports::store::Store;
use hubbub_core::room::{Action, Answer, Verb};
use hubbub_room_worker::OpenError;
use hubbub_room_worker::offline::{Claim, OfflineRoom};

use super::report::Report;
use super::seed::Message;
use super::sorted::Sorted;
use super::survey::{Messages, Survey};
use super::walk::Walk;

/// What users are called, as far as it is known.
pub(super) type Names = HashMap<UserId, Arc<str>>;

/// What became of a room's messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// Written now.
    pub(super) now: u64,
    /// There since an earlier run.
    pub(super) before: u64,
}

struct Writer<'a> {
    log: OfflineRoom,
    survey: &'a Survey,
    names: &'a Names,
}

/// Writes what is missing of a room, and goes past its messages.
///
/// # Errors
/// When the store or the scratch file fails, or no line may be refused and one is.
pub(super) async fn write(
    store: &Arc<dyn Store>,
    claim: Claim,
    survey: &Survey,
    names: &Names,
    sorted: &mut Sorted,
    report: &mut Report,
) -> anyhow::Result<Written> {
    let id = &survey.room.id;
    let mut log = OfflineRoom::open(store.clone(), id.clone(), claim).await?;
    let mut messages = Messages::new(id);
    let info = log.room().info();
    if let Some(info) = info.as_ref().filter(|info| info.facts.owner != survey.room.owner) {
        let taken = format!("the store has another chatroom {id}, of {}", info.facts.owner);
        let file = report.chatrooms.clone();
        report.refuse(&file, survey.room.line, &taken)?;
        while let Some(message) = messages.next(sorted)? {
            report.advance(|| sorted.read_of());
            report.refuse_message(message.line, &taken)?;
        }
        return Ok(Written::default());
    }
    if info.as_ref().is_some_and(|info| info.kept.first > Seq(0)) {
        let forgotten = "its room keeps no more than was said by `hubbub admin retention`: what is not there has gone, and is not brought back";
        let file = report.chatrooms.clone();
        report.refuse(&file, survey.room.line, &forgotten)?;
        while messages.next(sorted)?.is_some() {
            report.advance(|| sorted.read_of());
        }
        return Ok(Written::default());
    }
    let head = log.room().head();
    let walk = Walk::through(&**store, head, survey, &mut messages, sorted, report).await?;
    for line in &walk.passed {
        report.refuse_message(*line, &"later messages of its room are in the store already")?;
    }
    if info.is_none() {
        let (name, topic) = (survey.room.name.clone(), survey.room.topic.clone());
        let maker = named(names, &survey.room.owner);
        let create = Verb::Create { name, topic };
        log.act(Action { user: &maker, at: Millis(survey.made_at), verb: &create }).await?;
    }
    let mut writer = Writer { log, survey, names };
    if !walk.used && walk.found == 0 {
        writer.join_all(survey.made_at).await?;
    }
    if !walk.used {
        writer.let_go(messages.taken).await?;
    }
    let mut written = Written { now: 0, before: walk.found };
    while let Some(message) = messages.next(sorted)? {
        report.advance(|| sorted.read_of());
        if Millis(message.at) < writer.log.room().head_at() {
            report
                .refuse_message(message.line, &"its room has gone on since: what is in the store is later")?;
            continue;
        }
        let (owner, at) = (message.owner.clone(), message.at);
        writer.say(message).await?;
        written.now += 1;
        let is_last = survey.last_of.get(&owner) == Some(&(messages.taken - 1));
        if is_last && !walk.used && !survey.stays(&owner) {
            writer.act(&owner, at, Verb::Leave).await?;
        }
    }
    for line in &messages.doubles {
        report.refuse_message(*line, &"the same message once more")?;
    }
    if !walk.used {
        let end = writer.log.room().head_at().0;
        writer.join_all(end).await?;
        writer.let_go(messages.taken).await?;
    }
    writer.log.finish().await?;
    Ok(written)
}

fn named(names: &Names, user: &UserId) -> User {
    let name = names.get(user).cloned().unwrap_or_else(|| user.as_str().into());
    User { id: user.clone(), name }
}

impl Writer<'_> {
    async fn act(&mut self, user: &UserId, at: u64, verb: Verb) -> Result<Answer, OpenError> {
        let user = named(self.names, user);
        self.log.act(Action { user: &user, at: Millis(at), verb: &verb }).await
    }

    async fn say(&mut self, message: Message) -> anyhow::Result<()> {
        let Message { owner, content, key, at, .. } = message;
        self.act(&owner, at, Verb::Join).await?;
        let verb = Verb::Send { content, key: Some(key), after: None };
        match self.act(&owner, at, verb).await? {
            Answer::Kept { .. } => Ok(()),
            Answer::Made(_) => anyhow::bail!("a message was taken for a room"),
            Answer::Refused(refusal) => anyhow::bail!("a message of line {}: {refusal}", message.line),
        }
    }

    /// All who are members at the end.
    async fn join_all(&mut self, at: u64) -> Result<(), OpenError> {
        for user in self.survey.members() {
            self.act(user, at, Verb::Join).await?;
        }
        Ok(())
    }

    /// Those who are no members at the end leave, if they are still there and wrote for the last time.
    async fn let_go(&mut self, messages_passed: u64) -> Result<(), OpenError> {
        let is_done =
            |user: &UserId| self.survey.last_of.get(user).is_none_or(|last| *last < messages_passed);
        let gone = |user: &&UserId| !self.survey.stays(user) && is_done(user);
        let mut gone: Vec<UserId> = self.log.room().members().filter(gone).cloned().collect();
        gone.sort_unstable();
        let at = self.log.room().head_at().0;
        for user in gone {
            self.act(&user, at, Verb::Leave).await?;
        }
        Ok(())
    }
}

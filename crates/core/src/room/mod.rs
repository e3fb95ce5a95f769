//! The state machine of one room: actions in; entries to commit, answers and refusals out.
//!
//! Pure: it reads no clock, draws no number, waits for nothing. What it needs to decide is loaded before
//! ([`Room::missing_keys`]), and what it decided is carried out by the writer's loop. It decides on its newest state,
//! committed or not; so every [`Decision`] names the seq it rests on, and is told to no one before that is durable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::entry::{Entry, Erasure, Kept, Kind, Retention, RoomFacts, Says};
use crate::ids::{Key, Millis, RoomId, Seq, User, UserId};
use crate::limits::{BotText, Content, REPEAT_WINDOW};
use crate::map::FastMap;

mod keys;
#[cfg(test)]
mod tests;

pub use keys::KeyHash;
use keys::KeyWindow;

/// What a user wants of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Make it. Its id was made from the asker's key, so a repeat finds the room that the first one made.
    Create {
        /// 1 to 80 characters, checked.
        name: Arc<str>,
        /// Up to 256 characters, checked.
        topic: Arc<str>,
    },
    /// Become a member.
    Join,
    /// Be one no more.
    Leave,
    /// Remove a member: for the owner.
    Kick {
        /// Who is to go.
        member: UserId,
    },
    /// Remove a member, whoever owns the room: for operators, so only one whose credential was checked may ask for it.
    Expel {
        /// Who is to go.
        member: UserId,
    },
    /// Give it another topic: for the owner.
    Topic {
        /// Up to 256 characters, checked.
        topic: Arc<str>,
    },
    /// Say how long its entries are kept: for operators, so only one whose credential was checked may ask for it.
    Retain {
        /// The bounds, checked.
        retention: Retention,
    },
    /// Say something.
    Send {
        /// What.
        content: Content,
        /// So that a repeat is found.
        key: Option<Key>,
        /// The room's last seq that the client had seen when it first sent the key.
        after: Option<Seq>,
    },
    /// Say something as a bot: it need not be a member, so only one whose role was checked may ask for it.
    Answer {
        /// What.
        text: BotText,
        /// So that a repeat is found.
        key: Key,
    },
}

impl Verb {
    /// Bytes of what it carries.
    pub fn size(&self) -> usize {
        match self {
            Self::Create { name, topic } => name.len() + topic.len(),
            Self::Topic { topic } => topic.len(),
            Self::Send {
                content: Content::Text(text) | Content::Link(text) | Content::Image(text), ..
            } => text.len(),
            Self::Answer { text, .. } => text.text().len(),
            Self::Join | Self::Leave | Self::Kick { .. } | Self::Expel { .. } | Self::Retain { .. } => 0,
        }
    }
}

/// A request that wants to change a room.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    /// Who asks: checked before it comes here.
    pub user: &'a User,
    /// When the holder took it.
    pub at: Millis,
    /// What for.
    pub verb: &'a Verb,
}

/// What an asker is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The action's entry is at this place, now or since an earlier time.
    Kept {
        /// Where.
        seq: Seq,
        /// When it came there; not known of a membership that is older than this holder.
        at: Option<Millis>,
    },
    /// The room, as its maker is shown it.
    Made(Box<RoomInfo>),
    /// It was not done, and why.
    Refused(Refusal),
}

/// A room as `create` and `open` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Which.
    pub id: RoomId,
    /// Name, topic, owner.
    #[serde(flatten)]
    pub facts: RoomFacts,
    /// Its log's last seq.
    pub head: Seq,
    /// How many members.
    pub members: u64,
    /// What is kept of the log.
    #[serde(flatten)]
    pub kept: Kept,
}

/// Why an action is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Nobody made a room of that id.
    #[error("there is no such room")]
    NoSuchRoom,
    /// Join first.
    #[error("you are not a member of this room; join it first")]
    NotMember,
    /// The one to be removed is no member.
    #[error("this user is not a member of the room")]
    NoSuchMember,
    /// For the owner only.
    #[error("only the room's owner may do this")]
    NotOwner,
    /// The id is another user's room.
    #[error("there is a room with this id already")]
    RoomTaken,
    /// The room has as many members as it may.
    #[error("the room is full")]
    Full,
    /// `after` is too far back to tell whether the key came before.
    #[error(
        "more than 10000 entries came since, or they are not kept; read the room and decide whether to send again"
    )]
    RepeatUnknown,
    /// `after` is beyond the log: it is not the log that the client saw.
    #[error("the room's log ends before what you have seen; read it again")]
    BeyondHead,
}

impl Refusal {
    /// Its code on the wire.
    pub fn code(self) -> Code {
        match self {
            Self::NoSuchRoom => Code::NoSuchRoom,
            Self::NotMember | Self::NoSuchMember => Code::NotMember,
            Self::NotOwner | Self::Full => Code::Forbidden,
            Self::RoomTaken | Self::RepeatUnknown | Self::BeyondHead => Code::Conflict,
        }
    }
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The entry to commit, if the action makes one.
    pub entry: Option<Entry>,
    /// What to tell the asker, once all up to `rests_on` is durable.
    pub answer: Answer,
    /// The log's last seq at the decision, this action's own included.
    pub rests_on: Seq,
}

/// About how many bytes a user takes in one of a room's tables, with the id.
const USER_BYTES: usize = 120;

/// The state of one room at the end of its log.
#[derive(Debug, Clone)]
pub struct Room {
    id: RoomId,
    /// `None` until the first entry.
    facts: Option<RoomFacts>,
    /// Each member, with the seq of their join.
    members: FastMap<UserId, Seq>,
    members_max: usize,
    head: Seq,
    head_at: Millis,
    keys: KeyWindow,
    /// The log's last entry that says that something was erased.
    erased: Seq,
    /// What is known of whose messages are erased: the newest word about a user, as far as it came here.
    erasures: FastMap<UserId, Erasure>,
    kept: Kept,
    /// The log's last entry that says so; 0 if there is none.
    kept_said: Seq,
}

/// A room as its lists show it at its mark.
#[derive(Debug, Clone)]
pub struct Projected {
    /// Name, topic, owner.
    pub facts: RoomFacts,
    /// Each member, with the seq of their join. A map, as it is kept: one of a million is not made again at once.
    pub members: FastMap<UserId, Seq>,
    /// The last entry that the lists know of, and its time.
    pub mark: (Seq, Millis),
    /// The last entry up to there that says that something was erased; 0 if there is none.
    pub erased: Seq,
    /// What is kept, and the last entry up to there that says so; 0 if there is none.
    pub kept: (Kept, Seq),
}

impl Room {
    /// A room with an empty log: nobody made it yet.
    pub fn new(id: RoomId, members_max: usize) -> Self {
        Self {
            id,
            facts: None,
            members: FastMap::default(),
            members_max,
            head: Seq(0),
            head_at: Millis(0),
            keys: KeyWindow::starting_at(Seq(0)),
            erased: Seq(0),
            erasures: FastMap::default(),
            kept: Kept::default(),
            kept_said: Seq(0),
        }
    }

    /// A room as projected up to and with the entry at its mark; what came after is [`replay`](Self::replay)ed. Keys at or before the mark are
    /// not known and will be asked for ([`missing_keys`](Self::missing_keys)); whose messages were erased has to be learnt before more are
    /// ([`learn_erasure`](Self::learn_erasure)).
    pub fn projected(id: RoomId, members_max: usize, projected: Projected) -> Self {
        let Projected { facts, members, mark: (mark, mark_at), erased, kept: (kept, kept_said) } = projected;
        Self {
            id,
            facts: Some(facts),
            members,
            members_max,
            head: mark,
            head_at: mark_at,
            keys: KeyWindow::starting_at(mark),
            erased,
            erasures: FastMap::default(),
            kept,
            kept_said,
        }
    }

    /// Takes an entry that is in the log already.
    ///
    /// # Panics
    /// When it is not the next one.
    pub fn replay(&mut self, entry: &Entry) {
        assert_eq!(entry.seq, self.head.next(), "a log is replayed without gaps");
        self.apply(entry, entry.key.as_ref().map(|key| KeyHash::of(&entry.user, key)));
    }

    fn apply(&mut self, entry: &Entry, key: Option<KeyHash>) {
        self.head = entry.seq;
        self.head_at = self.head_at.max(entry.at);
        match entry.kind {
            Kind::Join => {
                self.members.insert(entry.user.clone(), entry.seq);
            }
            Kind::Leave => {
                self.members.remove(&entry.user);
            }
            Kind::Erase => {
                self.erased = entry.seq;
                entry.erasure().into_iter().for_each(|erasure| self.learn_erasure(&entry.user, erasure));
            }
            Kind::Retention => {
                self.kept = entry.kept().unwrap_or(self.kept);
                self.kept_said = entry.seq;
                self.keys.forget(Seq(self.kept.first.0.saturating_sub(1)));
            }
            Kind::Topic | Kind::Text | Kind::Link | Kind::Image | Kind::Bot | Kind::Erased => {}
        }
        if let Some(facts) = &entry.facts {
            self.facts = Some(facts.clone());
        }
        self.keys.push((entry.seq, entry.at), key);
    }

    /// Entries whose keys must be known before this action can be decided: those after the first number, up to
    /// and with the second.
    pub fn missing_keys(&self, verb: &Verb) -> Option<(Seq, Seq)> {
        let after = match verb {
            Verb::Send { key: Some(_), after, .. } => *after,
            Verb::Answer { .. } => None,
            _ => return None,
        };
        let from = match after {
            // Too far back or too far on: refused without a look.
            Some(after) if after.0 < self.head.0.saturating_sub(REPEAT_WINDOW) || after > self.head => {
                return None;
            }
            Some(after) => after.0.max(self.window_start()),
            None => self.window_start(),
        };
        (Seq(from) < self.keys.known_from()).then(|| (Seq(from), self.keys.known_from()))
    }

    /// The entries after this one are those among which a repeat is looked for: the newest, as far as they are kept.
    fn window_start(&self) -> u64 {
        self.head.0.saturating_sub(REPEAT_WINDOW).max(self.kept.first.0.saturating_sub(1))
    }

    /// Takes the keys of older entries: of those that [`missing_keys`](Self::missing_keys) named, all after `from`.
    pub fn learn_keys(&mut self, from: Seq, entries: &[Entry]) {
        let keyed =
            entries.iter().filter_map(|e| Some(((e.seq, e.at), KeyHash::of(&e.user, e.key.as_ref()?))));
        self.keys.learn(from, keyed);
    }

    /// Takes what an entry that is in the log says of a user's messages.
    pub fn learn_erasure(&mut self, author: &UserId, erasure: Erasure) {
        if self.erasures.get(author).is_none_or(|known| known.upto < erasure.upto) {
            self.erasures.insert(author.clone(), erasure);
        }
    }

    /// Decides that all messages of `author` up to `upto` are erased. The entry says that it is so: whoever asks has made it so
    /// before, and has let the room learn the last entry of the log that says so of `author`. If that is enough, it is the answer.
    pub fn erase(&mut self, by: &User, author: &UserId, upto: Seq, at: Millis) -> Decision {
        if let Some(known) = self.erasures.get(author).filter(|known| known.upto >= upto) {
            let answer = Answer::Kept { seq: known.seq, at: Some(known.at) };
            return Decision { entry: None, answer, rests_on: self.head };
        }
        let (seq, at) = (self.head.next(), self.head_at.max(at));
        // As of a member who is removed: the machine keeps ids only.
        let whose = User { id: author.clone(), name: author.as_str().into() };
        let entry = Entry::new(&self.id, seq, at, &whose, None, Says::Erase { by, upto });
        self.apply(&entry, None);
        Decision { entry: Some(entry), answer: Answer::Kept { seq, at: Some(at) }, rests_on: seq }
    }

    /// Decides that the log begins at `first`, as what is said of it, `retention`, wants it now. Whoever asks has found out which entries
    /// are beyond it. Nothing is decided if another word was said meanwhile, or so much has gone already.
    pub fn trim(&mut self, by: &User, retention: Retention, first: Seq, at: Millis) -> Decision {
        let is_between = self.kept.first.max(Seq(1)) < first && first <= self.head.next();
        if !is_between || retention != self.kept.retention {
            let answer = Answer::Kept { seq: self.kept_said, at: None };
            return Decision { entry: None, answer, rests_on: self.head };
        }
        let (seq, at) = (self.head.next(), self.head_at.max(at));
        let entry = Entry::new(&self.id, seq, at, by, None, Says::Retention(Kept { retention, first }));
        self.apply(&entry, None);
        Decision { entry: Some(entry), answer: Answer::Kept { seq, at: Some(at) }, rests_on: seq }
    }

    /// Decides on an action, on the newest state. The entry, if there is one, is part of the state from here on: it is
    /// bound to its seq until it is durable or this holder's epoch is over.
    pub fn decide(&mut self, action: Action<'_>) -> Decision {
        let (entry, answer) = match self.judge(action) {
            Ok(Verdict::Append(says, key)) => self.append(action, &says, key),
            Ok(Verdict::Answer(answer)) => (None, answer),
            Err(refusal) => (None, Answer::Refused(refusal)),
        };
        Decision { entry, answer, rests_on: self.head }
    }

    fn judge<'a>(&self, Action { user, verb, .. }: Action<'a>) -> Result<Verdict<'a>, Refusal> {
        let Some(facts) = &self.facts else {
            return match verb {
                Verb::Create { name, topic } => {
                    let facts =
                        RoomFacts { name: name.clone(), topic: topic.clone(), owner: user.id.clone() };
                    Ok(Verdict::Append(Fate::Found(facts), None))
                }
                _ => Err(Refusal::NoSuchRoom),
            };
        };
        let membership = self.members.get(&user.id);
        match verb {
            Verb::Create { .. } if facts.owner == user.id => {
                Ok(Verdict::Answer(Answer::Made(self.info_of(facts).into())))
            }
            Verb::Create { .. } => Err(Refusal::RoomTaken),
            Verb::Join => match membership {
                Some(seq) => Ok(Verdict::Answer(Answer::Kept { seq: *seq, at: None })),
                None if self.members.len() >= self.members_max => Err(Refusal::Full),
                None => Ok(Verdict::Append(Fate::Join, None)),
            },
            Verb::Leave => match membership {
                Some(_) => Ok(Verdict::Append(Fate::Leave, None)),
                None => Err(Refusal::NotMember),
            },
            Verb::Kick { .. } | Verb::Topic { .. } if facts.owner != user.id => Err(Refusal::NotOwner),
            Verb::Kick { member } | Verb::Expel { member } => match self.members.contains_key(member) {
                true => Ok(Verdict::Append(Fate::Kick(member), None)),
                false => Err(Refusal::NoSuchMember),
            },
            // Said once more, as after a lost answer: it is so already.
            Verb::Topic { topic } if *topic == facts.topic => {
                Ok(Verdict::Answer(Answer::Kept { seq: self.head, at: None }))
            }
            Verb::Topic { topic } => {
                Ok(Verdict::Append(Fate::Topic(RoomFacts { topic: topic.clone(), ..facts.clone() }), None))
            }
            Verb::Retain { retention } if *retention == self.kept.retention => {
                Ok(Verdict::Answer(Answer::Kept { seq: self.kept_said, at: None }))
            }
            Verb::Retain { retention } => Ok(Verdict::Append(Fate::Retain(*retention), None)),
            Verb::Send { content, key, after } => self.judge_send(user, content, key.as_ref(), *after),
            Verb::Answer { text, key } => {
                let hash = KeyHash::of(&user.id, key);
                Ok(match self.keys.find(hash) {
                    Some((seq, at)) => Verdict::Answer(Answer::Kept { seq, at: Some(at) }),
                    None => Verdict::Append(Fate::Answer(text), Some((key.clone(), hash))),
                })
            }
        }
    }

    fn judge_send<'a>(
        &self,
        user: &User,
        content: &'a Content,
        key: Option<&'a Key>,
        after: Option<Seq>,
    ) -> Result<Verdict<'a>, Refusal> {
        let key = key.map(|key| (key, KeyHash::of(&user.id, key)));
        if let Some((_, hash)) = key {
            // A repeat is answered even to one who left since: the entry is there, and its sender may know.
            if let Some((seq, at)) = self.keys.find(hash) {
                return Ok(Verdict::Answer(Answer::Kept { seq, at: Some(at) }));
            }
            match after {
                Some(after) if after > self.head => return Err(Refusal::BeyondHead),
                Some(after) if after.0 < self.window_start() => return Err(Refusal::RepeatUnknown),
                _ => {}
            }
        }
        match self.members.contains_key(&user.id) {
            true => {
                let key = key.map(|(key, hash)| (key.clone(), hash));
                Ok(Verdict::Append(Fate::Send(content), key))
            }
            false => Err(Refusal::NotMember),
        }
    }

    fn append(
        &mut self,
        action: Action<'_>,
        fate: &Fate<'_>,
        key: Option<(Key, KeyHash)>,
    ) -> (Option<Entry>, Answer) {
        let (seq, at) = (self.head.next(), self.head_at.max(action.at));
        let removed;
        let (whose, says) = match fate {
            Fate::Found(facts) => (action.user, Says::Join(Some(facts))),
            Fate::Join => (action.user, Says::Join(None)),
            Fate::Leave => (action.user, Says::Leave { by: None }),
            Fate::Kick(member) => {
                // The machine keeps ids only; a removed member is shown by the id.
                removed = User { id: (*member).clone(), name: member.as_str().into() };
                (&removed, Says::Leave { by: Some(action.user) })
            }
            Fate::Topic(facts) => (action.user, Says::Topic(facts)),
            Fate::Retain(retention) => {
                (action.user, Says::Retention(Kept { retention: *retention, ..self.kept }))
            }
            Fate::Send(content) => (action.user, Says::Message(content)),
            Fate::Answer(text) => (action.user, Says::Bot(text)),
        };
        let (key, hash) = key.unzip();
        let entry = Entry::new(&self.id, seq, at, whose, key, says);
        self.apply(&entry, hash);
        let answer = match fate {
            Fate::Found(facts) => Answer::Made(self.info_of(facts).into()),
            _ => Answer::Kept { seq, at: Some(at) },
        };
        (Some(entry), answer)
    }

    fn info_of(&self, facts: &RoomFacts) -> RoomInfo {
        RoomInfo {
            id: self.id.clone(),
            facts: facts.clone(),
            head: self.head,
            members: self.members.len() as u64,
            kept: self.kept,
        }
    }

    /// The room as `open` shows it; `None` if nobody made it.
    pub fn info(&self) -> Option<RoomInfo> {
        self.facts.as_ref().map(|facts| self.info_of(facts))
    }

    /// Whether somebody made it.
    pub fn is_made(&self) -> bool {
        self.facts.is_some()
    }

    /// The log's last seq, committed or not.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The time of the last entry: the next one's is never lower. 0 if there is none.
    pub fn head_at(&self) -> Millis {
        self.head_at
    }

    /// The log's last entry that says that something was erased, committed or not; 0 if there is none.
    pub fn erased(&self) -> Seq {
        self.erased
    }

    /// About how many bytes of memory it takes.
    pub fn size(&self) -> usize {
        (self.members.len() + self.erasures.len()) * USER_BYTES + self.keys.size()
    }

    /// The members at the head, in no order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &UserId> {
        self.members.keys()
    }

    /// Whether the user is a member at the head.
    pub fn is_member(&self, user: &UserId) -> bool {
        self.members.contains_key(user)
    }
}

enum Verdict<'a> {
    /// With the key to find it by.
    Append(Fate<'a>, Option<(Key, KeyHash)>),
    Answer(Answer),
}

/// What an action that makes an entry does.
enum Fate<'a> {
    Found(RoomFacts),
    Join,
    Leave,
    Kick(&'a UserId),
    Topic(RoomFacts),
    Retain(Retention),
    Send(&'a Content),
    Answer(&'a BotText),
}

//! What is asked of a room's holder, and what it answers.

use bytes::Bytes;
use hubbub_core::entry::Erasure;
use hubbub_core::ids::{Epoch, LogId, RoomId, Seq, User, UserId};
use hubbub_core::ports::bus::Whole;
use hubbub_core::room::{Answer, RoomInfo, Verb};
use serde::{Deserialize, Serialize};

use crate::tier::parcel;

/// Bytes of an ask beside its content, and of an answer without entries: about, as they are in JSON.
const OVERHEAD: usize = 256;

/// A request to the holder of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    /// Which room.
    pub room: RoomId,
    /// What for.
    pub what: What,
    /// For how long the asker waits, in milliseconds from now: work that starts later is work for nobody.
    pub timeout_ms: u32,
}

impl Whole for Ask {
    fn to_bytes(&self) -> Bytes {
        parcel::pack(self)
    }

    fn size(&self) -> usize {
        let content = match &self.what {
            What::Do { verb, .. } => verb.size(),
            What::Erase { .. } | What::Trim { .. } => 0,
            What::Sync { users, .. } => users.iter().map(|user| user.as_str().len()).sum(),
        };
        OVERHEAD + content
    }
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Do something in the user's name.
    Do {
        /// Who, checked by the gateway.
        user: User,
        /// What.
        verb: Verb,
    },
    /// Say where the log ends.
    Sync {
        /// How many of the newest entries to send along, as far as they are in memory: at most 1,000.
        newest: u32,
        /// Say of these users whether they are members.
        users: Vec<UserId>,
    },
    /// Erase a user's messages: those of a part of the log, from where the answer before says to go on.
    Erase {
        /// Who has it done, checked by the gateway.
        by: User,
        /// Whose messages.
        author: UserId,
        /// Where to go on; `None` to begin.
        from: Option<EraseFrom>,
    },
    /// Let go of the oldest entries, as what is said of the log wants it: a part of them.
    Trim {
        /// Who has it done, checked by the gateway.
        by: User,
        /// Whether all that may go is to go now. Else it is done when it is worth it: beyond a bound by a tenth of the entries, or by a day.
        fully: bool,
    },
}

/// How far a log was gone through for messages to erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseFrom {
    /// In this epoch's rows, or the next ones.
    pub epoch: Epoch,
    /// After this one.
    pub after: Seq,
    /// The author's last message up to there; 0 if there is none.
    pub last: Seq,
    /// What the log says up to there of the author's messages.
    pub said: Option<Erasure>,
}

/// A part of a log was gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// How many messages were erased in it.
    pub count: u64,
    /// Where to go on; `None` if that was the last part.
    pub next: Option<EraseFrom>,
    /// Of the last part: the entry that says what is erased, this time's or an earlier one; `None` if the author has no message here.
    pub seq: Option<Seq>,
}

/// A part of a log was trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trimmed {
    /// The log begins here; 0 if nothing ever went.
    pub first: Seq,
    /// What was before this seq is gone from the store.
    pub gone: Seq,
    /// Whether there is more to do.
    pub more: bool,
}

/// The answer's header. After a [`Told::Synced`] the newest entries follow, ascending, up to the head.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// What became of the action.
    Done(Answer),
    /// What was erased.
    Erased(Erased),
    /// What was trimmed.
    Trimmed(Trimmed),
    /// Where the log ends.
    Synced(Box<Synced>),
    /// There is no such room.
    NoSuchRoom,
    /// Not now; whether it was done is unknown.
    Unavailable,
    /// The one who was asked holds the partition no more; whether it was done is unknown. Another holder can be asked at once.
    Moved,
}

impl Whole for Told {
    fn to_bytes(&self) -> Bytes {
        parcel::pack(self)
    }

    fn size(&self) -> usize {
        OVERHEAD
    }
}

/// A room at its head, as its holder vouches for it: all of it durable, and no newer holder had claimed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Name, topic, owner, head and number of members.
    pub info: RoomInfo,
    /// Which log it is.
    pub log: LogId,
    /// The epoch from whose segment the log is to be read.
    pub epoch: Epoch,
    /// Those of the asked users who are members at the head.
    pub members: Vec<UserId>,
    /// The log's last entry that says that messages were erased; 0 if there is none.
    #[serde(default)]
    pub erased: Seq,
}

impl Synced {
    /// Up to where the log may be read.
    pub fn read_to(&self) -> ReadTo {
        ReadTo { epoch: self.epoch, head: self.info.head, erased: self.erased, first: self.info.kept.first }
    }
}

/// The place up to which a log may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadTo {
    /// From this epoch's segment backwards.
    pub epoch: Epoch,
    /// Up to and with this entry.
    pub head: Seq,
    /// The last entry up to there that says that messages were erased: what was read before it is not what is there.
    #[serde(default)]
    pub erased: Seq,
    /// The log begins here: what was before is gone. 0 if nothing ever went.
    #[serde(default)]
    pub first: Seq,
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::Key;
    use hubbub_core::limits::Content;
    use hubbub_core::ports::bus::Payload;

    use super::*;

    #[test]
    fn an_ask_and_its_answer_are_the_same_whole_and_in_bytes() {
        let user = User { id: UserId::parse("u").unwrap(), name: "Ümit \"U\"".into() };
        let content = Content::text("\u{1}said\n".repeat(100)).unwrap();
        let verb = Verb::Send { content, key: Key::parse("k").ok(), after: Some(Seq(3)) };
        let ask = Ask { room: RoomId::parse("r").unwrap(), what: What::Do { user, verb }, timeout_ms: 5_000 };
        let told = Told::Done(Answer::Kept { seq: Seq(4), at: None });
        for mut payload in [Payload::whole(ask.clone()), ask.to_bytes().into()] {
            let read: Ask = parcel::header(&mut payload).unwrap();
            assert_eq!(format!("{read:?}"), format!("{ask:?}"));
            assert_eq!(payload.size(), 0, "nothing is left of it");
        }
        for mut payload in [Payload::whole(told.clone()), told.to_bytes().into()] {
            let read: Told = parcel::header(&mut payload).unwrap();
            assert_eq!(format!("{read:?}"), format!("{told:?}"));
        }
    }
}

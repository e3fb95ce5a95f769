//! An entry of a room's log, as a client is shown it.

use hubbub_core::entry::{Kept, Retention};
use hubbub_core::ids::{Key, Millis, RoomId, Seq, User};
use serde::{Deserialize, Deserializer};

/// One element of a room's log: the same live, in `open` and in `history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The room.
    pub room: RoomId,
    /// Its place in the log.
    pub seq: Seq,
    /// Who wrote, joined or left.
    pub user: User,
    /// Unix milliseconds.
    pub at: Millis,
    /// What it says.
    pub what: What,
    /// The sender's own key, on the sender's own connections only.
    pub key: Option<Key>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The user became a member.
    Join,
    /// The user is a member no more.
    Leave {
        /// Who removed them, if it was not they themselves.
        by: Option<User>,
    },
    /// The room has another topic.
    Topic(String),
    /// A message: text.
    Text(String),
    /// A message: one web address.
    Link(String),
    /// A message: a picture as a data URL.
    Image(String),
    /// A message of a bot.
    Bot(String),
    /// A message that was erased: only its place is left.
    Erased,
    /// All messages of the entry's user up to `upto` are erased: forget what you have of them.
    Erase {
        /// The last of them.
        upto: Seq,
        /// Who had it done.
        by: Option<User>,
    },
    /// What is kept of the room's log from here on.
    Retention(Kept),
    /// An entry of a type or kind that this client doesn't know: its name.
    Other(String),
}

#[derive(Deserialize)]
struct Shown {
    #[serde(rename = "type")]
    type_name: String,
    room: RoomId,
    seq: Seq,
    user: User,
    at: Millis,
    by: Option<User>,
    upto: Option<Seq>,
    topic: Option<String>,
    kind: Option<String>,
    text: Option<String>,
    image: Option<String>,
    key: Option<Key>,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    first: Seq,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let shown = Shown::deserialize(from)?;
        let what = match (shown.type_name.as_str(), shown.kind.as_deref()) {
            ("join", _) => What::Join,
            ("leave", _) => What::Leave { by: shown.by },
            ("topic", _) => What::Topic(shown.topic.unwrap_or_default()),
            ("message", Some("text")) => What::Text(shown.text.unwrap_or_default()),
            ("message", Some("link")) => What::Link(shown.text.unwrap_or_default()),
            ("message", Some("image")) => What::Image(shown.image.unwrap_or_default()),
            ("message", Some("bot")) => What::Bot(shown.text.unwrap_or_default()),
            ("message", Some("erased")) => What::Erased,
            // Without a place it says nothing of any message.
            ("erase", _) => What::Erase { upto: shown.upto.unwrap_or_default(), by: shown.by },
            ("retention", _) => What::Retention(Kept { retention: shown.retention, first: shown.first }),
            ("message", kind) => What::Other(kind.unwrap_or("message").into()),
            (type_name, _) => What::Other(type_name.into()),
        };
        let Shown { room, seq, user, at, key, .. } = shown;
        Ok(Self { room, seq, user, at, what, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> What {
        let json = format!(r#"{{"room":"r","seq":7,"user":{{"id":"u","name":"Ann"}},"at":9,{extra}}}"#);
        let entry: Entry = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (entry.room.as_str(), entry.seq, &*entry.user.name, entry.at),
            ("r", Seq(7), "Ann", Millis(9))
        );
        entry.what
    }

    #[test]
    fn every_shape_is_read_and_unknown_ones_keep_their_place() {
        assert_eq!(read(r#""type":"join","new":1"#), What::Join);
        assert_eq!(read(r#""type":"leave""#), What::Leave { by: None });
        assert!(matches!(
            read(r#""type":"leave","by":{"id":"o","name":"Own"}"#),
            What::Leave { by: Some(_) }
        ));
        assert_eq!(read(r#""type":"topic","topic":"t""#), What::Topic("t".into()));
        assert_eq!(read(r#""type":"message","kind":"text","text":"a","key":"k""#), What::Text("a".into()));
        assert_eq!(
            read(r#""type":"message","kind":"link","text":"http://a""#),
            What::Link("http://a".into())
        );
        assert_eq!(read(r#""type":"message","kind":"image","image":"data:""#), What::Image("data:".into()));
        assert_eq!(read(r#""type":"message","kind":"bot","text":"b""#), What::Bot("b".into()));
        assert_eq!(read(r#""type":"message","kind":"erased""#), What::Erased);
        let erase = read(r#""type":"erase","upto":6,"by":{"id":"admin","name":"Admin"}"#);
        assert!(matches!(erase, What::Erase { upto: Seq(6), by: Some(_) }));
        let kept = Kept { retention: Retention { entries: None, days: Some(30) }, first: Seq(5) };
        assert_eq!(read(r#""type":"retention","retention":{"days":30},"first":5"#), What::Retention(kept));
        assert_eq!(read(r#""type":"retention","retention":{}"#), What::Retention(Kept::default()));
        assert_eq!(read(r#""type":"message","kind":"poll""#), What::Other("poll".into()));
        assert_eq!(read(r#""type":"pinned""#), What::Other("pinned".into()));
    }
}

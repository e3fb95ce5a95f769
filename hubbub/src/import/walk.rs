//! The log of a room beside the messages of its files: what of them is in the log, what is not, and what else is there.

use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::Seq;
use hubbub_core::limits::Content;
use hubbub_core::ports::store::Store;
use hubbub_room_worker::offline::each_entry;
use serde::Deserialize;

use super::report::Report;
use super::seed::{Message, is_imported};
use super::sorted::Sorted;
use super::survey::{Messages, Survey};

/// What was found in a log.
#[derive(Default)]
pub(super) struct Walk {
    /// Messages of the files that are in the log.
    pub(super) found: u64,
    /// Lines of messages that are not in the log, though later ones are.
    pub(super) passed: Vec<u64>,
    /// Entries, imported once, that are in no file or not as the file has them; the first few of them.
    pub(super) wrong: Vec<String>,
    pub(super) wrong_count: u64,
    /// Whether the server was used with this room after the import.
    pub(super) used: bool,
}

/// Differences that are described.
const WRONG_MAX: usize = 100;

/// What of an entry's JSON is compared.
#[derive(Deserialize)]
struct Shown {
    text: Option<String>,
    image: Option<String>,
}

impl Walk {
    /// Goes through a room's log up to its head.
    ///
    /// # Errors
    /// When the store or the scratch file fails.
    pub(super) async fn through(
        store: &dyn Store,
        head: Seq,
        survey: &Survey,
        messages: &mut Messages,
        sorted: &mut Sorted,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let (mut walk, mut failed) = (Self::default(), None);
        each_entry(store, &survey.room.id, head, |entry| {
            if failed.is_none() {
                report.advance(|| sorted.read_of());
                failed = walk.take(&entry, survey, messages, sorted).err();
            }
        })
        .await?;
        failed.map_or(Ok(walk), Err)
    }

    /// Takes the log's next entry.
    fn take(
        &mut self,
        entry: &Entry,
        survey: &Survey,
        messages: &mut Messages,
        sorted: &mut Sorted,
    ) -> anyhow::Result<()> {
        let Some(key) = entry.key.as_ref().filter(|key| is_imported(key)) else {
            let is_said = !matches!(entry.kind, Kind::Join | Kind::Leave);
            self.used |= is_said || entry.at.0 > survey.last_at;
            return Ok(());
        };
        while let Some(message) = messages.peek(sorted)? {
            let (ours, theirs) = ((message.at, &message.key), (entry.at.0, key));
            if ours > theirs {
                break;
            }
            let same = ours == theirs;
            let Some(message) = messages.next(sorted)? else { break };
            if same {
                self.found += 1;
                if let Some(difference) = difference(entry, &message) {
                    self.wrong(format!(
                        "entry {} has another {difference} than line {}",
                        entry.seq, message.line
                    ));
                }
                return Ok(());
            }
            self.passed.push(message.line);
        }
        self.wrong(format!("entry {} ({key}, at {}) is in no line", entry.seq, entry.at));
        Ok(())
    }

    fn wrong(&mut self, what: String) {
        self.wrong_count += 1;
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(what);
        }
    }
}

/// In what an entry is not the message, which has the same key and time.
fn difference(entry: &Entry, message: &Message) -> Option<&'static str> {
    // What was erased since it was imported is not brought back, and is not wrong.
    if entry.kind == Kind::Erased && entry.user == message.owner {
        return None;
    }
    let Ok(shown) = serde_json::from_slice::<Shown>(&entry.json) else { return Some("form") };
    let (kind, said, text) = match &message.content {
        Content::Text(text) => (Kind::Text, shown.text, text),
        Content::Link(text) => (Kind::Link, shown.text, text),
        Content::Image(image) => (Kind::Image, shown.image, image),
    };
    if entry.user != message.owner {
        Some("author")
    } else if entry.kind != kind {
        Some("type")
    } else if said.as_ref() != Some(text) {
        Some("content")
    } else {
        None
    }
}

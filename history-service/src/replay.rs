//! A page of a room's log, made of blocks.

use std::ops::RangeInclusive;

use hubbub_core::entry::Entry;
use hubbub_core::ids::Seq;
use hubbub_core::ports::bus::Payload;
use hubbub_wire::tier::act::ReadTo;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, Range, Replay};
use tokio::time::Instant;

use crate::error::Failure;
use crate::{Tier, Turn};

/// Most entries that one page looks at: with few of the wanted kinds among them it ends early, and says where to go on.
const SCANNED_MAX: u64 = 10_000;

/// A page of a log.
pub(crate) async fn page(
    tier: &Tier,
    replay: Replay,
    until: Instant,
    turn: &mut Turn,
) -> Result<Payload, Failure> {
    let read_to = match replay.read_to.filter(|read_to| reaches(*read_to, replay.range)) {
        Some(read_to) => read_to,
        None => turn.lent(tier.holders.sync(&replay.room, until)).await?,
    };
    let page = match read(tier, &replay, read_to).await {
        // What is missing may have been trimmed since the asker learnt of the log's end; its holder knows.
        Err(failure @ Failure::Damaged { .. }) => {
            let newer = turn.lent(tier.holders.sync(&replay.room, until)).await?;
            match newer.first > read_to.first {
                true => read(tier, &replay, newer).await?,
                false => return Err(failure),
            }
        }
        page => page?,
    };
    let header = Found::Page { more: page.more.is_some(), next: page.more, first: page.first };
    let entries = page.entries;
    Ok(parcel::whole_with(header, replay.room, entries))
}

async fn read<'a>(tier: &Tier, replay: &'a Replay, read_to: ReadTo) -> Result<Page<'a>, Failure> {
    let mut page = Page::new(replay, read_to);
    while let Some(seq) = page.next {
        let run = tier.blocks.around(&replay.room, seq, read_to).await?;
        page.take(&run);
        if page.next == Some(seq) {
            // The block is not what was asked for: better said than asked again for ever.
            return Err(Failure::missing(&replay.room, seq));
        }
    }
    page.entries.sort_unstable_by_key(|entry| entry.seq);
    Ok(page)
}

/// Whether what the asker knows of the log's end is enough for the range.
fn reaches(read_to: ReadTo, range: Range) -> bool {
    match range {
        Range::Before(seq) => seq.0 <= read_to.head.0 + 1,
        Range::After(seq) => seq < read_to.head,
    }
}

/// A page as far as it is read.
struct Page<'a> {
    replay: &'a Replay,
    /// Where it begins; 0 if nothing ever went.
    first: Seq,
    /// Seqs of what is there: from where the log begins up to its head.
    log: RangeInclusive<u64>,
    limit: usize,
    entries: Vec<Entry>,
    bytes: usize,
    scanned: u64,
    /// The entry to look at next, if the page is not at its end.
    next: Option<u64>,
    /// Where the next page is to be asked from, if there is one.
    more: Option<Seq>,
}

impl<'a> Page<'a> {
    fn new(replay: &'a Replay, read_to: ReadTo) -> Self {
        let log = read_to.first.0.max(1)..=read_to.head.0;
        let first = match replay.range {
            Range::Before(seq) => seq.0.saturating_sub(1).min(*log.end()),
            Range::After(seq) => seq.0.saturating_add(1).max(*log.start()),
        };
        Self {
            replay,
            first: read_to.first,
            next: log.contains(&first).then_some(first),
            log,
            limit: replay.limit.clamp(1, PAGE_ENTRIES_MAX) as usize,
            entries: Vec::new(),
            bytes: 0,
            scanned: 0,
            more: None,
        }
    }

    /// Takes what it wants of a run of consecutive entries that has the one at `next`.
    fn take(&mut self, run: &[Entry]) {
        let Some(first) = run.first() else { return };
        while let Some(seq) = self.next {
            let at = seq.checked_sub(first.seq.0).and_then(|at| usize::try_from(at).ok());
            let Some(entry) = at.and_then(|at| run.get(at)) else { return };
            self.look_at(entry);
        }
    }

    fn look_at(&mut self, entry: &Entry) {
        let kinds = &self.replay.kinds;
        let is_wanted = kinds.is_empty() || kinds.iter().any(|name| entry.kind.is_named(name));
        let seq = entry.seq.0;
        let (previous, following) = match self.replay.range {
            Range::Before(_) => (seq + 1, seq - 1),
            Range::After(_) => (seq - 1, seq + 1),
        };
        if is_wanted && !self.entries.is_empty() && self.bytes + carried(entry) > PAGE_BYTES_MAX {
            (self.next, self.more) = (None, Some(Seq(previous)));
            return;
        }
        self.scanned += 1;
        if is_wanted {
            self.bytes += carried(entry);
            self.entries.push(entry.clone());
        }
        let is_full = self.entries.len() >= self.limit || self.scanned >= SCANNED_MAX;
        self.next = self.log.contains(&following).then_some(following);
        if is_full && self.next.take().is_some() {
            self.more = Some(entry.seq);
        }
    }
}

/// What an entry adds to an answer, about: its JSON, and the room's facts, which a topic has beside it.
fn carried(entry: &Entry) -> usize {
    let facts = entry.facts.as_ref().map_or(0, |facts| facts.name.len() + facts.topic.len());
    entry.json.len() + facts
}

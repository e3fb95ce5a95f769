//! Trimming a log: first the word, then the rows (decision 16).
//!
//! What is said of a room's log, its retention, decides from which entry on it is kept. When enough is beyond that, the room's machine says in the
//! log that it begins later; and once everybody can know that, the rows before go. Both are parts of one order: a part lets rows go if
//! the log says that there are some to go, else it looks whether it should say so. So it can be stopped anywhere and asked for again.
//!
//! Each worker asks for it on behalf of the rooms of its partitions, every hour ([`sweep`]); operators ask when they change what is said.

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::chain::pieces;
use hubbub_core::entry::{Entry, Kept, Kind, Retention};
use hubbub_core::ids::{Epoch, Millis, RoomId, Seq, User};
use hubbub_core::limits::REPEAT_WINDOW;
use hubbub_core::ports::bus::{Payload, Subject};
use hubbub_core::ports::store::{Read, Segment, Store, StoreError, Trim};
use hubbub_wire::tier::act::{Ask, Told, Trimmed, What};
use hubbub_wire::tier::parcel;
use tokio::time::sleep;

use crate::error::OpenError;
use crate::orders::{Part, Scope, segments_of};
use crate::{Tier, metrics};

/// What is beyond a bound by less than this part of the entries that are kept, or by less than a day, is left for a later sweep: it would be
/// another entry in the log for little.
const WORTH_PART: u64 = 10;
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Rows that a fenced holder may have written beyond its segment's end: it has one batch in flight, and a few that landed.
const OVERHANG: u64 = REPEAT_WINDOW;
/// Rooms of one page of a sweep.
const ROOMS: usize = 500;
/// How long one part may take.
const PART_MAX: Duration = Duration::from_secs(10);
/// What the first sweep of a process waits for, of the time between two.
const FIRST_SWEEP_PART: u32 = 60;

/// One part of trimming a log.
pub(crate) async fn trim_some(
    store: Arc<dyn Store>,
    room: RoomId,
    fully: bool,
    now: Millis,
    scope: Scope,
) -> Result<Part, OpenError> {
    let inside = |error| OpenError::of(&room, error);
    let nothing = |first, gone| Part::Trimmed(Trimmed { first, gone, more: false });
    let Some(row) = store.room(room.clone()).await.map_err(inside)? else {
        return Ok(nothing(Seq(0), Seq(0)));
    };
    let (Kept { retention, first }, gone) = (row.kept.0, row.trimmed);
    if gone >= first && retention.is_all() {
        return Ok(nothing(first, gone));
    }
    let segments = segments_of(&*store, &room, scope).await?;
    if gone < first {
        // No holder may need them any more: the mark is to be where the word is. On CQL it comes after that.
        if row.mark < row.kept.1 {
            let inside = "the room's row is behind its own word".into();
            return Err(OpenError::of(&room, StoreError::Unavailable { inside }));
        }
        let from = gone.max(Seq(1));
        let epochs = with_rows(&segments, from..first);
        let trim = Trim { room: room.clone(), epochs, seqs: from..first };
        let reached = store.trim(trim).await.map_err(inside)?;
        ::metrics::counter!(metrics::TRIMMED).increment(reached.0.saturating_sub(from.0));
        return Ok(Part::Trimmed(Trimmed { first, gone: reached, more: true }));
    }
    let log = Log { store: &*store, room: &room, segments: &segments, newest: scope.newest };
    let due = log.due(retention, first.max(Seq(1))..=scope.head, fully, now).await?;
    Ok(match due > first.max(Seq(1)) {
        true => Part::Due { retention, first: due, gone },
        false => nothing(first, gone),
    })
}

/// Epochs that may have rows among these.
fn with_rows(segments: &[Segment], seqs: std::ops::Range<Seq>) -> Vec<Epoch> {
    let may = |(n, segment): &(usize, &Segment)| {
        let ends_before = |next: &Segment| next.start.0 + OVERHANG < seqs.start.0;
        segment.start < seqs.end && !segments.get(n + 1).is_some_and(ends_before)
    };
    segments.iter().enumerate().filter(may).map(|(_, segment)| segment.epoch).collect()
}

/// A room's log, to look at single entries.
struct Log<'a> {
    store: &'a dyn Store,
    room: &'a RoomId,
    segments: &'a [Segment],
    newest: Epoch,
}

impl Log<'_> {
    /// Where the log of `kept` should begin; at its first entry if nothing is to go.
    async fn due(
        &self,
        retention: Retention,
        kept: std::ops::RangeInclusive<Seq>,
        fully: bool,
        now: Millis,
    ) -> Result<Seq, OpenError> {
        let (first, end) = kept.into_inner();
        let mut due = first;
        if let Some(most) = retention.entries {
            let beyond = end.next().0.saturating_sub(first.0).saturating_sub(most);
            let worth = if fully { 1 } else { (most / WORTH_PART).max(1) };
            if beyond >= worth {
                // The word is an entry too.
                due = Seq(first.0 + beyond + 1);
            }
        }
        if let Some(days) = retention.days {
            let cutoff = now.0.saturating_sub(u64::from(days) * DAY_MS);
            let worth = if fully { 0 } else { DAY_MS };
            let oldest = self.entry(first).await?;
            // A log that has nothing but the word that it has nothing would say so again every day.
            let is_word = oldest.kind == Kind::Retention && first == end;
            if oldest.at.0.saturating_add(worth) < cutoff && !is_word {
                due = due.max(self.first_since(Millis(cutoff), first, end).await?);
            }
        }
        Ok(due)
    }

    /// The first entry that is not older than `cutoff`, or the place after the end. The one at `first` is older. Times never fall along a log.
    async fn first_since(&self, cutoff: Millis, first: Seq, end: Seq) -> Result<Seq, OpenError> {
        let (mut older, mut younger) = (first, end.next());
        while older.next() < younger {
            let middle = Seq(older.0.midpoint(younger.0));
            match self.entry(middle).await?.at < cutoff {
                true => older = middle,
                false => younger = middle,
            }
        }
        Ok(younger)
    }

    async fn entry(&self, seq: Seq) -> Result<Entry, OpenError> {
        let wanted = seq.0..=seq.0;
        let pieces = pieces(self.segments, self.newest, wanted.clone())
            .map_err(|broken| OpenError::broken(self.room, &broken))?;
        let missing = || OpenError::missing(self.room, seq);
        let epoch = pieces.first().ok_or_else(missing)?.epoch;
        let read = Read { room: self.room.clone(), epoch, seqs: wanted, bytes_max: 0 };
        let rows = self.store.read(read).await.map_err(|error| OpenError::of(self.room, error))?;
        rows.into_iter().next().ok_or_else(missing)
    }
}

/// Trims the rooms of this worker's partitions, again and again. Never returns.
pub(crate) async fn sweep(tier: Arc<Tier>) {
    let every = tier.config.retention_every;
    sleep(every / FIRST_SWEEP_PART).await;
    loop {
        sweep_once(&tier).await;
        sleep(every).await;
    }
}

async fn sweep_once(tier: &Tier) {
    let (config, mut after) = (&tier.config, None);
    loop {
        let rooms = match tier.ports.store.rooms_with_retention(after, ROOMS).await {
            Ok(rooms) => rooms,
            Err(error) => {
                tracing::warn!(%error, "can't look for rooms that keep not all; it is tried again with the next sweep");
                return;
            }
        };
        for room in &rooms {
            let partition = config.partitions.of(room);
            if config.placement.is_for(&config.node, partition) {
                trim(tier, room, Subject::Act(partition)).await;
            }
        }
        match rooms.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return,
        }
    }
}

/// Trims one room, part after part. By way of the bus: its holder may be another by now.
async fn trim(tier: &Tier, room: &RoomId, subject: Subject) {
    loop {
        let ask = Ask {
            room: room.clone(),
            what: What::Trim { by: User::operator(), fully: false },
            timeout_ms: PART_MAX.as_millis() as u32,
        };
        let told = tier.ports.bus.request(&subject, Payload::whole(ask).into(), PART_MAX).await;
        let told = told.map_err(|error| error.to_string());
        match told.and_then(|mut told| parcel::header::<Told>(&mut told).map_err(|error| error.to_string())) {
            Ok(Told::Trimmed(Trimmed { more: true, .. })) => {}
            Ok(Told::Trimmed(_)) => return,
            told => {
                tracing::info!(%room, ?told, "not trimmed now; it is tried again with the next sweep");
                return;
            }
        }
    }
}

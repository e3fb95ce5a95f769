//! From the fence read to the asker: publish, project what lists are read from, answer, in the order of the log.

use std::collections::VecDeque;

use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::store::Projection;
use tokio::time::Instant;

use crate::metrics::Outcomes;
use crate::projecting::{Unprojected, is_listed};
use crate::slot::Due;
use crate::tail::Tail;
use crate::traced::TracedEntry;
use crate::voice::{Announcement, Voice};

/// What one fence read covers of a room: entries that were durable, and answers that rest on nothing later, when it began.
pub(crate) struct Covered {
    pub(crate) room: RoomId,
    pub(crate) entries: Vec<Entry>,
    pub(crate) answers: Vec<Due>,
    pub(crate) traced: Vec<TracedEntry>,
    /// When the first of the entries was sent to the store; none of them was by us if they were found.
    pub(crate) since: Option<Instant>,
}

/// Answers that wait until the lists show what they say.
struct Settling {
    /// All up to here has to be in the projections.
    needs: Seq,
    announcements: Vec<Announcement>,
    answers: Vec<Due>,
}

/// The part of a room that the world may know.
pub(crate) struct Committed {
    /// How many members there are at the last committed entry.
    members: u64,
    /// The last committed entry of this epoch, and when that was.
    head: Option<(Seq, Instant)>,
    tail: Tail,
    unprojected: Unprojected,
    settling: VecDeque<Settling>,
    /// Answers of `settling` were dropped since the last projection.
    stuck: bool,
    /// It was said that the lists are too far behind the log.
    far_behind: bool,
}

impl Committed {
    /// A room just opened: at its mark, with `found` after that, which is committed first. `members` is how many there
    /// are after `found`.
    pub(crate) fn new(mark: Seq, members: u64, found: &[Entry]) -> Self {
        let joined = found.iter().filter(|e| e.kind == Kind::Join).count() as u64;
        let left = found.iter().filter(|e| e.kind == Kind::Leave).count() as u64;
        // Each join made one member more and each leave one less: the machine lets no other into the log.
        let members = (members + left).saturating_sub(joined);
        Self {
            members,
            head: None,
            tail: Tail::default(),
            unprojected: Unprojected::new(mark, members),
            settling: VecDeque::new(),
            stuck: false,
            far_behind: false,
        }
    }

    /// Tells what is covered, now that the fence is known to be ours: at once, or when the lists show it.
    pub(crate) fn settle(&mut self, covered: Covered, voice: &Voice, outcomes: &mut Outcomes) {
        let Covered { room, entries, answers, traced, since } = covered;
        let needs = entries.iter().rev().find(|e| is_listed(e)).map_or(Seq(0), |e| e.seq);
        let announcements = entries.iter().flat_map(|entry| Announcement::of(&room, entry)).collect();
        if !entries.is_empty() {
            self.commit(&room, entries, since, &traced, voice);
        }
        if self.settling.is_empty() && needs <= self.unprojected.mark() {
            answers.into_iter().for_each(|due| due.tell(&self.tail, outcomes));
        } else {
            self.settling.push_back(Settling { needs, announcements, answers });
        }
    }

    fn commit(
        &mut self,
        room: &RoomId,
        entries: Vec<Entry>,
        since: Option<Instant>,
        traced: &[TracedEntry],
        voice: &Voice,
    ) {
        let mut members = Vec::with_capacity(entries.len());
        for entry in &entries {
            match entry.kind {
                Kind::Join => self.members += 1,
                Kind::Leave => self.members = self.members.saturating_sub(1),
                _ => {}
            }
            self.unprojected.push(entry, self.members);
            members.push(self.members);
        }
        self.head = entries.last().map(|last| (last.seq, Instant::now()));
        voice.publish_entries(room, &entries, &members, traced);
        match since {
            Some(since) => {
                voice.meters.entries.increment(entries.len() as u64);
                voice.meters.batch_entries.record(entries.len() as f64);
                voice.meters.commit_seconds.record(since.elapsed());
            }
            // Found at the first touch: what lists lack of them is brought now.
            None => self.unprojected.insist(),
        }
        entries.into_iter().for_each(|entry| self.tail.push(room, entry));
    }

    /// A projection is in the store: tells what waited for it.
    pub(crate) fn projected(&mut self, mark: Seq, voice: &Voice, outcomes: &mut Outcomes) {
        self.stuck = false;
        self.unprojected.projected(mark);
        while let Some(next) = self.settling.pop_front_if(|next| next.needs <= mark) {
            next.announcements.iter().for_each(|announcement| voice.announce(announcement));
            next.answers.into_iter().for_each(|due| due.tell(&self.tail, outcomes));
        }
    }

    /// About how many bytes of memory its newest entries take.
    pub(crate) fn size(&self) -> usize {
        self.tail.size()
    }

    /// Whether something waits for a projection.
    pub(crate) fn is_settling(&self) -> bool {
        !self.settling.is_empty()
    }

    /// Drops the answers that nobody waits for any more. What they waited for is still to be announced, and in its order.
    pub(crate) fn drop_late(&mut self, now: Instant) {
        for Settling { answers, .. } in &mut self.settling {
            let before = answers.len();
            answers.retain(|due| due.is_awaited(now));
            self.stuck |= answers.len() < before;
        }
    }

    /// Whether a projection takes longer than anybody waits for an answer.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether the lists are so far behind a log that ends at `durable` that it must not grow: a first touch would have to read it all again. It
    /// is said when it begins.
    pub(crate) fn is_far_behind(&mut self, room: &RoomId, durable: Seq) -> bool {
        let is = self.unprojected.is_far_behind(durable);
        if is && !self.far_behind {
            let mark = self.unprojected.mark();
            tracing::warn!(%room, head = %durable, %mark, "the store takes a room's log and not its lists: the room takes nothing until it does");
        }
        self.far_behind = is;
        is
    }

    /// The last entry that was committed in this epoch, and when.
    pub(crate) fn head(&self) -> Option<(Seq, Instant)> {
        self.head
    }

    /// Whether a projection is due.
    pub(crate) fn has_projection(&self) -> bool {
        self.unprojected.is_due()
    }

    /// The next projection, if one is due.
    pub(crate) fn take_projection(&mut self, room: &RoomId) -> Option<Projection> {
        self.unprojected.take(room)
    }

    /// Brings the mark up to the log, for a room that leaves the memory.
    pub(crate) fn insist(&mut self) {
        self.unprojected.insist();
    }

    /// Whether the projections are the whole committed log.
    pub(crate) fn is_whole(&self) -> bool {
        self.unprojected.is_whole()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.settling.is_empty() && !self.unprojected.is_in_flight()
    }
}

//! The spans of sampled asks, of which there are few or none: `act` from the ask's arrival to its answer, and within it
//! the steps, one after the other: `decide`, `append`, `commit`.

use std::collections::VecDeque;

use hubbub_core::code::Code;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::trace::TraceContext;
use hubbub_node::trace::{Span, SpanKind};

/// A sampled ask. Dropped, it was answered.
pub(crate) struct TracedAsk {
    /// What the steps are part of, and whatever is told of the entry.
    pub(crate) trace: TraceContext,
    act: Span,
    decide: Span,
}

impl TracedAsk {
    /// An ask of the trace has arrived.
    pub(crate) fn arrived(asked: TraceContext) -> Box<Self> {
        let act = Span::part_of(asked, "act", SpanKind::Server);
        // A worker that traces nothing itself passes on what it was told.
        let trace = act.context().unwrap_or(asked);
        Box::new(Self { trace, act, decide: step(trace, "decide") })
    }

    /// It is about this room.
    pub(crate) fn about(&mut self, room: &RoomId) {
        self.act.tag("hubbub.room", room);
    }

    /// It is decided, perhaps by an entry.
    pub(crate) fn decided(&mut self, entry: Option<&Entry>) {
        self.decide = Span::default();
        if let Some(entry) = entry {
            self.act.tag("hubbub.seq", &entry.seq);
        }
    }

    /// What became of it is unknown.
    pub(crate) fn fail(&mut self) {
        self.act.fail(Code::Unavailable);
    }
}

fn step(trace: TraceContext, name: &'static str) -> Span {
    Span::part_of(trace, name, SpanKind::Internal)
}

/// An entry of a sampled ask on its way.
pub(crate) struct TracedEntry {
    pub(crate) seq: Seq,
    pub(crate) trace: TraceContext,
    step: Span,
}

/// Those of a room, in the order of the log.
#[derive(Default)]
pub(crate) struct Traced(VecDeque<TracedEntry>);

impl Traced {
    /// An entry is decided: its way into the store begins.
    pub(crate) fn push(&mut self, seq: Seq, trace: TraceContext) {
        self.0.push_back(TracedEntry { seq, trace, step: step(trace, "append") });
    }

    /// The trace that a batch is said to be part of, if one of its entries is.
    pub(crate) fn of_batch(&self, batch: &[Entry]) -> Option<TraceContext> {
        self.0.iter().find(|entry| is_in(entry, batch)).map(|entry| entry.trace)
    }

    /// A batch is in the store: what is left is to read the fence, and to tell.
    pub(crate) fn landed(&mut self, batch: &[Entry]) {
        for entry in self.0.iter_mut().filter(|entry| is_in(entry, batch)) {
            entry.step = step(entry.trace, "commit");
        }
    }

    /// Takes those up to here.
    pub(crate) fn take(&mut self, upto: Seq) -> Vec<TracedEntry> {
        std::iter::from_fn(|| self.0.pop_front_if(|entry| entry.seq <= upto)).collect()
    }
}

/// Whether it is one of these consecutive entries.
pub(crate) fn is_in(traced: &TracedEntry, entries: &[Entry]) -> bool {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return false };
    (first.seq..=last.seq).contains(&traced.seq)
}

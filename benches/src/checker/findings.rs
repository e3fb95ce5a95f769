//! What was wrong: how often each kind, and the first of them by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A delivery that can't come any more: a later one did, or the connection is gone.
    Lost,
    /// A delivery that did not come as long as was waited.
    NotCome,
    /// A delivery that came again.
    Doubled,
    /// A delivery in another order than another reader's, or than its sender's.
    Reordered,
    /// A step in the server's own numbers that was not one forward.
    Gaps,
    /// A delivery in a room that the reader isn't in, or of no message that was sent.
    Strange,
    /// Another body, sender or room than what was sent.
    Altered,
    /// Another number of the server's than another reader or the sender was told.
    Misnumbered,
    /// An answer to what had one, or to no send.
    Unasked,
    /// A send without an answer as long as was waited, where the target answers.
    Unanswered,
    /// A send that was refused for good, and delivered.
    RefusedKept,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Lost,
        Self::NotCome,
        Self::Doubled,
        Self::Reordered,
        Self::Gaps,
        Self::Strange,
        Self::Altered,
        Self::Misnumbered,
        Self::Unasked,
        Self::Unanswered,
        Self::RefusedKept,
    ];

    /// How a person calls it.
    fn words(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::NotCome => "not come in time",
            Self::Doubled => "doubled",
            Self::Reordered => "reordered",
            Self::Gaps => "gaps",
            Self::Strange => "strange",
            Self::Altered => "altered",
            Self::Misnumbered => "misnumbered",
            Self::Unasked => "answers to nothing",
            Self::Unanswered => "sends without an answer",
            Self::RefusedKept => "refused and delivered",
        }
    }
}

/// How often each was. All zero is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// [`Kind::Lost`].
    pub lost: u64,
    /// [`Kind::NotCome`].
    pub not_come: u64,
    /// [`Kind::Doubled`].
    pub doubled: u64,
    /// [`Kind::Reordered`].
    pub reordered: u64,
    /// [`Kind::Gaps`].
    pub gaps: u64,
    /// [`Kind::Strange`].
    pub strange: u64,
    /// [`Kind::Altered`].
    pub altered: u64,
    /// [`Kind::Misnumbered`].
    pub misnumbered: u64,
    /// [`Kind::Unasked`].
    pub unasked: u64,
    /// [`Kind::Unanswered`].
    pub unanswered: u64,
    /// [`Kind::RefusedKept`].
    pub refused_kept: u64,
}

impl Findings {
    /// Whether anything was wrong.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Adds what another room found.
    pub fn add(&mut self, mut other: Self) {
        for kind in Kind::ALL {
            *self.of(kind) += *other.of(kind);
        }
    }

    /// How often that was.
    pub fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Lost => &mut self.lost,
            Kind::NotCome => &mut self.not_come,
            Kind::Doubled => &mut self.doubled,
            Kind::Reordered => &mut self.reordered,
            Kind::Gaps => &mut self.gaps,
            Kind::Strange => &mut self.strange,
            Kind::Altered => &mut self.altered,
            Kind::Misnumbered => &mut self.misnumbered,
            Kind::Unasked => &mut self.unasked,
            Kind::Unanswered => &mut self.unanswered,
            Kind::RefusedKept => &mut self.refused_kept,
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut found = *self;
        let said: Vec<String> = Kind::ALL
            .into_iter()
            .filter_map(|kind| match *found.of(kind) {
                0 => None,
                count => Some(format!("{count} {}", kind.words())),
            })
            .collect();
        f.write_str(&said.join(", "))
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What was wrong.
    pub kind: Kind,
    /// The room's number.
    pub room: u32,
    /// Its id at the target.
    #[serde(default)]
    pub room_id: String,
    /// The member who saw it, if it is one.
    pub member: Option<u32>,
    /// Which of the room's messages, if it is one: 0, 1, 2 …
    pub message: Option<u32>,
    /// The server's number, where that is what is wrong.
    pub seq: Option<u64>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in room {} ({})", self.kind.words(), self.room, self.room_id)?;
        for (what, number) in [("member", self.member), ("message", self.message)] {
            if let Some(number) = number {
                write!(f, ", {what} {number}")?;
            }
        }
        self.seq.map_or(Ok(()), |seq| write!(f, ", the server's {seq}"))
    }
}

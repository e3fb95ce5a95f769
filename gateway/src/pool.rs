//! Whom to ask where several serve alike, history services or bridges: those who live, by turns.
//!
//! The bus alone would do, for it gives each request to one of those who share a subject. But it knows only whose connection ended: one
//! that is frozen gets its part of all requests for minutes. Signs of life stop with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubbub_core::ports::bus::Subject;
use hubbub_node::roster::Roster;

/// Servers of one subject, any of which is as good. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Subject,
    roster: Option<Arc<Roster>>,
    turn: Arc<AtomicUsize>,
}

impl Pool {
    /// Who serves `shared`, and of these whom the `roster` knows.
    pub fn new(shared: Subject, roster: Option<Arc<Roster>>) -> Self {
        // Each gateway begins with another one.
        Self { shared, roster, turn: Arc::new(AtomicUsize::new(fastrand::usize(..))) }
    }

    /// The turn of the next one of them.
    pub fn turn(&self) -> Turn {
        Turn { nth: self.turn.fetch_add(1, Ordering::Relaxed), pool: self.clone() }
    }
}

/// Whom to ask, and whom then if that was in vain: the others' turns stay as they are.
pub struct Turn {
    pool: Pool,
    nth: usize,
}

impl Turn {
    /// What the next one serves; what all share, where nobody is known to live: within one process, and when one has just begun to
    /// listen.
    pub fn next(&mut self) -> Subject {
        let living = self.pool.roster.as_ref().and_then(|roster| roster.one_living(self.nth));
        self.nth = self.nth.wrapping_add(1);
        living.map_or_else(|| self.pool.shared.clone(), Subject::Node)
    }
}

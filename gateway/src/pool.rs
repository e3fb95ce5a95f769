//! Whom to ask where several serve alike, history services or bridges.
//!
//! As a rule the bus decides, which gives each request to one of those who share a subject. But it knows only whose connection ended: one
//! that is frozen gets its part of all requests for minutes. So once it chose somebody who did not answer, those are asked by name, by
//! turns, whose signs of life are heard.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubbub_core::ports::bus::Subject;
use hubbub_node::roster::Roster;
use tokio::time::Instant;

/// For how long: by then NATS has noticed as well that nobody is behind a connection.
const MISTRUSTED: Duration = Duration::from_secs(600);

/// Servers of one subject, any of which is as good. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Subject,
    roster: Option<Arc<Roster>>,
    turns: Arc<Mutex<Turns>>,
}

struct Turns {
    next: usize,
    /// When the bus last chose somebody who did not answer.
    unanswered: Option<Instant>,
}

impl Pool {
    /// Who serves `shared`, and of these whom the `roster` knows.
    pub fn new(shared: Subject, roster: Option<Arc<Roster>>) -> Self {
        // Each gateway begins with another one.
        let turns = Turns { next: fastrand::usize(..), unanswered: None };
        Self { shared, roster, turns: Arc::new(Mutex::new(turns)) }
    }

    /// What to ask first.
    pub fn first(&self) -> Subject {
        let mut turns = self.lock();
        match turns.unanswered.is_some_and(|at| at.elapsed() < MISTRUSTED) {
            true => self.one_that_lives(&mut turns),
            false => self.shared.clone(),
        }
    }

    /// What to ask now that nobody answered `asked` in time.
    pub fn after_silence(&self, asked: &Subject) -> Subject {
        let mut turns = self.lock();
        if self.is_shared(asked) {
            turns.unanswered = Some(Instant::now());
        }
        self.one_that_lives(&mut turns)
    }

    /// What to ask now that nobody serves what was asked: it just ended, or does not listen yet, and others may, of whom nobody heard.
    pub fn after_absence(&self) -> Subject {
        self.shared.clone()
    }

    /// Whether this is served by all of them.
    pub fn is_shared(&self, asked: &Subject) -> bool {
        *asked == self.shared
    }

    fn one_that_lives(&self, turns: &mut Turns) -> Subject {
        turns.next = turns.next.wrapping_add(1);
        let living = self.roster.as_ref().and_then(|roster| roster.one_living(turns.next));
        living.map_or_else(|| self.shared.clone(), Subject::Node)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Turns> {
        // Each change is whole by itself.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

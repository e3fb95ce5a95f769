//! Who writes: told at most once a user, room and second, lapsing by itself, never kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hubbub_core::ids::{RoomId, User, UserId};
use hubbub_wire::tier::ephemera::Passing;

use crate::Gateway;

/// At most one in this time.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// A user who does not say it again stopped.
const LAPSE: Duration = Duration::from_secs(5);

/// What is known of a user in a room.
struct Writing {
    user: User,
    until: Instant,
    /// What the room was told last, and when.
    told: (bool, Instant),
}

impl Writing {
    /// What the room is to be told now, if anything: that the user stopped, or that they write, and that again.
    fn tell(&mut self, on: bool, now: Instant) -> Option<Passing> {
        let (told, at) = self.told;
        if now.duration_since(at) < TOLD_EVERY || !(on || told) {
            return None;
        }
        self.told = (on, now);
        Some(Passing::Typing { user: self.user.clone(), on })
    }
}

/// The users of this gateway who write now. Memory: those who said so in the last seconds.
#[derive(Default)]
pub struct Typing {
    writing: Mutex<HashMap<(RoomId, UserId), Writing>>,
}

impl Typing {
    /// The user writes in the room, or stopped. Too soon to be told, it is for the next sweep.
    pub fn tell(&self, gateway: &Gateway, room: &RoomId, user: &User, on: bool, now: Instant) {
        if let Some(passing) = self.note(room, user, on, now) {
            gateway.publish_passing(room, passing);
        }
    }

    fn note(&self, room: &RoomId, user: &User, on: bool, now: Instant) -> Option<Passing> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (room.clone(), user.id.clone());
        let until = if on { now + LAPSE } else { now };
        match writing.get_mut(&key) {
            Some(known) => {
                known.until = until;
                known.tell(on, now)
            }
            None if on => {
                writing.insert(key, Writing { user: user.clone(), until, told: (true, now) });
                Some(Passing::Typing { user: user.clone(), on })
            }
            None => None,
        }
    }

    /// Tells what is to be told still. To be called every second.
    pub fn sweep(&self, gateway: &Gateway, now: Instant) {
        for (room, passing) in self.due(now) {
            gateway.publish_passing(&room, passing);
        }
    }

    fn due(&self, now: Instant) -> Vec<(RoomId, Passing)> {
        let mut due = Vec::new();
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).retain(|(room, _), known| {
            let on = now < known.until;
            if on != known.told.0
                && let Some(passing) = known.tell(on, now)
            {
                due.push((room.clone(), passing));
            }
            // Who stopped is known for as long as nothing new may be told.
            known.told.0 || now.duration_since(known.told.1) < TOLD_EVERY
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::UserId;
    use proptest::prelude::*;

    use super::*;

    /// What a user says, or a sweep, each some time after the one before.
    #[derive(Debug, Clone)]
    enum Step {
        Say(bool),
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
        let step = prop_oneof![any::<bool>().prop_map(Step::Say), Just(Step::Sweep)];
        prop::collection::vec((step, prop_oneof![0..100u64, 900..1_100u64, 0..7_000u64]), 0..60)
    }

    proptest! {
        #[test]
        fn a_room_is_told_once_a_second_at_most_and_the_truth_in_the_end(steps in steps()) {
            let (typing, room) = (Typing::default(), RoomId::parse("r").unwrap());
            let user = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
            let (began, mut now) = (Instant::now(), Duration::ZERO);
            let (mut told, mut said): (Vec<(bool, Duration)>, _) = (Vec::new(), None);
            let mut hear = |passing: Passing, now| match passing {
                Passing::Typing { on, .. } => told.push((on, now)),
                other => panic!("{other:?}"),
            };
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                match step {
                    Step::Say(on) => {
                        said = Some((on, now));
                        typing.note(&room, &user, on, began + now).into_iter().for_each(|one| hear(one, now));
                    }
                    Step::Sweep => {
                        typing.due(began + now).into_iter().for_each(|(_, one)| hear(one, now));
                    }
                }
            }
            // The next sweep brings what others think up to what is so.
            now += TOLD_EVERY;
            typing.due(began + now).into_iter().for_each(|(_, one)| hear(one, now));
            let writes = said.is_some_and(|(on, at)| on && now < at + LAPSE);
            prop_assert_eq!(told.last().is_some_and(|(on, _)| *on), writes, "{:?}", told);
            for pair in told.windows(2) {
                prop_assert!(pair[1].1 - pair[0].1 >= TOLD_EVERY, "{:?}", told);
                prop_assert!(pair[0].0 || pair[1].0, "stopped twice: {:?}", told);
            }
            // And nothing is kept of who stopped.
            now += LAPSE + TOLD_EVERY;
            typing.due(began + now);
            typing.due(began + now + TOLD_EVERY);
            prop_assert!(typing.writing.lock().unwrap().is_empty());
        }
    }
}

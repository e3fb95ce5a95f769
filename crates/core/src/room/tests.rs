//! The machine against a model so simple that it is right by reading: a plain list of entries.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const USERS: [&str; 4] = ["ann", "bob", "cyd", "dee"];

fn user(n: usize) -> User {
    User { id: UserId::parse(USERS[n]).unwrap(), name: USERS[n].into() }
}

#[derive(Debug, Clone)]
enum Step {
    Act {
        user: usize,
        at: u64,
        verb: Verb,
    },
    /// All that a user said up to then is erased.
    Erase {
        user: usize,
        at: u64,
    },
    /// What is said to be kept makes the log begin so many entries before its end, or after that.
    Trim {
        at: u64,
        kept: u64,
    },
    /// A new holder: the room is loaded from what its log says.
    Takeover {
        mark: usize,
    },
}

fn verbs() -> impl Strategy<Value = Verb> {
    let key = proptest::option::of((0u8..6).prop_map(|k| Key::parse(&format!("k{k}")).unwrap()));
    // Answers have keys that no client chooses: `after` says nothing of them.
    let bot_key = (0u8..6).prop_map(|k| Key::parse(&format!("bot:{k}")).unwrap());
    let after = proptest::option::of((0u64..40).prop_map(Seq));
    prop_oneof![
        2 => Just(Verb::Create { name: "room".into(), topic: "".into() }),
        4 => Just(Verb::Join),
        2 => Just(Verb::Leave),
        1 => (0usize..4).prop_map(|n| Verb::Kick { member: user(n).id }),
        1 => (0usize..4).prop_map(|n| Verb::Expel { member: user(n).id }),
        1 => "[a-z]{0,3}".prop_map(|t| Verb::Topic { topic: t.into() }),
        10 => ("[a-z]{1,3}", key, after).prop_map(|(text, key, after)| Verb::Send {
            content: Content::text(text).unwrap(), key, after }),
        1 => proptest::option::of(1u32..3).prop_map(|days| Verb::Retain {
            retention: Retention { entries: None, days } }),
        2 => ("[a-z]{1,3}", any::<bool>(), bot_key).prop_map(|(text, is_complaint, key)| Verb::Answer {
            text: BotText::new(text, is_complaint).unwrap(), key }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = (0usize..4, 0u64..1_000, verbs()).prop_map(|(user, at, verb)| Step::Act { user, at, verb });
    let erase = (0usize..4, 0u64..1_000).prop_map(|(user, at)| Step::Erase { user, at });
    let trim = (0u64..1_000, 0u64..20).prop_map(|(at, kept)| Step::Trim { at, kept });
    let step = prop_oneof![20 => act, 2 => erase, 1 => trim, 1 => (0usize..50).prop_map(|mark| Step::Takeover { mark })];
    proptest::collection::vec(step, 1..60)
}

/// What the log alone says.
#[derive(Default)]
struct Model {
    log: Vec<Entry>,
}

impl Model {
    fn members(&self, upto: usize) -> BTreeSet<UserId> {
        let mut members = BTreeSet::new();
        for entry in &self.log[..upto] {
            match entry.kind {
                Kind::Join => _ = members.insert(entry.user.clone()),
                Kind::Leave => _ = members.remove(&entry.user),
                _ => {}
            }
        }
        members
    }

    fn facts(&self, upto: usize) -> Option<RoomFacts> {
        self.log[..upto].iter().rev().find_map(|e| e.facts.clone())
    }

    fn kept(&self, upto: usize) -> (Kept, Seq) {
        let said = self.log[..upto].iter().rev().find_map(|e| Some((e.kept()?, e.seq)));
        said.unwrap_or((Kept::default(), Seq(0)))
    }

    fn joined(&self, upto: usize, user: &UserId) -> Seq {
        self.log[..upto].iter().rev().find(|e| e.kind == Kind::Join && e.user == *user).unwrap().seq
    }

    fn first(&self, user: &UserId, key: &Key) -> Option<Answer> {
        let kept = self.log.iter().filter(|e| e.seq >= self.kept(self.log.len()).0.first);
        let first = kept.into_iter().find(|e| e.user == *user && e.key.as_ref() == Some(key))?;
        Some(Answer::Kept { seq: first.seq, at: Some(first.at) })
    }

    /// What must be answered; `None` where an entry must come.
    fn expected(&self, user: &UserId, verb: &Verb) -> Option<Answer> {
        let refused = |r| Some(Answer::Refused(r));
        let head = self.log.len();
        let Some(facts) = self.facts(head) else {
            return if matches!(verb, Verb::Create { .. }) { None } else { refused(Refusal::NoSuchRoom) };
        };
        let members = self.members(head);
        let member = members.contains(user);
        let owner = facts.owner == *user;
        match verb {
            Verb::Create { .. } if owner => {
                let (head, members, kept) = (Seq(head as u64), members.len() as u64, self.kept(head).0);
                let id = RoomId::parse("r").unwrap();
                Some(Answer::Made(RoomInfo { id, facts, head, members, kept }.into()))
            }
            Verb::Create { .. } => refused(Refusal::RoomTaken),
            Verb::Join if member => Some(Answer::Kept { seq: self.joined(head, user), at: None }),
            Verb::Join => None,
            Verb::Leave if !member => refused(Refusal::NotMember),
            Verb::Leave => None,
            Verb::Kick { .. } | Verb::Topic { .. } if !owner => refused(Refusal::NotOwner),
            Verb::Kick { member } | Verb::Expel { member } if !members.contains(member) => {
                refused(Refusal::NoSuchMember)
            }
            Verb::Kick { .. } | Verb::Expel { .. } => None,
            Verb::Topic { topic } => {
                (facts.topic == *topic).then_some(Answer::Kept { seq: Seq(head as u64), at: None })
            }
            Verb::Retain { retention } => {
                let (kept, seq) = self.kept(head);
                (kept.retention == *retention).then_some(Answer::Kept { seq, at: None })
            }
            Verb::Answer { key, .. } => self.first(user, key),
            Verb::Send { key, after, .. } => {
                if let Some(first) = key.as_ref().and_then(|key| self.first(user, key)) {
                    return Some(first);
                }
                if key.is_some() && after.is_some_and(|a| a.0 > head as u64) {
                    return refused(Refusal::BeyondHead);
                }
                // What came after it may be gone.
                if key.is_some() && after.is_some_and(|a| a.0 + 1 < self.kept(head).0.first.0) {
                    return refused(Refusal::RepeatUnknown);
                }
                if member { None } else { refused(Refusal::NotMember) }
            }
        }
    }

    /// The last thing that a user said, erased or not.
    fn last_of(&self, user: &UserId) -> Option<Seq> {
        let said = |e: &&Entry| e.user == *user && (e.kind.has_content() || e.kind == Kind::Erased);
        self.log.iter().rev().find(said).map(|e| e.seq)
    }

    fn last_erase_of(&self, user: &UserId) -> Option<&Entry> {
        self.log.iter().rev().find(|e| e.user == *user && e.kind == Kind::Erase)
    }

    fn load(&self, mark: usize) -> Room {
        let id = RoomId::parse("r").unwrap();
        let mark = mark.min(self.log.len());
        let mut room = match self.facts(mark) {
            None => Room::new(id, 100),
            Some(facts) => {
                let members =
                    self.members(mark).into_iter().map(|u| (u.clone(), self.joined(mark, &u))).collect();
                let erased = self.log[..mark].iter().rev().find(|e| e.kind == Kind::Erase);
                let (erased, kept) = (erased.map_or(Seq(0), |e| e.seq), self.kept(mark));
                let mark = (Seq(mark as u64), self.log[mark - 1].at);
                Room::projected(id, 100, Projected { facts, members, mark, erased, kept })
            }
        };
        let from = if room.info().is_some() { mark } else { 0 };
        self.log[from..].iter().for_each(|e| room.replay(e));
        room
    }
}

fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut room = model.load(0);
    // A retry repeats `after` as it was when the key was first sent: that is the client's part of the promise.
    let mut first_after = HashMap::new();
    for step in steps {
        match step {
            Step::Takeover { mark } => room = model.load(mark),
            Step::Erase { user: n, at } => {
                let (author, by) = (user(n).id, user(0));
                let Some(upto) = model.last_of(&author) else { continue };
                // First the bytes, then the word.
                let id = RoomId::parse("r").unwrap();
                for entry in model.log.iter_mut().filter(|e| e.user == author) {
                    *entry = entry.erased(&id).unwrap_or_else(|| entry.clone());
                }
                if let Some(erasure) = model.last_erase_of(&author).and_then(Entry::erasure) {
                    room.learn_erasure(&author, erasure);
                }
                let decision = room.erase(&by, &author, upto, Millis(at));
                let said = model
                    .last_erase_of(&author)
                    .filter(|e| e.erasure().is_some_and(|said| said.upto >= upto));
                match (said, decision.entry) {
                    (Some(said), None) => {
                        prop_assert_eq!(decision.answer, Answer::Kept { seq: said.seq, at: Some(said.at) })
                    }
                    (None, Some(entry)) => {
                        prop_assert_eq!(entry.seq.0, model.log.len() as u64 + 1);
                        prop_assert!(model.log.last().is_none_or(|last| last.at <= entry.at));
                        let erasure = Erasure { upto, seq: entry.seq, at: entry.at };
                        prop_assert_eq!((entry.erasure(), room.erased()), (Some(erasure), entry.seq));
                        model.log.push(entry);
                    }
                    (said, entry) => prop_assert!(false, "said {said:?}, then {entry:?}"),
                }
                prop_assert_eq!(decision.rests_on.0, model.log.len() as u64);
            }
            Step::Trim { at, kept } => {
                let (known, said) = model.kept(model.log.len());
                let first = Seq(model.log.len() as u64 + 1 - kept.min(model.log.len() as u64));
                let other = Retention { entries: Some(REPEAT_WINDOW), days: None };
                prop_assert_eq!(
                    room.trim(&user(0), other, first, Millis(at)).entry,
                    None,
                    "not what was said"
                );
                let decision = room.trim(&user(0), known.retention, first, Millis(at));
                match decision.entry {
                    None => {
                        prop_assert!(first <= known.first.max(Seq(1)), "{first} after {}", known.first);
                        prop_assert_eq!(decision.answer, Answer::Kept { seq: said, at: None });
                    }
                    Some(entry) => {
                        prop_assert_eq!(entry.seq.0, model.log.len() as u64 + 1);
                        prop_assert_eq!(entry.kept(), Some(Kept { first, ..known }));
                        prop_assert!(first > known.first && first <= entry.seq);
                        model.log.push(entry);
                    }
                }
                prop_assert_eq!(decision.rests_on.0, model.log.len() as u64);
            }
            Step::Act { user: n, at, mut verb } => {
                if let Verb::Send { key: Some(key), after, .. } = &mut verb {
                    *after = *first_after.entry((n, key.clone())).or_insert(*after);
                }
                let user_n = user(n);
                let action = Action { user: &user_n, at: Millis(at), verb: &verb };
                while let Some((from, to)) = room.missing_keys(&verb) {
                    let first = model.kept(model.log.len()).0.first;
                    prop_assert!(from.next() >= first, "{from} where the log begins at {first}");
                    // In pieces, the newest first: as a holder reads them.
                    let piece = from.0.max(to.0.saturating_sub(3));
                    room.learn_keys(Seq(piece), &model.log[piece as usize..to.0 as usize]);
                }
                prop_assert_eq!(room.missing_keys(&verb), None);
                let expected = model.expected(&user_n.id, &verb);
                let decision = room.decide(action);
                match (&expected, &decision.entry) {
                    (Some(answer), None) => prop_assert_eq!(answer, &decision.answer),
                    (None, Some(entry)) => {
                        prop_assert_eq!(entry.seq.0, model.log.len() as u64 + 1);
                        prop_assert!(model.log.last().is_none_or(|last| last.at <= entry.at));
                        model.log.push(entry.clone());
                        match &decision.answer {
                            Answer::Kept { seq, at } => {
                                prop_assert_eq!((*seq, *at), (entry.seq, Some(entry.at)))
                            }
                            Answer::Made(info) => prop_assert_eq!((info.head, info.members), (Seq(1), 1)),
                            Answer::Refused(r) => prop_assert!(false, "entry and refusal {r:?}"),
                        }
                    }
                    _ => prop_assert!(false, "{action:?}: expected {expected:?}, got {decision:?}"),
                }
                prop_assert_eq!(decision.rests_on.0, model.log.len() as u64);
                for n in 0..4 {
                    let id = user(n).id;
                    prop_assert_eq!(room.is_member(&id), model.members(model.log.len()).contains(&id));
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_actions_gives_what_the_log_alone_says(steps in steps()) {
        check(steps)?;
    }
}

fn made() -> Room {
    let mut room = Room::new(RoomId::parse("r").unwrap(), 2);
    act(&mut room, 0, Verb::Create { name: "r".into(), topic: "".into() });
    room
}

fn act(room: &mut Room, n: usize, verb: Verb) -> Decision {
    room.decide(Action { user: &user(n), at: Millis(1), verb: &verb })
}

fn send(room: &mut Room, n: u64, after: Option<u64>) -> Decision {
    let key = Some(Key::parse(&format!("k{n}")).unwrap());
    let content = Content::text("x".into()).unwrap();
    act(room, 0, Verb::Send { content, key, after: after.map(Seq) })
}

#[test]
fn a_repeat_beyond_the_window_is_refused_rather_than_guessed() {
    let mut room = made();
    for n in 2..=REPEAT_WINDOW + 2 {
        send(&mut room, n, None);
    }
    // The log is 1..=10,002: key k2 stands at 2, out of the window; k3 at 3, its last place.
    assert_eq!(send(&mut room, 3, None).answer, Answer::Kept { seq: Seq(3), at: Some(Millis(1)) });
    assert_eq!(send(&mut room, 2, Some(1)).answer, Answer::Refused(Refusal::RepeatUnknown));
    let window_start = room.head().0 - REPEAT_WINDOW;
    assert!(send(&mut room, 77_777, Some(window_start)).entry.is_some());
}

#[test]
fn a_full_room_takes_no_more() {
    let mut room = made();
    let mut join = |n| act(&mut room, n, Verb::Join);
    assert!(join(1).entry.is_some());
    assert_eq!(join(2).answer, Answer::Refused(Refusal::Full));
    assert_eq!(join(1).answer, Answer::Kept { seq: Seq(2), at: None });
}

#[test]
fn the_same_actions_give_the_same_bytes() {
    let run = || {
        let mut room = made();
        (2..50).filter_map(|n| send(&mut room, n % 7, None).entry).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

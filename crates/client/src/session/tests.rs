use std::collections::BTreeMap;

use hubbub_core::ids::Seq;

use super::*;
use crate::answer::Sent;
use crate::event::{Behind, Violation};
use crate::raw::Frame;
use crate::{Entry, What};

type Answer = oneshot::Receiver<Result<String, Error>>;

/// A session, and the instant that it is told.
struct Rig {
    session: Session,
    now: Instant,
    welcome: oneshot::Receiver<Result<Arc<Welcome>, Error>>,
}

fn room() -> RoomId {
    RoomId::parse("r").unwrap()
}

impl Rig {
    fn new(reconnect: bool) -> Self {
        let (ready, welcome) = oneshot::channel();
        let options = Options { token: "t".into(), reconnect, ..Options::new("ws://x") };
        let now = Instant::now();
        Self { session: Session::new(options, ready, now), now, welcome }
    }

    /// Up, a member of room `r` with its head at 4.
    fn up(reconnect: bool) -> Self {
        let mut rig = Self::new(reconnect);
        rig.session.on_open(rig.now);
        rig.says(welcome());
        rig.session.out.clear();
        rig.session.events.clear();
        rig
    }

    fn says(&mut self, frame: Value) {
        self.session.on_frame(self.now, Frame::Text(frame.to_string()));
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.session.on_time(self.now);
    }

    fn lose(&mut self) -> Result<Duration, Error> {
        self.session.on_lost(self.now, Error::Closed { code: Some(1001), reason: "going_away".into() }, 0.0)
    }

    fn sends(&mut self, text: &str) -> Answer {
        let (reply, answer) = oneshot::channel();
        let Value::Object(body) = json!({"type": "send", "room": "r", "key": "k", "text": text}) else {
            panic!()
        };
        self.session.on_ask(self.now, Ask { body, after_in: Some(room()), effect: Effect::None, reply });
        answer
    }

    /// A request with this effect, and its answer.
    fn asks(&mut self, effect: Effect, answer: Value) {
        let (reply, _answer) = oneshot::channel();
        self.session.on_ask(self.now, Ask { body: Map::new(), after_in: None, effect, reply });
        self.says(answer);
    }

    fn out(&mut self) -> Vec<Value> {
        let text = |out| match out {
            Out::Text(text) => serde_json::from_str(&text).unwrap(),
            other => json!(format!("{other:?}")),
        };
        self.session.out.drain(..).map(text).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        self.session.events.drain(..).collect()
    }
}

fn welcome() -> Value {
    json!({"type": "welcome", "ref": 0, "user": {"id": "me", "name": "Me", "roles": ["user"]}, "heartbeat": 10,
        "rooms": [{"id": "r", "name": "R", "topic": "", "head": 4}], "log": "one", "limits": {"text_chars": 4096}})
}

fn message(seq: u64, text: &str) -> Value {
    json!({"type": "message", "room": "r", "seq": seq, "user": {"id": "a", "name": "Ann"}, "kind": "text",
        "text": text, "at": 1, "a field of later days": []})
}

fn entry(seq: u64, text: &str) -> Entry {
    serde_json::from_value(message(seq, text)).unwrap()
}

#[test]
fn a_hello_comes_first_and_its_welcome_is_told() {
    let mut rig = Rig::new(false);
    let mut asked_early = rig.sends("early");
    rig.session.on_open(rig.now);
    let client = rig.session.options.client_name.clone();
    assert_eq!(rig.out(), [json!({"type": "hello", "ref": 0, "token": "t", "client": client})]);
    rig.says(welcome());
    assert!(matches!(&rig.events()[..], [Event::Connected(_)]));
    assert_eq!(rig.welcome.try_recv().unwrap().unwrap().user.name, "Me");
    assert_eq!(rig.out()[0]["text"], "early");
    assert!(asked_early.try_recv().is_err());
}

#[test]
fn a_send_without_an_answer_is_sent_again_unchanged() {
    let mut rig = Rig::up(true);
    rig.says(message(5, "seen"));
    let mut answer = rig.sends("mine");
    let first = rig.out();
    assert_eq!((&first[0]["key"], &first[0]["after"]), (&json!("k"), &json!(5)));
    assert!(rig.lose().is_ok());
    rig.session.on_open(rig.now);
    let hello = rig.out();
    assert_eq!((hello.len(), &hello[0]["rooms"], &hello[0]["log"]), (1, &json!({"r": 5}), &json!("one")));
    rig.says(welcome());
    rig.says(message(6, "seen later"));
    assert_eq!(rig.out(), first);
    let reference = first[0]["ref"].clone();
    rig.says(json!({"type": "ok", "ref": reference, "seq": 7, "at": 9, "durability": "disk"}));
    let sent: Sent = parse(&answer.try_recv().unwrap().unwrap()).unwrap();
    assert_eq!(sent.seq(), Some(Seq(7)));
    rig.lose().unwrap();
    rig.session.on_open(rig.now);
    rig.says(welcome());
    assert_eq!(rig.out().len(), 1, "only the hello: the message is acked");
}

#[test]
fn without_reconnect_a_lost_connection_ends_what_waits() {
    let mut rig = Rig::up(false);
    let mut answer = rig.sends("mine");
    let end = rig.lose().unwrap_err();
    assert_eq!(end, Error::Closed { code: Some(1001), reason: "going_away".into() });
    assert_eq!(answer.try_recv(), Ok(Err(end)));
    assert!(matches!(&rig.events()[..], [Event::Disconnected(d)] if d.retry_in.is_none()));
}

#[test]
fn unavailable_is_tried_again_under_the_same_key_until_the_deadline() {
    let mut rig = Rig::up(true);
    let mut answer = rig.sends("mine");
    let first = rig.out();
    let unavailable = json!({"type": "error", "ref": 1, "code": "unavailable", "message": "no worker",
        "retry_after_ms": 2_000});
    rig.says(unavailable.clone());
    rig.later(1);
    assert_eq!(rig.out(), [json!(null); 0]);
    rig.later(1);
    assert_eq!(rig.out(), first);
    // A wait beyond the deadline ends it at once, with the refusal.
    let mut late = unavailable;
    late["retry_after_ms"] = json!(60_000);
    rig.says(late);
    let refused = answer.try_recv().unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(Code::Unavailable));
    assert!(refused.is_outcome_unknown());

    // Without a connection nothing is due: it would be looked at again and again.
    let _waits = rig.sends("waits");
    rig.says(
        json!({"type": "error", "ref": 2, "code": "unavailable", "message": "", "retry_after_ms": 2_000}),
    );
    rig.lose().unwrap();
    rig.later(3);
    assert!(rig.session.next_wake().is_some_and(|wake| wake > rig.now), "its deadline");
    rig.session.on_open(rig.now);
    rig.says(welcome());
    assert_eq!(rig.out().last().unwrap()["text"], "waits");

    let mut lost = rig.sends("never answered");
    rig.later(31);
    assert_eq!(lost.try_recv(), Ok(Err(Error::Deadline)));
}

#[test]
fn a_refusal_goes_to_its_caller() {
    for (reconnect, code) in [(true, "rate_limited"), (true, "not_member"), (false, "unavailable")] {
        let mut rig = Rig::up(reconnect);
        let mut answer = rig.sends("mine");
        rig.says(json!({"type": "error", "ref": 1, "code": code, "message": "m", "retry_after_ms": 5}));
        let Ok(Err(Error::Refused(refusal))) = answer.try_recv() else { panic!("{code}") };
        assert_eq!((refusal.code.as_str(), refusal.retry_after()), (code, Some(Duration::from_millis(5))));
    }
}

#[test]
fn repeats_and_gaps_are_told_and_nothing_is_lost_to_them() {
    let mut rig = Rig::up(false);
    for seq in [5, 5, 8] {
        rig.says(message(seq, "x"));
    }
    let expected = [
        Event::Entry(entry(5, "x")),
        Event::Violation(Violation::Repeat { position: Seq(5), entry: entry(5, "x") }),
        Event::Violation(Violation::Gap { room: room(), position: Seq(5), next: Seq(8) }),
        Event::Entry(entry(8, "x")),
    ];
    assert_eq!(rig.events(), expected);
}

#[test]
fn after_behind_the_stream_goes_on_behind_its_head() {
    let mut rig = Rig::up(false);
    rig.says(json!({"type": "behind", "room": "r", "after": 4, "head": 90}));
    rig.says(message(91, "x"));
    rig.says(json!({"type": "behind", "room": "r", "after": 95, "head": 99}));
    let events = rig.events();
    assert_eq!(events[0], Event::Behind(Behind { room: room(), after: Seq(4), head: Seq(90) }));
    assert_eq!(events[1], Event::Entry(entry(91, "x")));
    let gap = Violation::Gap { room: room(), position: Seq(91), next: Seq(96) };
    assert_eq!(events[2], Event::Violation(gap));
    assert_eq!(rig.session.positions.of(&room()), Some(Seq(99)));
}

#[test]
fn who_is_not_let_in_stays_out() {
    for reconnect in [true, false] {
        let mut rig = Rig::new(reconnect);
        rig.session.on_open(rig.now);
        rig.says(json!({"type": "error", "ref": 0, "code": "unauthorized", "message": "expired"}));
        let error = rig.session.wants_to_hang_up().unwrap();
        assert_eq!(error.code(), Some(Code::Unauthorized));
        assert_eq!(rig.session.on_lost(rig.now, error.clone(), 0.0), Err(error.clone()));
        assert_eq!(rig.welcome.try_recv().unwrap().unwrap_err(), error);
    }
    let mut rig = Rig::up(true);
    let revoked = Error::Closed { code: Some(4401), reason: "not_authenticated".into() };
    assert_eq!(rig.session.on_lost(rig.now, revoked.clone(), 0.0), Err(revoked));
}

#[test]
fn the_first_attempt_is_the_callers() {
    let mut rig = Rig::new(true);
    let error = Error::Connect { status: None, reason: "nobody is there".into() };
    assert_eq!(rig.session.on_lost(rig.now, error.clone(), 0.0), Err(error.clone()));
    assert_eq!(rig.welcome.try_recv().unwrap().unwrap_err(), error);
    let mut later = Rig::up(true);
    assert!(later.session.on_lost(later.now, error, 0.0).is_ok());
}

#[test]
fn the_wait_of_bye_is_kept_once() {
    let mut rig = Rig::up(true);
    rig.says(json!({"type": "bye", "reason": "going_away", "reconnect_after_ms": 3_000}));
    assert_eq!(rig.lose(), Ok(Duration::from_secs(3)));
    assert_eq!(rig.lose(), Ok(Duration::ZERO));
}

#[test]
fn silence_is_asked_about_and_then_believed() {
    let mut rig = Rig::up(true);
    rig.later(9);
    assert_eq!(rig.out(), [json!(null); 0]);
    rig.later(1);
    assert_eq!(rig.out(), [json!("Ping([])")]);
    rig.session.on_frame(rig.now, Frame::Pong(vec![]));
    rig.later(19);
    assert_eq!((rig.out().len(), rig.session.wants_to_hang_up()), (1, None));
    rig.later(1);
    assert!(rig.session.wants_to_hang_up().is_some());

    let mut unread = Rig::up(true);
    unread.says(message(5, "nobody takes it"));
    unread.later(30);
    assert_eq!(unread.session.wants_to_hang_up(), None, "the silence is our own");
}

#[test]
fn a_server_without_a_welcome_is_given_up() {
    let mut rig = Rig::new(true);
    rig.session.on_open(rig.now);
    assert_eq!(rig.session.next_wake(), Some(rig.now + Duration::from_secs(10)));
    rig.later(10);
    assert!(rig.session.wants_to_hang_up().is_some());
}

#[test]
fn what_is_unknown_is_ignored_and_what_is_wrong_is_told() {
    let mut rig = Rig::up(false);
    rig.says(json!({"type": "weather", "sunny": true}));
    rig.says(json!({"type": "pinned", "room": "r", "seq": 5, "user": {"id": "a", "name": "A"}, "at": 1}));
    rig.says(json!({"type": "ok", "ref": 77}));
    rig.says(json!({"no": "type"}));
    rig.says(json!({"type": "message", "room": "r", "seq": 6}));
    let events = rig.events();
    assert!(matches!(&events[0], Event::Entry(entry) if entry.what == What::Other("pinned".into())));
    let unreadable = |event: &Event| matches!(event, Event::Violation(Violation::Unreadable { .. }));
    assert_eq!((events.len(), events[1..].iter().all(unreadable)), (4, true), "{events:?}");
}

#[test]
fn an_answer_may_be_late() {
    let mut rig = Rig::up(false);
    let mut answer = rig.sends("mine");
    rig.later(30);
    assert_eq!(answer.try_recv(), Ok(Err(Error::Deadline)));
    rig.says(json!({"type": "ok", "ref": 1, "seq": 5}));
    assert_eq!(rig.events(), []);
}

#[test]
fn rooms_are_followed_from_join_to_leave() {
    let mut rig = Rig::up(true);
    let other = RoomId::parse("o").unwrap();
    let me = json!({"id": "me", "name": "Me"});
    rig.asks(Effect::Joined(other.clone()), json!({"type": "ok", "ref": 1, "seq": 12}));
    assert_eq!(rig.session.positions.of(&other), Some(Seq(12)));
    rig.says(json!({"type": "join", "room": "o", "seq": 12, "user": me, "at": 1}));
    rig.says(json!({"type": "leave", "room": "o", "seq": 13, "user": me, "at": 1}));
    assert!(rig.events().iter().all(|event| matches!(event, Event::Entry(_))));
    assert_eq!(rig.session.positions.all(), BTreeMap::from([(room(), Seq(4))]));
}

#[test]
fn an_answer_alone_makes_or_ends_a_following() {
    let mut rig = Rig::up(true);
    rig.asks(Effect::Left(room()), json!({"type": "ok", "ref": 1, "seq": 5}));
    assert_eq!(rig.session.positions.all(), BTreeMap::new());
    let made = json!({"id": "n", "name": "N", "topic": "", "owner": "me", "head": 1, "members": 1});
    rig.asks(Effect::Created, json!({"type": "ok", "ref": 2, "room": made}));
    assert_eq!(rig.session.positions.all(), BTreeMap::from([(RoomId::parse("n").unwrap(), Seq(1))]));
}

#[test]
fn a_fresh_token_changes_nothing_else() {
    let mut rig = Rig::up(true);
    rig.says(message(5, "x"));
    rig.events();
    rig.session.on_token("fresh".into());
    let hello = rig.out();
    assert_eq!((&hello[0]["token"], hello[0].get("rooms")), (&json!("fresh"), None));
    rig.says(welcome());
    assert_eq!(rig.events(), []);
    assert_eq!(rig.session.positions.of(&room()), Some(Seq(5)));
}

//! What is said of every way in which up to three gateways give a log, give one that lacks something, or give none.

use std::time::Duration;

use hubbub_testkit::checker::Sent;

use super::*;

/// What a gateway gives of a room's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Whole,
    /// Without the message that was acknowledged last.
    Lossy,
    Nothing,
    /// It says that there is none.
    Denied,
}

const GIVEN: [Given; 4] = [Given::Whole, Given::Lossy, Given::Nothing, Given::Denied];

impl Given {
    fn log(self) -> Result<Vec<Seen>, NoLog> {
        let entry = |seq: u64| Seen { seq, content: text(seq), text: Some(text(seq)) };
        match self {
            Self::Whole => Ok((1..=3).map(entry).collect()),
            Self::Lossy => Ok((1..=2).map(entry).collect()),
            Self::Nothing => Err(NoLog::Silent("no answer".to_owned())),
            Self::Denied => Err(NoLog::Denied("no_such_room".to_owned())),
        }
    }
}

fn text(seq: u64) -> String {
    format!("message {seq}")
}

fn room(name: &str) -> RoomId {
    RoomId::parse(name).expect("a room's id")
}

/// The verdict on rooms in each of which three messages were acknowledged, each by what its gateways give.
fn verdict(rooms: &[(RoomId, Vec<Given>)]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut histories = BTreeMap::new();
    for (room, given) in rooms {
        let at = |seq| Duration::from_secs(seq);
        let acked = |seq| Sent {
            key: text(seq),
            text: text(seq),
            began: at(2 * seq),
            outcome: Outcome::Acked { seq, at: at(2 * seq + 1) },
        };
        let logs = given.iter().enumerate().map(|(n, given)| (format!("ws://gateway{n}"), given.log()));
        let log = verdict.take_logs(room, logs);
        histories
            .insert(room.clone(), History { sent: (1..=3).map(acked).collect(), readers: Vec::new(), log });
    }
    let rooms = histories.keys().cloned().collect();
    verdict.judge(&mut histories, &Run::new(rooms, Duration::from_secs(9)));
    verdict
}

/// Every way in which so many gateways can give it.
fn ways(gateways: usize) -> Vec<Vec<Given>> {
    (0..gateways).fold(vec![Vec::new()], |ways, _| {
        let and = |way: &Vec<Given>, given| [way.clone(), vec![given]].concat();
        ways.iter().flat_map(|way| GIVEN.map(|given| and(way, given))).collect()
    })
}

#[test]
fn a_loss_that_any_log_shows_is_named_and_decides_and_without_one_all_logs_have_to_be_seen() {
    for way in (1..=3).flat_map(ways) {
        let verdict = verdict(&[(room("01J00000000000000000000000"), way.clone())]);
        let said = verdict.to_string();
        let (lossy, unread) = (way.contains(&Given::Lossy), way.contains(&Given::Nothing));
        let denied = way.contains(&Given::Denied);
        let word = match (lossy || denied, unread) {
            (true, _) => "\nBROKEN",
            (false, true) => "\nNOT SEEN",
            (false, false) => "\nKEPT",
        };
        assert!(said.contains(word), "{way:?}: {said}");
        assert_eq!(said.contains("AckedIsLost at 7.0 s: "), lossy, "{way:?}: {said}");
        let kept = !lossy && !denied && !unread;
        assert_eq!((verdict.is_kept(), verdict.is_conclusive()), (kept, !unread), "{way:?}");
        let differ = way.contains(&Given::Whole) && lossy;
        assert_eq!(said.contains("two gateways show different logs"), differ, "{way:?}: {said}");
        for (n, given) in way.iter().enumerate() {
            let named = said.contains(&format!(
                "not read in the end: the log of 01J00000000000000000000000 at ws://gateway{n}: no answer\n"
            ));
            assert_eq!(named, *given == Given::Nothing, "{way:?}: {said}");
            let named = said.contains(&format!(
                "3 acknowledged messages is not there at ws://gateway{n}: no_such_room\n"
            ));
            assert_eq!(named, *given == Given::Denied, "{way:?}: {said}");
        }
    }
}

#[test]
fn a_room_of_which_no_log_was_read_hides_no_other_rooms_loss() {
    let unread = (room("01J00000000000000000000000"), vec![Given::Nothing, Given::Nothing]);
    let with = |given: Given| verdict(&[unread.clone(), (room("01J00000000000000000000001"), vec![given])]);
    let broken = with(Given::Lossy);
    assert!(!broken.broken.is_empty() && broken.to_string().contains("\nBROKEN"), "{broken}");
    // What was not seen is not lost.
    assert!(broken.broken.iter().all(|broken| broken.room != unread.0.to_string()), "{broken}");
    let unseen = with(Given::Whole);
    assert!(unseen.broken.is_empty() && !unseen.is_kept(), "{unseen}");
}

#[test]
fn one_false_acknowledgement_is_one_breach_however_much_is_sent_later() {
    let room = room("01J00000000000000000000000");
    let at = |seq| Duration::from_secs(seq);
    let sent = |n: u64, seq| Sent {
        key: text(n),
        text: text(n),
        began: at(2 * n),
        outcome: Outcome::Acked { seq, at: at(2 * n + 1) },
    };
    let entry = |seq: u64| Seen { seq, content: text(seq), text: Some(text(seq)) };
    let log: Vec<Seen> = (1..=9).map(entry).collect();
    let all = |first: u64| std::iter::once(sent(1, first)).chain((2..=9).map(|n| sent(n, n))).collect();
    let judged = |sent| {
        let history = History { sent, readers: Vec::new(), log: log.clone() };
        let mut verdict = Verdict::default();
        let run = Run::new(vec![room.clone()], at(30));
        verdict.judge(&mut BTreeMap::from([(room.clone(), history)]), &run);
        verdict
    };
    let verdict = judged(all(1_000));
    let said = verdict.to_string();
    assert!(verdict.broken.len() == 1 && said.contains("BROKEN: once"), "{said}");
    assert!(said.contains("AckedIsLost at 3.0 s: message 1 was acknowledged as 1000"), "{said}");
    assert!(judged(all(1)).broken.is_empty());
}

#[test]
fn what_was_due_and_not_sent_is_said_and_so_is_what_was_refused_and_who_never_came_back() {
    let mut verdict = Verdict::default();
    let told = Told { due: 40, refused: BTreeMap::from([("no_such_room".to_owned(), 3)]), ..Told::default() };
    assert!(verdict.hear(told).is_empty());
    let outage = |to| Outage { who: "reader0".to_owned(), from: 6.0, to, why: "refused".to_owned() };
    verdict.outages = vec![outage(Some(8.5)), outage(None)];
    let said = verdict.to_string();
    for part in [
        "40 of 40 that were due were not sent",
        "refused 3 times: no_such_room",
        "1 lost connections that came back, away for at most 2.50 s",
        "1 that did not come back, first reader0, after 6.0 s: refused",
    ] {
        assert!(said.contains(part), "no {part}: {said}");
    }
}

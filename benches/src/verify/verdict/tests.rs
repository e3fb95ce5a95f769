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
}

const GIVEN: [Given; 3] = [Given::Whole, Given::Lossy, Given::Nothing];

impl Given {
    fn log(self) -> Option<Vec<Seen>> {
        let entry = |seq: u64| Seen { seq, content: text(seq), text: Some(text(seq)) };
        match self {
            Self::Whole => Some((1..=3).map(entry).collect()),
            Self::Lossy => Some((1..=2).map(entry).collect()),
            Self::Nothing => None,
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
    verdict.judge(&mut histories, &Run::new(rooms));
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
        let word = match (lossy, unread) {
            (true, _) => "\nBROKEN",
            (false, true) => "\nNOT SEEN",
            (false, false) => "\nKEPT",
        };
        assert!(said.contains(word), "{way:?}: {said}");
        assert_eq!(said.contains("AckedIsLost"), lossy, "{way:?}: {said}");
        assert_eq!((verdict.is_kept(), verdict.is_conclusive()), (!lossy && !unread, !unread), "{way:?}");
        let differ = way.contains(&Given::Whole) && lossy;
        assert_eq!(said.contains("two gateways show different logs"), differ, "{way:?}: {said}");
        for (n, given) in way.iter().enumerate() {
            let named = said.contains(&format!(
                "not read in the end: the log of 01J00000000000000000000000 at ws://gateway{n}\n"
            ));
            assert_eq!(named, *given == Given::Nothing, "{way:?}: {said}");
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

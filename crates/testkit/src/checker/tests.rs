//! Each test plants one fault in a room where all is well, and the checker must name it and nothing else.

use super::*;

fn seen(seq: u64) -> Seen {
    let text = format!("text {seq}");
    Seen { seq, content: format!("ann says {text}"), text: Some(text) }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(seq: u64) -> String {
    format!("key {seq}")
}

/// Five messages, sent one after the other and acknowledged, read by two.
fn well() -> History {
    let sent = |seq| Sent {
        key: key(seq),
        text: format!("text {seq}"),
        began: at(seq * 10),
        outcome: Outcome::Acked { seq, at: at(seq * 10 + 5) },
    };
    let reader = |name: &str, began_at: u64| Reader {
        name: name.into(),
        began_at,
        steps: (began_at + 1..=5).map(|seq| Step::Entry(seen(seq))).collect(),
        shown: vec![Shown { asked: at(16), head: 1 }, Shown { asked: at(100), head: 5 }],
        to_the_end: true,
    };
    History {
        sent: (1..=5).map(sent).collect(),
        readers: vec![reader("bob", 0), reader("cyd", 2)],
        log: (1..=5).map(seen).collect(),
    }
}

fn found(plant: impl FnOnce(&mut History)) -> Vec<Violation> {
    let mut history = well();
    plant(&mut history);
    check(&history)
}

#[test]
fn nothing_is_found_where_all_is_well() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_lost_ack() {
    let lost = found(|room| {
        room.log.pop();
        room.readers.clear();
    });
    assert_eq!(lost, [Violation::AckedIsLost { key: key(5), seq: 5 }]);
}

#[test]
fn an_acknowledged_message_at_another_place() {
    let moved = found(|room| {
        room.sent[4].outcome = Outcome::Acked { seq: 6, at: at(55) };
        room.readers.clear();
    });
    assert_eq!(moved, [Violation::AckedIsLost { key: key(5), seq: 6 }]);
}

#[test]
fn a_doubled_key() {
    let doubled = found(|room| {
        let again = Seen { seq: 6, ..seen(5) };
        room.log.push(again.clone());
        room.readers.iter_mut().for_each(|reader| reader.steps.push(Step::Entry(again.clone())));
    });
    assert_eq!(doubled, [Violation::KeyIsDoubled { key: key(5), seqs: vec![5, 6] }]);
}

#[test]
fn a_refused_message_that_is_kept_and_one_that_nobody_sent() {
    assert_eq!(
        found(|room| room.sent[2].outcome = Outcome::Refused),
        [Violation::RefusedIsKept { key: key(3), seq: 3 }]
    );
    let strange = found(|room| drop(room.sent.remove(2)));
    assert_eq!(strange, [Violation::NobodySentIt { seq: 3, text: "text 3".into() }]);
}

#[test]
fn an_unknown_outcome_may_be_either() {
    assert_eq!(found(|room| room.sent[4].outcome = Outcome::Unknown), []);
    let not_kept = found(|room| {
        room.sent.push(Sent { key: key(6), text: "text 6".into(), began: at(60), outcome: Outcome::Unknown });
    });
    assert_eq!(not_kept, []);
}

#[test]
fn an_order_that_is_not_that_of_real_time() {
    let reordered = found(|room| {
        // The fourth was acknowledged at 45; the third is sent only then.
        room.sent[2].began = at(46);
        room.sent[2].outcome = Outcome::Acked { seq: 3, at: at(48) };
    });
    let (first, then) = (key(4), key(3));
    assert_eq!(reordered, [Violation::Reordered { first, first_seq: 4, then, then_seq: 3 }]);
    // Also when nobody was told of it, and not when they overlapped.
    let unknown = found(|room| (room.sent[2].began, room.sent[2].outcome) = (at(46), Outcome::Unknown));
    assert_eq!(unknown.len(), 1);
    let overlapped = found(|room| {
        room.sent[2].began = at(44);
        room.sent[2].outcome = Outcome::Acked { seq: 3, at: at(48) };
    });
    assert_eq!(overlapped, []);
}

#[test]
fn a_gap_in_the_log() {
    let gap = found(|room| {
        room.log.remove(2);
        room.sent.remove(2);
        room.readers.clear();
    });
    assert_eq!(gap, [Violation::GapInLog { after: 2, next: 4 }]);
    let late = found(|room| {
        room.log.remove(0);
        room.sent.remove(0);
        room.readers.clear();
    });
    assert_eq!(late, [Violation::GapInLog { after: 0, next: 2 }]);
}

#[test]
fn a_gap_in_a_reader() {
    let gap = found(|room| drop(room.readers[0].steps.remove(1)));
    assert_eq!(gap, [Violation::GapForReader { reader: "bob".into(), position: 1, next: 3 }]);
    let early = found(|room| drop(room.readers[1].steps.pop()));
    assert_eq!(early, [Violation::ReaderEndsEarly { reader: "cyd".into(), position: 4, head: 5 }]);
}

#[test]
fn a_repeat_in_a_reader() {
    let repeat = found(|room| room.readers[1].steps.insert(2, Step::Entry(seen(4))));
    assert_eq!(repeat, [Violation::RepeatForReader { reader: "cyd".into(), position: 4, again: 4 }]);
}

#[test]
fn two_entries_that_changed_places_in_a_reader() {
    let swapped = found(|room| room.readers[0].steps.swap(2, 3));
    let reader = || String::from("bob");
    assert_eq!(
        swapped,
        [
            Violation::GapForReader { reader: reader(), position: 2, next: 4 },
            Violation::RepeatForReader { reader: reader(), position: 4, again: 3 },
        ]
    );
}

#[test]
fn two_contents_for_one_seq() {
    let other = Seen { content: "ann says something else".into(), ..seen(3) };
    let two = found(|room| room.readers[0].steps[2] = Step::Entry(other.clone()));
    let (log, shown) = (Some(seen(3).content), other.content);
    assert_eq!(two, [Violation::TwoContents { seq: 3, log, reader: "bob".into(), shown }]);
}

#[test]
fn an_entry_that_was_shown_and_is_not_in_the_log() {
    let taken_back = found(|room| room.readers[0].steps.push(Step::Entry(seen(6))));
    assert!(matches!(&taken_back[..], [Violation::TwoContents { seq: 6, log: None, .. }]), "{taken_back:?}");
}

#[test]
fn behind_names_what_was_dropped_exactly() {
    let behind = |after, head| {
        move |room: &mut History| drop(room.readers[0].steps.splice(1..4, [Step::Behind { after, head }]))
    };
    assert_eq!(found(behind(1, 4)), []);
    assert!(matches!(&found(behind(2, 4))[..], [Violation::GapForReader { position: 1, next: 3, .. }]));
    assert!(matches!(&found(behind(0, 4))[..], [Violation::RepeatForReader { position: 1, again: 1, .. }]));
    assert!(matches!(&found(behind(1, 3))[..], [Violation::GapForReader { position: 3, next: 5, .. }]));
    assert!(matches!(&found(behind(1, 5))[..], [Violation::RepeatForReader { position: 5, again: 5, .. }]));
}

#[test]
fn a_reset_without_another_log() {
    let reset = found(|room| room.readers[0].steps.push(Step::Reset { head: 5 }));
    assert_eq!(reset, [Violation::ResetForReader { reader: "bob".into(), position: 5, head: 5 }]);
}

#[test]
fn a_page_without_what_was_acknowledged_before() {
    let shown = |asked, head| found(|room| room.readers[0].shown.push(Shown { asked, head }));
    // The third is acknowledged at 35.
    assert_eq!(shown(at(35), 2), []);
    let early = Violation::PageEndsEarly { reader: "bob".into(), head: 2, acked: key(3), seq: 3 };
    assert_eq!(shown(at(36), 2), [early]);
    assert_eq!(shown(at(36), 4), [], "it may have more");
}

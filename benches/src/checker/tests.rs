//! The checker is only worth something if it finds planted faults: each kind is planted here.

use super::*;

/// A room of three members to which six messages were sent.
fn room() -> RoomChecker {
    let mut room = RoomChecker::new(0, 3, 3);
    for count in 0..6 {
        assert_eq!(room.on_sent(), count);
    }
    room
}

fn deliver(room: &mut RoomChecker, member: u32, counts: &[u32]) {
    for &count in counts {
        room.on_delivery(member, count);
    }
}

const ALL: [u32; 6] = [0, 1, 2, 3, 4, 5];

#[test]
fn a_good_run_finds_nothing_even_if_the_server_orders_the_senders_its_own_way() {
    let mut room = room();
    for member in 0..3 {
        assert!(!room.is_complete());
        deliver(&mut room, member, &[1, 0, 2, 4, 3, 5]);
    }
    assert!(room.is_complete());
    assert_eq!(room.findings(false).0, Findings::default());
}

#[test]
fn what_one_sender_said_is_found_swapped_also_if_it_is_so_for_everyone() {
    let mut room = RoomChecker::new(0, 3, 1);
    (0..6).for_each(|_| _ = room.on_sent());
    for member in 0..3 {
        deliver(&mut room, member, &[0, 2, 1, 3, 4, 5]);
    }
    assert_eq!(room.findings(false).0, Findings { reordered: 1, ..Findings::default() });
}

#[test]
fn planted_loss_is_found_in_the_middle_and_at_the_end() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1, 3, 4, 5]);
    deliver(&mut room, 2, &[0, 1, 2]);
    assert_eq!(room.findings(false).0, Findings { lost: 1, not_come: 3, ..Findings::default() });
    // Of who was cut off nothing is to come.
    room.on_cut(2);
    assert_eq!(room.findings(false).0, Findings { lost: 4, ..Findings::default() });
}

#[test]
fn planted_loss_at_every_member_is_found() {
    let mut room = room();
    for member in 0..3 {
        deliver(&mut room, member, &[0, 1, 2, 4, 5]);
    }
    // It was its sender's last one: it may be on its way.
    assert_eq!(room.findings(false).0, Findings { not_come: 3, ..Findings::default() });
    assert_eq!(room.lacking(), [0, 0, 0, 3, 0, 0]);
    assert!(!room.is_complete());
}

#[test]
fn planted_loss_at_the_first_reader_is_found() {
    let mut room = room();
    deliver(&mut room, 0, &[0, 1, 3, 4, 5]);
    deliver(&mut room, 1, &[0, 1, 3, 4, 5]);
    deliver(&mut room, 2, &[0, 1, 2, 3, 4, 5]);
    let found = room.findings(false).0;
    assert_eq!(found.lost + found.not_come, 2, "{found:?}");
    assert!(found.any());
}

#[test]
fn a_planted_double_is_found() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1, 1, 2, 3, 4, 5]);
    deliver(&mut room, 2, &[0, 1, 2, 3, 4, 5, 0]);
    assert_eq!(room.findings(false).0, Findings { doubled: 2, ..Findings::default() });
}

#[test]
fn a_double_does_not_hide_a_loss() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1, 1, 3, 4, 5]);
    deliver(&mut room, 2, &ALL);
    assert_eq!(room.findings(false).0, Findings { lost: 1, doubled: 1, ..Findings::default() });
}

#[test]
fn a_planted_swap_at_one_reader_is_found() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 2, 1, 3, 4, 5]);
    deliver(&mut room, 2, &ALL);
    assert_eq!(room.findings(false).0, Findings { reordered: 1, ..Findings::default() });
}

#[test]
fn one_senders_messages_swapped_for_everyone_are_found() {
    let mut room = room();
    for member in 0..3 {
        deliver(&mut room, member, &[3, 1, 2, 0, 4, 5]);
    }
    assert_eq!(room.findings(false).0, Findings { reordered: 1, ..Findings::default() });
}

#[test]
fn a_gap_and_a_repeat_in_the_servers_numbers_are_found() {
    let mut room = room();
    for seq in [41, 42, 43, 45, 45, 46] {
        room.on_seq(0, seq);
    }
    assert_eq!(room.findings(false).0.gaps, 2);
}

#[test]
fn a_refused_message_is_not_lost_and_what_nobody_sent_is_strange() {
    let mut room = room();
    room.on_refused(5, true);
    room.on_refused(5, true);
    for member in 0..3 {
        deliver(&mut room, member, &ALL[..5]);
    }
    assert!(room.is_complete());
    deliver(&mut room, 0, &[6]);
    deliver(&mut room, 7, &[0]);
    assert_eq!(room.findings(false).0, Findings { strange: 2, ..Findings::default() });
}

#[test]
fn who_is_gone_lacks_nothing_and_hides_no_loss_of_another() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1]);
    deliver(&mut room, 2, &ALL[..5]);
    room.on_gone(1);
    assert_eq!(room.findings(false).0, Findings { not_come: 1, ..Findings::default() });
    deliver(&mut room, 2, &[5]);
    assert!(room.is_complete() && room.has(2, 6) && !room.has(1, 6));
}

#[test]
fn what_a_later_message_of_the_sender_overtook_is_lost_for_everyone() {
    let mut room = room();
    for member in 0..3 {
        deliver(&mut room, member, &[0, 2, 3, 4, 5]);
    }
    assert_eq!(room.findings(false).0, Findings { lost: 3, ..Findings::default() });
}

#[test]
fn who_lacks_what_is_counted_by_message() {
    let mut room = room();
    deliver(&mut room, 0, &[0, 1, 2, 3]);
    deliver(&mut room, 1, &[0, 2]);
    room.on_refused(5, true);
    assert_eq!(room.lacking(), [1, 2, 1, 2, 3, 0]);
    let found = room.findings(false).0;
    assert_eq!(found.lost + found.not_come, 9);
    room.on_gone(2);
    assert_eq!(room.lacking(), [0, 1, 0, 1, 2, 0]);
}

#[test]
fn each_send_is_answered_once_and_by_the_number_that_readers_saw() {
    let mut room = room();
    for member in 0..3 {
        deliver(&mut room, member, &ALL);
        ALL.iter().for_each(|&count| room.on_number(member, count, u64::from(count) + 7));
    }
    assert!(room.is_complete() && !room.is_answered());
    assert_eq!(room.findings(true).0, Findings { unanswered: 6, ..Findings::default() });
    ALL.iter().for_each(|&count| room.on_ack(count, Some(u64::from(count) + 7)));
    assert!(room.is_answered());
    assert_eq!(room.findings(true), (Findings::default(), Vec::new()));
    // Planted: again, to nothing, and another number than readers saw.
    room.on_ack(3, Some(10));
    room.on_ack(6, None);
    assert_eq!(room.findings(true).0, Findings { unasked: 2, ..Findings::default() });
    let mut other = RoomChecker::new(4, 3, 3);
    (0..2).for_each(|_| _ = other.on_sent());
    other.on_ack(0, Some(9));
    other.on_number(1, 0, 9);
    other.on_number(2, 0, 1_009);
    let (found, faults) = other.findings(false);
    assert_eq!(found.misnumbered, 1);
    assert_eq!((faults[0].room, faults[0].member, faults[0].seq), (4, Some(2), Some(1_009)));
}

#[test]
fn what_was_refused_and_came_is_found_unless_it_was_not_said_for_good() {
    for (for_good, refused_kept) in [(true, 1), (false, 0)] {
        let mut room = room();
        room.on_refused(2, for_good);
        (0..3).for_each(|member| deliver(&mut room, member, &ALL));
        ALL.iter().filter(|&&count| count != 2).for_each(|&count| room.on_ack(count, None));
        assert_eq!(room.findings(true).0, Findings { refused_kept, ..Findings::default() });
    }
}

#[test]
fn the_first_faults_have_names_and_the_rest_are_counted() {
    let mut room = RoomChecker::new(7, 3, 3);
    (0..40).for_each(|_| _ = room.on_sent());
    (0..40).for_each(|count| room.on_altered(1, count));
    let (found, faults) = room.findings(false);
    assert_eq!((found.altered, faults.len()), (40, FAULTS_MAX));
    assert_eq!(faults[0].to_string(), "altered in room 7 (), member 1, message 0");
    assert_eq!(Findings { lost: 2, gaps: 1, ..Findings::default() }.to_string(), "2 lost, 1 gaps");
}

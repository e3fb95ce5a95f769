//! The checker is only worth something if it finds planted faults: each kind is planted here.

use super::*;

/// A room of three members to which six messages were sent.
fn room() -> RoomChecker {
    let mut room = RoomChecker::new(3, 3);
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
    assert_eq!(room.findings(), Findings::default());
}

#[test]
fn what_one_sender_said_is_found_swapped_also_if_it_is_so_for_everyone() {
    let mut room = RoomChecker::new(3, 1);
    (0..6).for_each(|_| _ = room.on_sent());
    for member in 0..3 {
        deliver(&mut room, member, &[0, 2, 1, 3, 4, 5]);
    }
    assert_eq!(room.findings(), Findings { reordered: 1, ..Findings::default() });
}

#[test]
fn planted_loss_is_found_in_the_middle_and_at_the_end() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1, 3, 4, 5]);
    deliver(&mut room, 2, &[0, 1, 2]);
    assert_eq!(room.findings(), Findings { lost: 4, ..Findings::default() });
}

#[test]
fn planted_loss_at_every_member_is_found() {
    let mut room = room();
    for member in 0..3 {
        deliver(&mut room, member, &[0, 1, 2, 4, 5]);
    }
    assert_eq!(room.findings(), Findings { lost: 3, ..Findings::default() });
    assert!(!room.is_complete());
}

#[test]
fn planted_loss_at_the_first_reader_is_found() {
    let mut room = room();
    deliver(&mut room, 0, &[0, 1, 3, 4, 5]);
    deliver(&mut room, 1, &[0, 1, 3, 4, 5]);
    deliver(&mut room, 2, &[0, 1, 2, 3, 4, 5]);
    let found = room.findings();
    assert_eq!(found.lost, 2, "{found:?}");
    assert!(found.any());
}

#[test]
fn a_planted_double_is_found() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1, 1, 2, 3, 4, 5]);
    deliver(&mut room, 2, &[0, 1, 2, 3, 4, 5, 0]);
    assert_eq!(room.findings(), Findings { doubled: 2, ..Findings::default() });
}

#[test]
fn a_double_does_not_hide_a_loss() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1, 1, 3, 4, 5]);
    deliver(&mut room, 2, &ALL);
    assert_eq!(room.findings(), Findings { lost: 1, doubled: 1, ..Findings::default() });
}

#[test]
fn a_planted_swap_at_one_reader_is_found() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 2, 1, 3, 4, 5]);
    deliver(&mut room, 2, &ALL);
    assert_eq!(room.findings(), Findings { reordered: 1, ..Findings::default() });
}

#[test]
fn one_senders_messages_swapped_for_everyone_are_found() {
    let mut room = room();
    for member in 0..3 {
        deliver(&mut room, member, &[3, 1, 2, 0, 4, 5]);
    }
    assert_eq!(room.findings(), Findings { reordered: 1, ..Findings::default() });
}

#[test]
fn a_gap_and_a_repeat_in_the_servers_numbers_are_found() {
    let mut room = room();
    for seq in [41, 42, 43, 45, 45, 46] {
        room.on_seq(0, seq);
    }
    assert_eq!(room.findings().gaps, 2);
}

#[test]
fn a_refused_message_is_not_lost_and_what_nobody_sent_is_strange() {
    let mut room = room();
    room.on_refused(5);
    room.on_refused(5);
    for member in 0..3 {
        deliver(&mut room, member, &ALL[..5]);
    }
    assert!(room.is_complete());
    deliver(&mut room, 0, &[6]);
    deliver(&mut room, 7, &[0]);
    assert_eq!(room.findings(), Findings { strange: 2, ..Findings::default() });
}

#[test]
fn who_is_gone_lacks_nothing_and_hides_no_loss_of_another() {
    let mut room = room();
    deliver(&mut room, 0, &ALL);
    deliver(&mut room, 1, &[0, 1]);
    deliver(&mut room, 2, &ALL[..5]);
    room.on_gone(1);
    assert_eq!(room.findings(), Findings { lost: 1, ..Findings::default() });
    deliver(&mut room, 2, &[5]);
    assert!(room.is_complete() && room.has(2, 6) && !room.has(1, 6));
}

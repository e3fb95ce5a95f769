//! Without any one of the rules a promise is broken, and the search finds how: what is expected here is the counterexample.

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::promise::{
    ACKED_IS_KEPT, HEADS_ARE_READABLE, NO_GAP, ONCE, ONE_ANSWER, ONE_ORDER, ONLY_MEMBERS_SPEAK,
    ONLY_OTHERS_ARE_REFUSED,
};
use crate::model::{Mistake, RoomLog, SegmentIsWritten};

/// Finds a story for each of these promises in which it is the first one broken.
fn breaks<const N: usize>(room: RoomLog, promises: [&'static str; N]) {
    let all = HasDiscoveries::AllOf(promises.into());
    let searched = room.checker().finish_when(all).spawn_bfs().join();
    println!("{} states until it was found: {room:?}", searched.unique_state_count());
    let mut stories = searched.discoveries();
    for promise in promises {
        let story = stories.remove(promise).map(|story| story.into_actions());
        let story = story.unwrap_or_else(|| panic!("no story in which this is broken: {promise}, {room:?}"));
        println!("broken: {promise}");
        story.iter().for_each(|step| println!("  {step:?}"));
    }
}

/// A mistake is one by both rules of when the segment is written.
fn breaks_by_both_rules<const N: usize>(mistake: Mistake, room: RoomLog, promises: [&'static str; N]) {
    for segment_is_written in [SegmentIsWritten::AtFirstTouch, SegmentIsWritten::WithFirstAppendUnlessInDoubt]
    {
        breaks(RoomLog { mistake: Some(mistake), segment_is_written, ..room }, promises);
    }
}

/// Two holders are enough for most.
fn two_holders() -> RoomLog {
    RoomLog { holders: 2, ..RoomLog::default() }
}

#[test]
fn without_a_fence_read_acked_entries_are_lost_and_the_log_forks() {
    let broken = [ACKED_IS_KEPT, ONE_ORDER, ONE_ANSWER, HEADS_ARE_READABLE];
    breaks_by_both_rules(Mistake::NoFenceRead, two_holders(), broken);
}

#[test]
fn a_fence_read_before_the_write_is_as_good_as_none() {
    let broken = [ACKED_IS_KEPT, ONE_ORDER, ONE_ANSWER, HEADS_ARE_READABLE];
    breaks_by_both_rules(Mistake::FenceReadBeforeTheWrite, two_holders(), broken);
}

/// It was fenced after it had read the log, and what it found in doubt has no place in the next holder's.
#[test]
fn what_was_found_needs_a_fence_read_as_well() {
    let broken = [ONE_ORDER, HEADS_ARE_READABLE];
    breaks_by_both_rules(Mistake::OpensWithoutFenceRead, RoomLog::default(), broken);
}

/// It takes a segment that comes late from between two others.
#[test]
fn without_the_prev_chain_a_late_segment_changes_what_was_committed() {
    let broken = [HEADS_ARE_READABLE, ACKED_IS_KEPT];
    breaks_by_both_rules(Mistake::NoPrevChain, RoomLog::default(), broken);
}

#[test]
fn with_shared_keys_a_late_row_overwrites_an_acked_one() {
    breaks_by_both_rules(Mistake::SharedKeys, two_holders(), [HEADS_ARE_READABLE, ACKED_IS_KEPT]);
}

#[test]
fn the_last_row_instead_of_the_longest_unbroken_prefix_leaves_a_gap() {
    let room = RoomLog { in_flight: 2, ..two_holders() };
    breaks_by_both_rules(Mistake::LastRowIsTheEnd, room, [NO_GAP]);
}

/// The holder has vouched for what only some reads see.
#[test]
fn without_the_write_back_what_was_vouched_for_is_gone_at_the_next_read() {
    let broken = [HEADS_ARE_READABLE, ACKED_IS_KEPT, NO_GAP];
    breaks_by_both_rules(Mistake::NoWriteBack, RoomLog::default(), broken);
}

/// It was killed between the two.
#[test]
fn a_segment_before_the_write_back_starts_above_a_gap() {
    breaks_by_both_rules(Mistake::WriteBackAfterSegment, RoomLog::default(), [NO_GAP]);
}

/// The story of decision 3: the same bounds as in `right::four_holders_keep_every_promise`.
#[test]
fn a_segment_that_is_always_deferred_lets_a_late_one_cut_off_what_was_vouched_for() {
    let segment_is_written = SegmentIsWritten::AlwaysWithFirstAppend;
    let room = RoomLog { segment_is_written, holders: 4, keys: 1, seqs: 1, ..RoomLog::default() };
    breaks(room, [ONE_ORDER, HEADS_ARE_READABLE]);
}

/// The rule of decision 3 rests on the mark. With one above what is committed the story is the one before.
#[test]
fn a_mark_above_what_is_committed_hides_what_is_in_doubt() {
    let mistake = Some(Mistake::MarkBeforeCommit);
    let room = RoomLog { mistake, holders: 4, keys: 1, seqs: 1, ..RoomLog::default() };
    breaks(room, [ONE_ORDER, HEADS_ARE_READABLE]);
}

#[test]
fn a_holder_that_does_not_load_the_keys_of_the_log_doubles_a_repeated_message() {
    breaks_by_both_rules(Mistake::KeysNotLoaded, two_holders(), [ONCE, ONE_ANSWER]);
}

#[test]
fn a_repeat_answered_before_its_first_is_durable_is_a_false_ack() {
    breaks_by_both_rules(Mistake::RepeatAnsweredEarly, two_holders(), [ACKED_IS_KEPT]);
}

#[test]
fn members_from_the_projection_alone_let_others_speak_and_refuse_members() {
    let room = RoomLog { keys: 1, seqs: 3, joins: true, ..two_holders() };
    let broken = [ONLY_MEMBERS_SPEAK, ONLY_OTHERS_ARE_REFUSED];
    breaks_by_both_rules(Mistake::MembersFromProjection, room, broken);
}

#[test]
fn a_refusal_before_the_leave_is_durable_refuses_a_member() {
    let room = RoomLog { keys: 1, seqs: 3, joins: true, ..two_holders() };
    breaks_by_both_rules(Mistake::RefusedEarly, room, [ONLY_OTHERS_ARE_REFUSED]);
}

#[test]
fn a_recovery_that_stops_at_the_end_of_a_bucket_forks_the_log() {
    let room = RoomLog { keys: 3, seqs: 3, bucket: 2, ..two_holders() };
    let broken = [ACKED_IS_KEPT, ONE_ORDER, ONE_ANSWER, HEADS_ARE_READABLE];
    breaks_by_both_rules(Mistake::RecoveryStopsAtBucket, room, broken);
}

//! By the rules, no promise is ever broken: each of these searches ends when it has seen every state.

use stateright::{Checker, Model};

use crate::model::{RoomLog, SegmentIsWritten};

fn holds(room: RoomLog) {
    let searched = room.checker().spawn_bfs().join();
    assert!(searched.is_done(), "{room:?}");
    println!("{} states, {} steps deep: {room:?}", searched.unique_state_count(), searched.max_depth());
    // That something is committed to the very end is one of them: a model in which nothing happens would not pass.
    searched.assert_properties();
}

fn holds_by_both_rules(room: RoomLog) {
    for segment_is_written in [SegmentIsWritten::AtFirstTouch, SegmentIsWritten::WithFirstAppendUnlessInDoubt]
    {
        holds(RoomLog { segment_is_written, ..room });
    }
}

#[test]
fn three_holders_keep_every_promise() {
    holds_by_both_rules(RoomLog::default());
}

/// As many as it takes to break a promise if the segment is always deferred, and the same bounds.
#[test]
fn four_holders_keep_every_promise() {
    holds_by_both_rules(RoomLog { holders: 4, keys: 1, seqs: 1, ..RoomLog::default() });
}

#[test]
fn four_holders_keep_every_promise_with_two_messages_and_a_segment_at_first_touch() {
    let segment_is_written = SegmentIsWritten::AtFirstTouch;
    holds(RoomLog { holders: 4, segment_is_written, ..RoomLog::default() });
}

/// Of a batch any entry may land first.
#[test]
fn batches_keep_every_promise() {
    holds_by_both_rules(RoomLog { holders: 2, keys: 3, seqs: 3, in_flight: 2, ..RoomLog::default() });
    let segment_is_written = SegmentIsWritten::AtFirstTouch;
    holds(RoomLog { in_flight: 2, segment_is_written, ..RoomLog::default() });
}

/// The end of the log is looked for bucket by bucket, while late writes land in between.
#[test]
fn a_log_of_several_buckets_keeps_every_promise() {
    holds_by_both_rules(RoomLog { keys: 3, seqs: 3, bucket: 2, ..RoomLog::default() });
}

#[test]
fn who_joins_and_leaves_speaks_as_a_member_only() {
    holds_by_both_rules(RoomLog { keys: 1, seqs: 3, joins: true, ..RoomLog::default() });
}

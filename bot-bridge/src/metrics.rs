//! Names of the metrics of a bridge.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Commands, by what their sender was told: confirmed, no_such_command, help, away, unavailable.
pub const COMMANDS: &str = "hubbub_bot_commands_total";
/// Commands that wait for the broker.
pub const WAITING: &str = "hubbub_bot_commands_waiting";
/// From a command's coming to the broker's confirmation.
pub const CONFIRM_SECONDS: &str = "hubbub_bot_confirm_seconds";
/// Answers, by what became of them: kept, announced, or why they were refused.
pub const ANSWERS: &str = "hubbub_bot_answers_total";
/// Tries to keep an answer that were not answered, and were made again.
pub const TRIED_AGAIN: &str = "hubbub_bot_answers_tried_again_total";

/// Describes them, once a process.
pub fn describe() {
    describe_counter!(COMMANDS, Unit::Count, "commands of members, by what their sender was told");
    describe_gauge!(WAITING, Unit::Count, "commands that wait for the broker");
    describe_histogram!(CONFIRM_SECONDS, Unit::Seconds, "from a command to the broker's confirmation");
    describe_counter!(ANSWERS, Unit::Count, "answers of bots, by what became of them");
    describe_counter!(TRIED_AGAIN, Unit::Count, "tries to keep a bot's answer that were made again");
    // There from the start: whoever scales bridges by the one takes none for a failure, and the first of the other is a change.
    gauge!(WAITING).increment(0.0);
    counter!(TRIED_AGAIN).increment(0);
}

//! What the admin API says, for eyes.

use std::fmt::Write;
use std::time::SystemTime;

use hubbub_core::entry::Retention;
use hubbub_core::ids::{Millis, Partition, Seq};
use hubbub_wire::admin::{Bans, Connections, Draining, Members, Node, Nodes, Room, Rooms};
use hubbub_wire::tier::agent::Condition;

/// Columns under their heads, as wide as they need to be.
fn table<const N: usize>(heads: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut widths = heads.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(heads.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(&row) {
            // To a string: it can't fail.
            _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What others wrote, in one line and without what a terminal would take for a command.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn ago(at: Millis) -> String {
    seconds(Millis::from(SystemTime::now()).0.saturating_sub(at.0) / 1_000)
}

fn bytes(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        _ => format!("{} KiB", bytes / 1024),
    }
}

/// Ascending numbers, those that follow each other as a range.
fn ranges(partitions: &[Partition]) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for Partition(number) in partitions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

fn state(node: &Node) -> String {
    match node.report.condition {
        _ if node.silent => format!("SILENT for {}", seconds(node.heard_ms_ago / 1_000)),
        Condition::Ready => "ready".into(),
        Condition::NotReady => "NOT READY".into(),
        Condition::Draining => "draining".into(),
        Condition::Left => "left".into(),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// Every process.
pub(super) fn nodes(all: &Nodes) -> String {
    let row = |node: &Node| {
        let report = &node.report;
        [
            report.role.as_str().into(),
            report.node.to_string(),
            plain(&report.host),
            plain(&report.address),
            plain(&report.version),
            ago(report.since),
            state(node),
            report.connections.map_or_else(|| "-".into(), |count| count.to_string()),
            or_dash(ranges(&node.partitions)),
        ]
    };
    let heads = ["TIER", "NODE", "HOST", "ADDRESS", "VERSION", "UP", "STATE", "CONNECTIONS", "PARTITIONS"];
    let mut text = table(heads, all.nodes.iter().map(row).collect());
    for node in &all.nodes {
        for trouble in &node.report.trouble {
            _ = writeln!(text, "{} {}: {}", node.report.role.as_str(), node.report.node, plain(trouble));
        }
    }
    for (partitions, what) in [
        (&all.free_partitions, "are held by nobody: their rooms take nothing until a room-worker takes them"),
        (
            &all.lost_partitions,
            "are held by a process that was not heard of for ten minutes: where room-workers live, they take them",
        ),
        (&all.unknown_partitions, "may be held or not: the leases can't be read; look at NATS"),
    ] {
        if !partitions.is_empty() {
            _ = writeln!(text, "partitions {} of {} {what}", ranges(partitions), all.partitions);
        }
    }
    text
}

/// Connections of clients, or the words for that there are none.
pub(super) fn connections(all: &Connections, none: &str) -> String {
    let row = |connection: &hubbub_wire::admin::Connection| {
        let held = &connection.held;
        [
            bytes(held.waiting_bytes),
            match (held.closed_seconds, held.behind_seconds) {
                (Some(ago), _) => format!("closed {} ago", seconds(ago.into())),
                (None, Some(behind)) => seconds(behind.into()),
                (None, None) => "-".into(),
            },
            held.user.as_ref().map_or_else(|| "(no hello yet)".into(), ToString::to_string),
            held.address.to_string(),
            held.kind.clone(),
            held.rooms.to_string(),
            seconds(held.open_seconds.into()),
            seconds(held.silent_seconds.into()),
            connection.node.to_string(),
        ]
    };
    let heads = ["WAITING", "BEHIND", "USER", "ADDRESS", "KIND", "ROOMS", "OPEN", "SILENT", "GATEWAY"];
    let mut text = match all.connections.is_empty() {
        true => format!("{none}\n"),
        false => table(heads, all.connections.iter().map(row).collect()),
    };
    if all.more {
        text.push_str("there are more: --limit shows up to 1000\n");
    }
    for node in &all.unanswered {
        _ = writeln!(text, "gateway {node} did not answer: its connections are not in this list");
    }
    text
}

/// A page of the directory.
pub(super) fn rooms(page: &Rooms) -> String {
    let row = |room: &hubbub_wire::admin::Listed| {
        [
            room.id.to_string(),
            plain(&room.name),
            room.members.to_string(),
            room.partition.to_string(),
            room.owner.to_string(),
            ago(room.created_at),
        ]
    };
    let heads = ["ROOM", "NAME", "MEMBERS", "PARTITION", "OWNER", "AGE"];
    let mut text = match page.rooms.is_empty() {
        true => "there are no rooms here\n".into(),
        false => table(heads, page.rooms.iter().map(row).collect()),
    };
    if let Some(next) = &page.next {
        _ = writeln!(text, "there are more: --cursor {next}");
    }
    text
}

/// How long a room's entries are kept.
pub(super) fn keeps(Retention { entries, days }: Retention) -> String {
    match (entries, days) {
        (None, None) => "all of its entries".into(),
        (Some(entries), None) => format!("its newest {entries} entries"),
        (None, Some(days)) => format!("its entries for {days} days"),
        (Some(entries), Some(days)) => {
            format!("its entries for {days} days, and no more than the newest {entries}")
        }
    }
}

/// A room, and those of its members who were asked for.
pub(super) fn room(room: &Room, members: Option<&Members>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| _ = writeln!(text, "{name:10} {what}");
    line("room", room.id.as_str());
    if let Some(held) = &room.held {
        line("name", &plain(&held.name));
        line("topic", &or_dash(plain(&held.topic)));
        line("owner", held.owner.as_str());
    }
    line("partition", &room.partition.to_string());
    let holder = match &room.holder {
        None => "none that is known".into(),
        Some(holder) => match &holder.as_node {
            None => format!("{}, which was not heard of for ten minutes", holder.node),
            Some(node) => {
                let report = &node.report;
                let (host, address) = (plain(&report.host), plain(&report.address));
                format!("{} {} on {host}, {address}: {}", report.role.as_str(), holder.node, state(node))
            }
        },
    };
    line("holder", &holder);
    if let Some(held) = &room.held {
        line("epoch", &held.epoch.to_string());
        line("head", &held.head.to_string());
        line("log", &format!("{:032x}", held.log.0));
        line("members", &held.members.to_string());
        line("keeps", &keeps(held.kept.retention));
        if held.kept.first > Seq(0) {
            line("begins at", &held.kept.first.to_string());
        }
    }
    if let Some(trouble) = &room.trouble {
        line("TROUBLE", trouble);
    }
    if let Some(members) = members.filter(|members| !members.members.is_empty()) {
        let row = |member: &hubbub_wire::admin::Member| {
            let online = if member.online { "yes" } else { "no" };
            [member.id.to_string(), plain(&member.name), online.into()]
        };
        text.push('\n');
        text.push_str(&table(["MEMBER", "NAME", "ONLINE"], members.members.iter().map(row).collect()));
        if let Some(next) = &members.next {
            _ = writeln!(text, "there are more: --after {next}");
        }
    }
    text
}

/// All who are banned.
pub(super) fn bans(all: &Bans) -> String {
    let row = |ban: &hubbub_wire::admin::Ban| {
        [ban.user.to_string(), ago(ban.at), plain(&ban.by), or_dash(plain(&ban.reason))]
    };
    match all.bans.is_empty() {
        true => "nobody is banned\n".into(),
        false => table(["USER", "FOR", "BY", "REASON"], all.bans.iter().map(row).collect()),
    }
}

/// A process that was told to drain.
pub(super) fn draining(told: &Draining) -> String {
    let report = &told.node.report;
    format!(
        "{} {} on {} drains; it is gone when `hubbub admin nodes` does not list it any more\n",
        report.role.as_str(),
        report.node,
        plain(&report.host)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_follow_each_other_are_a_range() {
        let shown = |numbers: &[u16]| ranges(&numbers.iter().copied().map(Partition).collect::<Vec<_>>());
        assert_eq!(shown(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn what_others_wrote_can_not_command_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}"), "a [2Jb c ");
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = vec![["1".into(), "\u{e4}\u{e4}\u{e4}".into()], ["22222".into(), String::new()]];
        assert_eq!(table(["A", "B"], rows), "A      B\n1      \u{e4}\u{e4}\u{e4}\n22222\n");
    }
}

//! Subjects of the port as subjects of NATS. What is in one was checked before: an id has no `.`, `*` or `>`.

use hubbub_core::ports::bus::Subject;

/// Names the subjects of one cluster: two clusters with different prefixes don't meet.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    pub(super) prefix: String,
}

impl Subjects {
    /// The subject in NATS.
    pub(super) fn name(&self, subject: &Subject) -> String {
        let prefix = &self.prefix;
        match subject {
            Subject::Act(partition) => format!("{prefix}.act.{partition}"),
            Subject::Heads(partition) => format!("{prefix}.heads.{partition}"),
            Subject::Events(partition, room) => format!("{prefix}.evt.{partition}.{room}"),
            Subject::Ephemera(partition, room) => format!("{prefix}.eph.{partition}.{room}"),
            Subject::Directory => format!("{prefix}.dir"),
            Subject::Memberships => format!("{prefix}.mem"),
            Subject::Query => format!("{prefix}.qry"),
            Subject::Bots => format!("{prefix}.bot"),
            Subject::Announcements => format!("{prefix}.ann"),
            Subject::Nodes => format!("{prefix}.nodes"),
            Subject::Presence => format!("{prefix}.pres"),
            Subject::Control => format!("{prefix}.ctl"),
            Subject::Node(node) => format!("{prefix}.node.{node}"),
            Subject::Reports => format!("{prefix}.rep"),
            Subject::Agent(node) => format!("{prefix}.agent.{node}"),
        }
    }
}

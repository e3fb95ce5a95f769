//! Reads a room back from the store, and compares it with the files.

use std::collections::BTreeSet;

use hubbub_core::ids::{Millis, Seq, UserId};
use hubbub_core::ports::store::Store;

use super::report::Report;
use super::sorted::Sorted;
use super::survey::{Messages, Survey};
use super::walk::Walk;

/// Members of one page.
const MEMBERS_MAX: usize = 1_000;

/// Compares a room, and goes past its messages.
///
/// # Errors
/// When the store or the scratch file fails.
pub(super) async fn check(
    store: &dyn Store,
    survey: &Survey,
    sorted: &mut Sorted,
    report: &mut Report,
) -> anyhow::Result<()> {
    let id = &survey.room.id;
    let mut messages = Messages::new(id);
    let mut walk = Walk::default();
    match store.room(id.clone()).await? {
        None => report.differs(&format_args!("room {id} is not in the store")),
        // Not all of it is there to be compared, and that was wanted.
        Some(row) if row.kept.0.first > Seq(0) => {
            while messages.next(sorted)?.is_some() {
                report.advance(|| sorted.read_of());
            }
        }
        Some(row) => {
            walk = Walk::through(store, row.mark, survey, &mut messages, sorted, report).await?;
            let facts = &row.facts;
            let is_same = [
                ("name", facts.name == survey.room.name),
                ("topic", facts.topic == survey.room.topic || walk.used),
                ("owner", facts.owner == survey.room.owner),
                ("time", row.created_at == Millis(survey.made_at)),
            ];
            for (what, _) in is_same.iter().filter(|(_, is_same)| !is_same) {
                report.differs(&format_args!("room {id} has another {what}"));
            }
            check_members(store, survey, row.member_count, walk.used, report).await?;
            if walk.used {
                report.differs(&format_args!(
                    "room {id} was used since an earlier import: its topic and members are as they were left there"
                ));
            }
        }
    }
    let mut missing = walk.passed.len() as u64;
    while messages.next(sorted)?.is_some() {
        report.advance(|| sorted.read_of());
        missing += 1;
    }
    if missing > 0 {
        report.differs(&format_args!("room {id} lacks {missing} of {} messages", survey.messages));
    }
    walk.wrong.iter().for_each(|wrong| report.differs(&format_args!("room {id}: {wrong}")));
    report.differences += walk.wrong_count - walk.wrong.len() as u64;
    Ok(())
}

/// Whoever came and went since the server was used is none of ours.
async fn check_members(
    store: &dyn Store,
    survey: &Survey,
    count: u64,
    used: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut members = BTreeSet::new();
    loop {
        let after: Option<UserId> = members.last().cloned();
        let page = store.members(survey.room.id.clone(), after, MEMBERS_MAX).await?;
        let is_last = page.len() < MEMBERS_MAX;
        members.extend(page.into_iter().map(|row| row.user.id));
        if is_last {
            break;
        }
    }
    let expected: BTreeSet<UserId> = survey.members().into_iter().cloned().collect();
    if count != members.len() as u64 || !used && expected != members {
        let (is, should) = (members.len(), expected.len());
        let id = &survey.room.id;
        report.differs(&format_args!(
            "room {id} has other members: {is}, counted as {count}; the file has {should}"
        ));
    }
    Ok(())
}

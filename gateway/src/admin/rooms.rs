//! Rooms: which there are, who holds one and who is in it; removing a member, erasing what one said, and how long a log is kept.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use hubbub_core::code::Code;
use hubbub_core::entry::Retention;
use hubbub_core::ids::{User, UserId};
use hubbub_core::limits::{REPEAT_WINDOW, RETENTION_DAYS_MAX, RETENTION_ENTRIES_MAX};
use hubbub_core::room::{Answer, Verb};
use hubbub_node::build_info;
use hubbub_wire::admin::{
    Erase, Holder, Kicked, Listed, Member, Members, Retain, Retained, Room, RoomHeld, Rooms, Trim, Trimmed,
};
use hubbub_wire::tier::act::Erased;
use serde::Deserialize;

use super::guard::On;
use super::nodes::node;
use super::{Admin, refusal};
use crate::error::Failure;
use crate::http::body::Small;
use crate::http::fault::Fault;
use crate::http::params::{InRoom, InRoomUser, ListParams, Params, limit};

/// Most rooms or members of one page.
const PAGE_MAX: u32 = 200;

/// A page of the directory.
pub(super) async fn list(
    State(admin): State<Admin>,
    Params(ListParams { cursor, limit: given }): Params<ListParams>,
) -> Result<Json<Rooms>, Fault> {
    let asker = &admin.gateway.asker;
    let (rooms, next) = asker.directory(cursor, limit(given, 50, PAGE_MAX)?).await?;
    let shown = rooms.into_iter().map(|room| Listed {
        partition: asker.partition(&room.id),
        id: room.id,
        name: room.facts.name.as_ref().into(),
        topic: room.facts.topic.as_ref().into(),
        owner: room.facts.owner,
        members: room.members,
        created_at: room.created_at,
    });
    Ok(Json(Rooms { rooms: shown.collect(), next }))
}

/// A room, as its holder vouches for it. One whose holder does not answer is shown without that, for then it is asked who that is.
pub(super) async fn show(State(admin): State<Admin>, InRoom(room): InRoom) -> Result<Json<Room>, Fault> {
    let partition = admin.gateway.asker.partition(&room);
    let leased = admin.ports.leases.read(partition);
    let (lease, held) = tokio::join!(leased, admin.gateway.asker.sync(&room, 0, Vec::new()));
    let mut trouble = Vec::new();
    let held = match held {
        Ok((synced, _)) => Some(RoomHeld {
            name: synced.info.facts.name.as_ref().into(),
            topic: synced.info.facts.topic.as_ref().into(),
            owner: synced.info.facts.owner,
            head: synced.info.head,
            members: synced.info.members,
            log: synced.log,
            epoch: synced.epoch,
            kept: synced.info.kept,
        }),
        Err(Failure::Unavailable) => {
            trouble.push("the holder of the room's partition does not answer".to_owned());
            None
        }
        Err(failure) => return Err(failure.into()),
    };
    let holder = match lease {
        Ok(lease) => lease.and_then(|lease| lease.holder),
        Err(error) => {
            trouble.push(format!("who holds it can't be looked up: {error}"));
            None
        }
    };
    let holder = holder.map(|id| {
        let mut all = admin.ports.reported.all().into_iter();
        Holder { as_node: all.find(|seen| seen.report.node == id).map(node), node: id }
    });
    let trouble = (!trouble.is_empty()).then(|| trouble.join("; "));
    Ok(Json(Room { id: room, partition, holder, held, trouble }))
}

/// A page of a room's members.
#[derive(Deserialize)]
pub(super) struct MemberParams {
    /// After this user.
    after: Option<UserId>,
    /// At most so many.
    limit: Option<u32>,
}

/// Members of a room, by ascending id.
pub(super) async fn members(
    State(admin): State<Admin>,
    InRoom(room): InRoom,
    Params(MemberParams { after, limit: given }): Params<MemberParams>,
) -> Result<Json<Members>, Fault> {
    let gateway = &admin.gateway;
    let (members, next) = gateway.asker.members(room, after, limit(given, 50, PAGE_MAX)?).await?;
    let shown = members.into_iter().map(|member| Member {
        online: gateway.is_online(&member.id),
        id: member.id,
        name: member.name.as_ref().into(),
    });
    Ok(Json(Members { members: shown.collect(), next }))
}

/// Refuses to write what a process of another version may not know, while there is one among those that run.
fn all_of_one_version(admin: &Admin, what: &str) -> Result<(), Fault> {
    let own = build_info::version_and_commit();
    let all = admin.ports.reported.all();
    let Some(other) = all.into_iter().find(|seen| !seen.is_silent() && seen.report.version != own) else {
        return Ok(());
    };
    let (node, version) = (other.report.node, other.report.version);
    let message = format!(
        "{node} is of version {version}, and this gateway of {own}: {what} when all are of one version"
    );
    Err(refusal(Code::Conflict, None, message))
}

/// Erases what a user said, in a part of a room's log.
pub(super) async fn erase(
    State(admin): State<Admin>,
    InRoom(room): InRoom,
    Small(Erase { user, from }): Small<Erase>,
) -> Result<Response, Fault> {
    all_of_one_version(&admin, "messages are erased")?;
    let by = User::operator();
    let asker = &admin.gateway.asker;
    let Erased { count, next, seq } = asker.erase(room.clone(), by, user.clone(), from).await?;
    let answer = Json(hubbub_wire::admin::Erased { erased: count, next, seq });
    Ok((Extension(On(format!("{user} in {room}"))), answer).into_response())
}

/// Says how long a room's entries are kept.
pub(super) async fn retain(
    State(admin): State<Admin>,
    InRoom(room): InRoom,
    Small(Retain { entries, days }): Small<Retain>,
) -> Result<Response, Fault> {
    let retention = Retention { entries, days };
    let (entries, days) = (REPEAT_WINDOW..=RETENTION_ENTRIES_MAX, 1..=RETENTION_DAYS_MAX);
    if retention.entries.is_some_and(|said| !entries.contains(&said)) {
        let message = format!("entries must be {} to {}", entries.start(), entries.end());
        return Err(refusal(Code::BadRequest, Some("entries"), message));
    }
    if retention.days.is_some_and(|said| !days.contains(&said)) {
        let message = format!("days must be {} to {}", days.start(), days.end());
        return Err(refusal(Code::BadRequest, Some("days"), message));
    }
    all_of_one_version(&admin, "how long entries are kept is said")?;
    let bound = |said: Option<u64>| said.map_or_else(|| "all".into(), |said| said.to_string());
    let (entries, days) = (bound(retention.entries), bound(retention.days.map(u64::from)));
    let on = On(format!("{room} entries={entries} days={days}"));
    match admin.gateway.asker.act(room, User::operator(), Verb::Retain { retention }, None).await? {
        Answer::Kept { seq, .. } => Ok((Extension(on), Json(Retained { seq })).into_response()),
        Answer::Made(_) | Answer::Refused(_) => Err(Failure::Unavailable.into()),
    }
}

/// Lets go of a part of what a room does not keep.
pub(super) async fn trim(
    State(admin): State<Admin>,
    InRoom(room): InRoom,
    Small(Trim { fully }): Small<Trim>,
) -> Result<Json<Trimmed>, Fault> {
    let told = admin.gateway.asker.trim(room, User::operator(), fully).await?;
    Ok(Json(Trimmed { first: told.first, gone: told.gone, more: told.more }))
}

/// Removes a member, in the name of nobody in the room.
pub(super) async fn kick(
    State(admin): State<Admin>,
    InRoomUser(room, member): InRoomUser,
) -> Result<Json<Kicked>, Fault> {
    match admin.gateway.asker.act(room, User::operator(), Verb::Expel { member }, None).await? {
        Answer::Kept { seq, .. } => Ok(Json(Kicked { seq })),
        Answer::Made(_) | Answer::Refused(_) => Err(Failure::Unavailable.into()),
    }
}

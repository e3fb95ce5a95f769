//! Rooms: which there are, who holds one and who is in it; and removing a member.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hubbub_core::ids::{User, UserId};
use hubbub_core::room::{Answer, Verb};
use hubbub_wire::admin::{Holder, Kicked, Listed, Member, Members, Room, RoomHeld, Rooms};
use serde::Deserialize;

use super::Admin;
use super::nodes::node;
use crate::error::Failure;
use crate::http::fault::{Fault, no_such_room};
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
    let mut trouble = None;
    let held = match held {
        Ok((synced, _)) => Some(RoomHeld {
            name: synced.info.facts.name.as_ref().into(),
            topic: synced.info.facts.topic.as_ref().into(),
            owner: synced.info.facts.owner,
            head: synced.info.head,
            members: synced.info.members,
            log: synced.log,
            epoch: synced.epoch,
        }),
        Err(Failure::Unavailable) => {
            trouble = Some("the holder of the room's partition does not answer".to_owned());
            None
        }
        Err(failure) => return Err(failure.into()),
    };
    let holder = match lease {
        Ok(lease) => lease.and_then(|lease| lease.holder),
        Err(error) => {
            trouble.get_or_insert_with(|| error.to_string());
            None
        }
    };
    let holder = holder.map(|id| {
        let mut all = admin.ports.reported.all().into_iter();
        Holder { as_node: all.find(|seen| seen.report.node == id).map(node), node: id }
    });
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

/// Removes a member, in the name of nobody in the room.
pub(super) async fn kick(
    State(admin): State<Admin>,
    InRoomUser(room, member): InRoomUser,
) -> Result<Json<Kicked>, Fault> {
    // What members are shown: that it was an operator, and not which.
    let id = UserId::parse("admin").map_err(|_| no_such_room())?;
    let operator = User { id, name: Arc::from("Admin") };
    match admin.gateway.asker.act(room, operator, Verb::Expel { member }, None).await? {
        Answer::Kept { seq, .. } => Ok(Json(Kicked { seq })),
        Answer::Made(_) | Answer::Refused(_) => Err(Failure::Unavailable.into()),
    }
}

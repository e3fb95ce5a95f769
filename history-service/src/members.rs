//! Who is a member of a room, and of which rooms a user is one.

use hubbub_core::ids::{RoomId, UserId};
use hubbub_core::ports::store::Store;
use hubbub_wire::tier::query::{Found, Joined, Member};

use crate::error::Failure;

/// Most members of a page: with the longest names it fits the bus.
const MEMBERS_MAX: u32 = 1_000;
/// Rooms of a user that are read at a time.
const ROOMS_A_READ: usize = 1_000;
/// Most rooms of a user that fit one answer.
const ROOMS_OF_MAX: usize = 8_000;

/// A page of a room's members.
pub(crate) async fn of_room(
    store: &dyn Store,
    room: RoomId,
    after: Option<UserId>,
    limit: u32,
) -> Result<Found, Failure> {
    let limit = limit.clamp(1, MEMBERS_MAX) as usize;
    let mut rows = store.members(room.clone(), after, limit + 1).await?;
    if rows.is_empty() && store.room(room).await?.is_none() {
        return Err(Failure::NoSuchRoom);
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| last.user.id.clone());
    let members = rows.into_iter().map(|row| Member { id: row.user.id, name: row.user.name }).collect();
    Ok(Found::Members { members, next })
}

/// All rooms of a user. Not shared between askers: one whose join was acknowledged finds the room here.
pub(crate) async fn rooms_of(store: &dyn Store, user: UserId) -> Result<Found, Failure> {
    let mut rooms: Vec<Joined> = Vec::new();
    loop {
        let after = rooms.last().map(|last| last.room.clone());
        let page = store.rooms_of(user.clone(), after, ROOMS_A_READ).await?;
        let ends = page.len() < ROOMS_A_READ;
        rooms.extend(page.into_iter().map(|row| Joined { room: row.room, seq: row.joined }));
        if rooms.len() > ROOMS_OF_MAX {
            tracing::error!(%user, max = ROOMS_OF_MAX, "a user is in more rooms than one answer can name");
            rooms.truncate(ROOMS_OF_MAX);
            return Ok(Found::RoomsOf { rooms });
        }
        if ends {
            return Ok(Found::RoomsOf { rooms });
        }
    }
}

/// A page of the rooms that a user is or was a member of.
pub(crate) async fn rooms_ever_of(
    store: &dyn Store,
    user: UserId,
    after: Option<RoomId>,
    limit: u32,
) -> Result<Found, Failure> {
    let limit = (limit.max(1) as usize).min(ROOMS_A_READ);
    let mut rooms = store.rooms_ever_of(user, after, limit + 1).await?;
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| more).cloned();
    Ok(Found::RoomsEverOf { rooms, next })
}

//! Members, rooms of a user, the directory.

use hubbub_core::entry::RoomFacts;
use hubbub_core::ids::{Millis, Seq};
use hubbub_core::ports::store::{MemberChange, Projection};
use hubbub_wire::tier::query::{Found, Query};

use crate::world::*;

async fn made(world: &World, name: &str, at: u64, members: &[&str]) {
    let facts = RoomFacts { name: name.into(), topic: "t".into(), owner: user("ann").id };
    let changes = members.iter().zip(1..);
    let projection = Projection {
        room: room(name),
        facts: Some(facts),
        created_at: Some(Millis(at)),
        members: changes
            .map(|(name, seq)| MemberChange { user: user(name), seq: Seq(seq), member: true })
            .collect(),
        member_count: members.len() as u64,
        mark: Seq(members.len() as u64),
        mark_at: Millis(at),
        erased: None,
        kept: None,
    };
    world.store.project(projection).await.unwrap();
}

#[tokio::test]
async fn members_come_in_pages_that_join() {
    let world = World::new().await;
    let names: Vec<_> = (10..35).map(|n| format!("user-{n}")).collect();
    made(&world, "lobby", 1, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let query = Query::Members { room: room("lobby"), after: after.clone(), limit: 7 };
        let Some((Found::Members { members, next }, _)) = world.ask(&query).await else {
            panic!("no members")
        };
        assert!(members.len() <= 7);
        found.extend(members.into_iter().map(|member| member.id.to_string()));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, names);
    let query = Query::Members { room: room("nobody-made-it"), after: None, limit: 7 };
    assert!(matches!(world.ask(&query).await, Some((Found::NoSuchRoom, _))));
}

#[tokio::test]
async fn all_rooms_of_a_user_are_named() {
    let world = World::new().await;
    for n in 0..1_050 {
        made(&world, &format!("room-{n:04}"), n, &["ann"]).await;
    }
    let Some((Found::RoomsOf { rooms }, _)) = world.ask(&Query::RoomsOf { user: user("ann").id }).await
    else {
        panic!("no rooms");
    };
    assert_eq!(rooms.len(), 1_050);
    assert!(rooms.is_sorted_by_key(|joined| joined.room.clone()));
}

#[tokio::test]
async fn the_directory_goes_on_where_its_cursor_says() {
    let world = World::new().await;
    for n in 0..25 {
        made(&world, &format!("room-{n:02}"), n / 2, &["ann"]).await;
    }
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let query = Query::Directory { cursor, limit: 4 };
        let Some((Found::Directory { rooms, next }, _)) = world.ask(&query).await else { panic!("no rooms") };
        found.extend(rooms.into_iter().map(|listed| (listed.created_at, listed.id)));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 25);
    assert!(found.is_sorted_by(|a, b| a.0 >= b.0), "the newest first");
    found.sort_by_key(|(_, room)| room.clone());
    found.dedup();
    assert_eq!(found.len(), 25, "each once");
    // The last is of the year 292,278,994.
    for bad in ["not one of ours", "AYAAAAAAAAAAYQ"] {
        let bad = Query::Directory { cursor: Some(bad.into()), limit: 4 };
        assert!(matches!(world.ask(&bad).await, Some((Found::BadCursor, _))));
    }
}

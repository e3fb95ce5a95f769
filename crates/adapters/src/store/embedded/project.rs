//! Bringing projections up to the log. Each cell is ordered by the seq that it comes from, so that a late or repeated
//! projection changes nothing newer.

use hubbub_core::ports::store::{MemberChange, Projection, Stored};
use rusqlite::Connection;

use super::failure::{failed, to_sql};
use super::lists::{KeptRoom, departed_sum, forgot_sum, kept_room, last_word, member_sum, room_columns};
use super::retention::put_kept;

/// Carries a projection out.
pub(super) fn project(db: &Connection, projection: &Projection) -> Stored<()> {
    let before = kept_room(db, &projection.room)?;
    let after = merged(before.as_ref(), projection)?;
    if before.as_ref() != Some(&after) {
        put_room(db, &after)?;
    }
    for change in &projection.members {
        put_member(db, projection, change)?;
    }
    if let Some(erased) = projection.erased {
        put_forgot(db, projection.room.as_str(), to_sql(erased.0)?)?;
    }
    match &projection.kept {
        Some((kept, said)) => put_kept(db, projection.room.as_str(), kept, *said),
        None => Ok(()),
    }
}

fn put_forgot(db: &Connection, room: &str, erased: i64) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO forgot (room, erased, sum) VALUES (?, ?, ?) ON CONFLICT (room) DO UPDATE SET \
         erased = excluded.erased, sum = excluded.sum WHERE excluded.erased > erased",
    )
    .and_then(|mut put| put.execute((room, erased, forgot_sum(room, erased).done())))
    .map_err(failed)?;
    Ok(())
}

fn merged(before: Option<&KeptRoom>, projection: &Projection) -> Stored<KeptRoom> {
    let mark = to_sql(projection.mark.0)?;
    let mut room = before.cloned().unwrap_or_else(|| KeptRoom {
        room: projection.room.as_str().to_owned(),
        name: None,
        topic: None,
        owner: None,
        facts_seq: 0,
        created_at: None,
        member_count: 0,
        mark: -1,
        mark_at: 0,
    });
    if let Some(facts) = &projection.facts
        && (mark > room.facts_seq || room.name.is_none())
    {
        room.name = Some((*facts.name).to_owned());
        room.topic = Some((*facts.topic).to_owned());
        room.owner = Some(facts.owner.as_str().to_owned());
        room.facts_seq = mark;
    }
    if let (None, Some(created_at)) = (room.created_at, projection.created_at) {
        room.created_at = Some(to_sql(created_at.0)?);
    }
    if mark > room.mark {
        room.mark = mark;
        room.mark_at = to_sql(projection.mark_at.0)?;
        room.member_count = to_sql(projection.member_count)?;
    }
    Ok(room)
}

fn put_room(db: &Connection, room: &KeptRoom) -> Stored<()> {
    const PUT: &str = concat!(
        "INSERT INTO room (",
        room_columns!(),
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (room) DO UPDATE SET name = excluded.name,",
        " topic = excluded.topic, owner = excluded.owner, facts_seq = excluded.facts_seq,",
        " created_at = excluded.created_at, member_count = excluded.member_count, mark = excluded.mark,",
        " mark_at = excluded.mark_at, sum = excluded.sum"
    );
    db.prepare_cached(PUT)
        .and_then(|mut put| {
            put.execute((
                &room.room,
                &room.name,
                &room.topic,
                &room.owner,
                room.facts_seq,
                room.created_at,
                room.member_count,
                room.mark,
                room.mark_at,
                room.sum().done(),
            ))
        })
        .map_err(failed)?;
    Ok(())
}

fn put_member(db: &Connection, projection: &Projection, change: &MemberChange) -> Stored<()> {
    let seq = to_sql(change.seq.0)?;
    if seq <= last_word(db, &projection.room, &change.user.id)? {
        return Ok(());
    }
    let (room, user, name) = (projection.room.as_str(), change.user.id.as_str(), &*change.user.name);
    let (go, come, sum) = match change.member {
        true => {
            let put = "INSERT OR REPLACE INTO member (room, user, joined, sum, name) VALUES (?, ?, ?, ?, ?)";
            let sum = member_sum(room, user, name, seq).done();
            ("DELETE FROM departed WHERE room = ? AND user = ?", put, sum)
        }
        false => {
            let put = "INSERT OR REPLACE INTO departed (room, user, seq, sum) VALUES (?, ?, ?, ?)";
            let sum = departed_sum(room, user, seq).done();
            ("DELETE FROM member WHERE room = ? AND user = ?", put, sum)
        }
    };
    db.prepare_cached(go).and_then(|mut go| go.execute((room, user))).map_err(failed)?;
    let mut come = db.prepare_cached(come).map_err(failed)?;
    match change.member {
        true => come.execute((room, user, seq, sum, name)),
        false => come.execute((room, user, seq, sum)),
    }
    .map_err(failed)?;
    Ok(())
}

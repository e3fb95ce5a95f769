//! `hubbub admin retention`: how long a room's entries are kept. What is said is carried out at once, in parts, and from then on by the room-workers.

use std::io::IsTerminal;

use clap::ArgMatches;
use http::Method;
use hubbub_core::entry::Retention;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_wire::admin::{Retained, Room, RoomHeld, Trim, Trimmed};
use serde_json::{Value, json};

use super::call::{Api, Failed, understood};
use super::cli::{Shown, id};
use super::patience::patiently;
use super::tables::keeps;
use crate::process::hint;

/// Shows what is said of a room, or says what the command line says and carries it out.
pub(super) async fn retention(api: &Api, of: &ArgMatches) -> Result<Shown, Failed> {
    let room = id::<RoomId>(of, "room");
    let said = Retention { entries: of.get_one("entries").copied(), days: of.get_one("days").copied() };
    if said.is_all() && !of.get_flag("keep-all") {
        return show(api, &room).await;
    }
    let (RoomHeld { kept: before, .. }, _) = held(api, &room).await?;
    let path = format!("/rooms/{room}/retention");
    let say = async || api.call(Method::PUT, &path, Some(json!(said))).await;
    let (Retained { seq }, _) = understood(patiently(say).await?)?;
    trim(api, &room, before.first).await.map_err(|failed| {
        failed.and("\nit is said, but not all that may go is gone: run it again, or leave it to the room-workers' next sweep")
    })?;
    // What was carried out is what counts by now.
    let (RoomHeld { kept, .. }, _) = held(api, &room).await?;
    if kept.retention != said {
        return Err(Failed::Refused(format!(
            "somebody else said another word meanwhile, and that counts: {room} keeps {}",
            keeps(kept.retention)
        )));
    }
    let mut text = format!("{room} keeps {}\n", keeps(said));
    if kept.first > Seq(0) {
        text.push_str(&format!(
            "its log begins at entry {}; what was before is served to nobody. When it is gone from disks and backups: see \"Retention\" in docs/operations.md\n",
            kept.first
        ));
    }
    let answer: Value = json!({ "room": room, "seq": seq, "retention": said, "first": kept.first });
    Ok((text, answer))
}

async fn show(api: &Api, room: &RoomId) -> Result<Shown, Failed> {
    let (held, answer) = held(api, room).await?;
    let mut text = format!("{room} keeps {}\n", keeps(held.kept.retention));
    if held.kept.first > Seq(0) {
        text.push_str(&format!("its log begins at entry {}\n", held.kept.first));
    }
    Ok((text, answer))
}

/// The room as its holder has it.
async fn held(api: &Api, room: &RoomId) -> Result<(RoomHeld, Value), Failed> {
    let (shown, answer) = api.get::<Room>(&format!("/rooms/{room}")).await?;
    let nobody = || "the room's holder does not answer".into();
    match shown.held {
        Some(held) => Ok((held, answer["held"].clone())),
        None => Err(Failed::Refused(shown.trouble.unwrap_or_else(nobody))),
    }
}

/// Has all go that is not kept now. In a room where much is said more is beyond by the time that this is gone: that is the room-workers'.
async fn trim(api: &Api, room: &RoomId, before: Seq) -> Result<(), Failed> {
    let path = format!("/rooms/{room}/trims");
    let mut fully = true;
    loop {
        let part = async || api.call(Method::POST, &path, Some(json!(Trim { fully }))).await;
        let (trimmed, _) = understood::<Trimmed>(patiently(part).await?)?;
        // Until it begins later, there may be something to go by an earlier word.
        fully &= trimmed.first == before;
        if !trimmed.more {
            return Ok(());
        }
        if std::io::stderr().is_terminal() {
            hint(format_args!("{room}: begins at entry {}, gone before {}", trimmed.first, trimmed.gone));
        }
    }
}

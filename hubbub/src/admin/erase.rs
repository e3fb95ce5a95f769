//! `hubbub admin erase`: a user's messages, room by room, each in parts. What was done stays done, so it can be stopped and run again.

use std::io::IsTerminal;

use clap::ArgMatches;
use http::Method;
use hubbub_core::ids::{RoomId, Seq, UserId};
use hubbub_wire::admin::{Erase, Erased, Rooms, RoomsOfUser};
use hubbub_wire::tier::act::EraseFrom;
use serde_json::{Value, json};

use super::call::{Api, Failed, understood};
use super::cli::{Shown, escaped, id};
use super::patience::patiently;
use crate::process::hint;

/// Rooms that are asked for at a time, of a user and of the directory.
const ROOMS_OF_USER: usize = 1_000;
const ROOMS: usize = 200;

/// What was erased in a room.
struct InRoom {
    room: RoomId,
    erased: u64,
    seq: Seq,
}

/// Erases what the command line says.
pub(super) async fn erase(api: &Api, of: &ArgMatches) -> Result<Shown, Failed> {
    let user = id::<UserId>(of, "user");
    let mut done = Done { user: user.clone(), looked_at: 0, erased: 0, rooms: Vec::new() };
    let ended = match of.get_one::<RoomId>("room") {
        Some(room) => done.in_room(api, room.clone()).await,
        None if of.get_flag("every-room") => done.in_every_room(api).await,
        None => done.in_rooms_of_user(api).await,
    };
    match ended {
        Ok(()) => Ok(done.shown()),
        Err(failed) => Err(done.unfinished(failed)),
    }
}

struct Done {
    user: UserId,
    looked_at: u64,
    erased: u64,
    /// Those in which the user has messages.
    rooms: Vec<InRoom>,
}

impl Done {
    async fn in_rooms_of_user(&mut self, api: &Api) -> Result<(), Failed> {
        let mut after = String::new();
        loop {
            let path = format!("/users/{}/rooms?limit={ROOMS_OF_USER}{after}", self.user);
            let (RoomsOfUser { rooms, next }, _) = api.get(&path).await?;
            for room in rooms {
                self.in_room(api, room).await?;
            }
            match next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(()),
            }
        }
    }

    async fn in_every_room(&mut self, api: &Api) -> Result<(), Failed> {
        let mut cursor = String::new();
        loop {
            let (Rooms { rooms, next }, _) = api.get(&format!("/rooms?limit={ROOMS}{cursor}")).await?;
            for room in rooms {
                self.in_room(api, room.id).await?;
            }
            match next {
                Some(next) => cursor = format!("&cursor={}", escaped(&next)),
                None => return Ok(()),
            }
        }
    }

    async fn in_room(&mut self, api: &Api, room: RoomId) -> Result<(), Failed> {
        self.looked_at += 1;
        let (mut from, mut erased) = (None, 0);
        loop {
            let part = self.part(api, &room, from).await?;
            erased += part.erased;
            self.erased += part.erased;
            self.show(&room, &part);
            match (part.next, part.seq) {
                (None, Some(seq)) => {
                    self.rooms.push(InRoom { room, erased, seq });
                    return Ok(());
                }
                (None, None) => return Ok(()),
                (next, _) => from = next,
            }
        }
    }

    async fn part(&self, api: &Api, room: &RoomId, from: Option<EraseFrom>) -> Result<Erased, Failed> {
        let (path, body) =
            (format!("/rooms/{room}/erasures"), json!(Erase { user: self.user.clone(), from }));
        let part = async || api.call(Method::POST, &path, Some(body.clone())).await;
        Ok(understood(patiently(part).await?)?.0)
    }

    /// Where it is, for somebody who waits.
    fn show(&self, room: &RoomId, part: &Erased) {
        if std::io::stderr().is_terminal() {
            let at = part.next.map(|next| format!(", after entry {}", next.after)).unwrap_or_default();
            hint(format_args!("room {}: {room}{at}; {} messages erased so far", self.looked_at, self.erased));
        }
    }

    fn shown(self) -> Shown {
        let Self { user, looked_at, erased, rooms } = self;
        let mut text = String::new();
        for InRoom { room, erased, seq } in &rooms {
            text.push_str(&format!("{room}: {erased} erased now; entry {seq} says so\n"));
        }
        if looked_at == 0 {
            text.push_str(&format!("{user} is and was in no room: if that is a surprise, look at the id\n"));
        }
        text.push_str(&format!(
            "{erased} messages of {user} are erased, in {looked_at} rooms; what was erased before is not counted\n\
             they are served to nobody; when they are gone from disks and backups: see \"Erasing\" in docs/operations.md\n"
        ));
        let rooms: Vec<Value> = rooms
            .into_iter()
            .map(|InRoom { room, erased, seq }| json!({ "room": room, "erased": erased, "seq": seq }))
            .collect();
        (text, json!({ "user": user, "looked_at": looked_at, "erased": erased, "rooms": rooms }))
    }

    /// A failure, and what to do about it.
    fn unfinished(self, failed: Failed) -> Failed {
        let more = format!(
            "\nnot finished: {} messages of {} are erased so far. Run it again: what is done is done",
            self.erased, self.user
        );
        failed.and(&more)
    }
}

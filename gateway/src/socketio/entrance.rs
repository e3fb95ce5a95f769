//! Entering the namespace: a token, then what the seed's clients are told in its order, and then every room of the directory.
//! And leaving it.

use std::sync::Arc;

use axum::extract::Query;
use bytes::{BufMut, Bytes, BytesMut};
use http::Uri;
use hubbub_core::code::{CloseCode, Code};
use hubbub_core::ports::accounts::{Account, Role, Secret};
use hubbub_wire::seed;
use hubbub_wire::socketio::answer::{self, Authentication, Chatroom};
use hubbub_wire::tier::query::Listed;
use serde::Deserialize;

use crate::error::Failure;
use crate::member::ConnectionId;
use crate::shard::{Shard, State};
use crate::socketio::session::Session;
use crate::ws::connection::Flow;

/// Rooms of one page of the directory.
const PAGE_ROOMS: u32 = 200;

/// Where a token may be: in the handshake's query, in that of the namespace, in what newer clients send as `auth`.
#[derive(Default, Deserialize)]
struct Token {
    token: Option<Secret>,
}

/// Takes the packet that enters the namespace. Nothing more is read before it is answered.
pub fn on_connect(shard: &Arc<Shard>, id: ConnectionId, query: &str, auth: &str) -> Flow {
    let said = serde_json::from_str::<Token>(auth).unwrap_or_default().token.or_else(|| token_in(query));
    let token = shard.with(|state| {
        let connection = state.connection(id)?;
        let session = connection.session.as_mut()?;
        if session.entered || connection.hello_waits {
            return None;
        }
        if session.left {
            // Once a transport, so that what an entrance costs is bounded by what a transport does.
            state.close(id, CloseCode::Normal, 1_000);
            return None;
        }
        session.token = said.map(Arc::new).or(session.token.take());
        (connection.paused, connection.hello_waits) = (true, true);
        Some(session.token.clone())
    });
    // Who is in already stays in.
    let Some(token) = token else { return Flow::More };
    let shard = shard.clone();
    tokio::spawn(async move {
        let token = token.map(|token| Secret::clone(&token));
        let greeted = shard.greet(id, &None, token, Default::default()).await;
        if let Err(failure) = &greeted {
            shard.turn_away(id, failure);
        }
        shard.with(|state| {
            if let Some(connection) = state.connection(id) {
                connection.hello_waits = false;
                connection.resume_reading();
            }
        });
        if greeted.is_ok() {
            shard.show_directory(id).await;
        }
    });
    Flow::Pause
}

/// Takes the packet that leaves the namespace. The transport is the client's to close: until it does, or is late with that, it has
/// its pings.
pub fn on_disconnect(shard: &Arc<Shard>, id: ConnectionId) -> Flow {
    let now = shard.now();
    let gone = shard.with(|state| {
        let connection = state.connection(id)?;
        let session = connection.session.as_mut().filter(|session| session.entered)?;
        (session.entered, session.left) = (false, true);
        connection.opened = now;
        state.take_user(id)
    });
    if let Some((account, rooms)) = gone {
        shard.tell_gone(&account, rooms);
    }
    Flow::More
}

fn token_in(query: &str) -> Option<Secret> {
    let uri: Uri = format!("/?{query}").parse().ok()?;
    Query::<Token>::try_from_uri(&uri).ok()?.0.token
}

/// What a connection is told that is let in.
pub fn welcome(session: &mut Session, account: &Account) -> Bytes {
    session.entered = true;
    let is_person = account.roles.contains(&Role::User);
    let mut frames = BytesMut::new();
    frames.put(answer::connected(session.generation, session.sid.as_str()));
    frames.put(answer::event(
        "authentication",
        &Authentication {
            user: &account.user.id,
            name: &account.user.name,
            kind: if is_person { seed::PERSON } else { seed::BOT },
            roles: &account.roles,
        },
    ));
    frames.freeze()
}

enum Room {
    Gone,
    Wait,
    Told,
}

impl Shard {
    /// Closes a connection that is not let in.
    fn turn_away(self: &Arc<Self>, id: ConnectionId, failure: &Failure) {
        tracing::debug!(?id, error = %failure, "a Socket.IO connection was not let in");
        metrics::counter!(crate::metrics::FAILED, "code" => failure.code().as_str(), "door" => "socketio")
            .increment(1);
        self.with(|state| state.turn_away(id, failure));
    }

    /// Tells a connection of all rooms, and from now on of each that is made. As slowly as it reads.
    async fn show_directory(self: &Arc<Self>, id: ConnectionId) {
        self.with(|state| {
            if state.session(id).is_some_and(|session| session.entered) {
                state.watch(id, true);
            }
        });
        let mut cursor = None;
        loop {
            let (rooms, next) = match self.gateway.asker.directory(cursor, PAGE_ROOMS).await {
                Ok(page) => page,
                Err(failure) => {
                    tracing::debug!(?id, error = %failure, "the directory can't be read");
                    return self.with(|state| state.close(id, CloseCode::TryAgainLater, 1_000));
                }
            };
            for room in &rooms {
                loop {
                    // Before the look: what settles after it is not missed.
                    let settled = self.settled.notified();
                    match self.with(|state| state.show_room(id, room)) {
                        Room::Told => break,
                        Room::Wait => settled.await,
                        Room::Gone => return,
                    }
                }
            }
            match next {
                None => return,
                next => cursor = next,
            }
        }
    }

    /// Looks again at the token of a connection, which is over by what it said itself. Its service may still take it; if it can't
    /// say, it is asked again until the connection has outlived the token for too long.
    pub(crate) async fn recheck(self: Arc<Self>, id: ConnectionId) {
        let token = self.with(|state| state.connection(id)?.session.as_ref()?.token.clone());
        let Some(token) = token else { return };
        let looked = self.gateway.authenticate(&token).await;
        self.with(|state| {
            let Some(connection) = state.connection(id) else { return };
            match looked {
                Ok((account, _))
                    if connection.account.as_ref().is_some_and(|known| known.user.id == account.user.id) =>
                {
                    connection.account = Some(Arc::new(account));
                    connection.warned = false;
                }
                Err(failure) if failure.code() == Code::Unavailable => connection.warned = false,
                _ => state.close(id, CloseCode::NotAuthenticated, 1_000),
            }
        });
    }
}

impl State {
    fn show_room(&mut self, id: ConnectionId, listed: &Listed) -> Room {
        let (now, budget) = (self.now, self.connection_bytes_max);
        let Some(connection) = self.connection(id).filter(|connection| !connection.closing) else {
            return Room::Gone;
        };
        if connection.session.as_ref().is_none_or(|session| !session.entered) {
            return Room::Gone;
        }
        if connection.out.waiting() > budget / 2 {
            // One that never reads is closed like any other slow consumer.
            connection.behind_since.get_or_insert(now);
            return Room::Wait;
        }
        connection.has_read();
        let is_user = connection.standing(&listed.id).is_some();
        self.push(id, chatroom(listed, is_user));
        Room::Told
    }
}

fn chatroom(listed: &Listed, is_user: bool) -> Bytes {
    let facts = &listed.facts;
    answer::event(
        "chatroom",
        &Chatroom {
            id: &listed.id,
            name: &facts.name,
            topic: &facts.topic,
            owner: &facts.owner,
            count: listed.members,
            is_user,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_a_query_and_decoded() {
        let found = |query| token_in(query).map(|token| token.reveal().to_owned());
        assert_eq!(found("token=a%2Bb%3D&x=1"), Some("a+b=".into()));
        assert_eq!(found("t=1&token=abc"), Some("abc".into()));
        for none in ["", "tokens=a", "token=a&token=b", "\u{0}", "é", "token=%FF%FE"] {
            assert!(found(none).is_none_or(|token| token.contains('\u{fffd}')), "{none:?}");
        }
    }
}

//! An Engine.IO session: what a connection that speaks Socket.IO has beside what every connection has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hubbub_core::code::CloseCode;
use hubbub_core::ports::accounts::Secret;
use hubbub_wire::socketio::answer;
use hubbub_wire::socketio::engine::{Generation, Handshake};
use hubbub_wire::ws::encode;

use crate::config::Config;
use crate::member::{ConnectionId, Second};
use crate::shard::Shard;

/// A session's name: 128 random bits, behind the gateway's tag if it has one. Who knows it may take and post for the session, so it is a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sid(Box<str>);

impl Sid {
    /// A new one.
    pub fn random(tag: Option<&str>) -> Self {
        let random = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        match tag {
            Some(tag) => Self(format!("{tag}.{random}").into()),
            None => Self(random.into()),
        }
    }

    /// One that a client says.
    pub fn said(text: &str) -> Self {
        Self(text.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a session.
pub struct Session {
    /// Its name.
    pub sid: Sid,
    /// Which protocol it is in.
    pub generation: Generation,
    /// The token that came with the first request, or when the namespace was entered.
    pub token: Option<Arc<Secret>>,
    /// Whether it was let into the namespace.
    pub entered: bool,
    /// Whether it left the namespace.
    pub left: bool,
    /// Binary frames that belong to a packet that was refused, and are still to come.
    pub attachments: usize,
    /// When it was pinged last, in generation 4.
    pub pinged_at: Second,
    /// When a request of it was last there, if it polls.
    pub polled_at: Instant,
    /// Whether a request waits for something to be said.
    pub polls: bool,
    /// Whether a body that was posted is being looked at.
    pub posts: bool,
    /// Whether that one is answered, and the rest of it taken behind that.
    pub answered: bool,
    /// Whether a WebSocket is open that it may change over to.
    pub upgrades: bool,
    /// Whether that is being tried out: polls are answered at once, so that the client can change over.
    pub probes: bool,
}

impl Session {
    /// One that just began.
    pub fn new(sid: Sid, generation: Generation, token: Option<Secret>, now: Second) -> Self {
        Self {
            sid,
            generation,
            token: token.map(Arc::new),
            entered: false,
            left: false,
            attachments: 0,
            pinged_at: now,
            polled_at: Instant::now(),
            polls: false,
            posts: false,
            answered: false,
            upgrades: false,
            probes: false,
        }
    }

    /// Whether it is the server's turn to ping: in the older generation it never is.
    pub fn is_to_be_pinged(&self, now: Second, every: Second) -> bool {
        self.generation == Generation::V4 && now >= self.pinged_at.saturating_add(every)
    }

    /// What the client is told first.
    pub fn greeting(&self, config: &Config, upgrades: &[&str]) -> Vec<Bytes> {
        let heartbeat = u64::try_from(config.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let opened = answer::open(&Handshake {
            sid: self.sid.as_str(),
            upgrades,
            ping_interval: heartbeat,
            ping_timeout: heartbeat,
            max_payload: config.frame_bytes_max,
        });
        match self.generation {
            Generation::V3 => vec![opened, answer::root_connected()],
            Generation::V4 => vec![opened],
        }
    }

    /// What the client is told last. Its library connects again by itself when the transport closes, and does not when it is
    /// disconnected: so it is disconnected where coming back would end in the same way, and then closes by itself. Told of the
    /// end right behind it, a library with threads may see that first, and a poll would not see the rest of its body.
    pub fn farewell(&self, code: CloseCode) -> Bytes {
        let mut out = Vec::new();
        if disconnects(code) {
            if !self.entered {
                out.extend_from_slice(&answer::connected(self.generation, self.sid.as_str()));
            }
            out.extend_from_slice(&answer::disconnected());
        } else {
            encode::append_close(&mut out, code.number(), code.reason());
        }
        out.into()
    }
}

/// Whether a client is disconnected before its transport is closed with this code.
pub fn disconnects(code: CloseCode) -> bool {
    matches!(code, CloseCode::NotAuthenticated | CloseCode::TooMany)
}

/// The sessions of a gateway that poll: where their requests find them.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Sid, (Weak<Shard>, ConnectionId)>>);

impl Sessions {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A session polls from now on.
    pub fn add(&self, sid: Sid, shard: &Arc<Shard>, id: ConnectionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sid, (Arc::downgrade(shard), id));
    }

    /// The session changed its transport, or ended.
    pub fn remove(&self, sid: &Sid, id: ConnectionId) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(known) = sessions.entry(sid.clone())
            && known.get().1 == id
        {
            known.remove();
        }
    }

    /// Where it is.
    pub fn find(&self, sid: &Sid) -> Option<(Arc<Shard>, ConnectionId)> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (shard, id) = sessions.get(sid)?;
        Some((shard.upgrade()?, *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(generation: Generation) -> Session {
        Session::new(Sid::random(Some("g1")), generation, None, 0)
    }

    #[test]
    fn only_who_would_be_refused_again_is_disconnected() {
        let told = |code| {
            let farewell = session(Generation::V3).farewell(code);
            let frames =
                encode::frames(&farewell).map(|(_, payload)| String::from_utf8_lossy(payload).into_owned());
            frames.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(CloseCode::NotAuthenticated), "40/v1/channel, 41/v1/channel,");
        assert_eq!(told(CloseCode::TooMany), "40/v1/channel, 41/v1/channel,");
        let away = told(CloseCode::GoingAway);
        assert!(!away.contains("41") && !away.is_empty(), "{away}");
        // Who is in is not told so again.
        let mut entered = session(Generation::V4);
        entered.entered = true;
        let farewell = entered.farewell(CloseCode::NotAuthenticated);
        assert_eq!(encode::frames(&farewell).next().unwrap().1, b"41/v1/channel,");
    }

    #[test]
    fn a_name_says_where_its_session_is_and_nothing_else_that_can_be_guessed() {
        let names: std::collections::HashSet<_> =
            (0..100).map(|_| Sid::random(Some("g1")).as_str().to_owned()).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|name| name.starts_with("g1.") && name.len() == 3 + 22), "{names:?}");
        assert_eq!(Sid::random(None).as_str().len(), 22);
    }

    #[test]
    fn only_the_newer_generation_is_pinged() {
        assert!(!session(Generation::V3).is_to_be_pinged(60, 30));
        assert!(!session(Generation::V4).is_to_be_pinged(29, 30));
        assert!(session(Generation::V4).is_to_be_pinged(30, 30));
    }
}

//! What a client sends, one Engine.IO packet at a time, whichever way it came.

use std::sync::Arc;

use hubbub_core::code::CloseCode;
use hubbub_wire::seed;
use hubbub_wire::socketio::engine::{BadPacket, Generation, Kind, Packet};
use hubbub_wire::socketio::packet::{self, Packet as Message};
use hubbub_wire::socketio::{NAMESPACE, answer};

use crate::member::ConnectionId;
use crate::shard::Shard;
use crate::socketio::{entrance, requests};
use crate::ws::connection::Flow;

/// Binary frames that one refused packet may announce.
const ATTACHMENTS_MAX: usize = 16;

/// Takes a packet of text.
pub fn on_text(shard: &Arc<Shard>, id: ConnectionId, text: &str) -> Flow {
    match Packet::parse(text) {
        Ok(packet) => on_packet(shard, id, packet),
        Err(BadPacket::Binary) => on_binary(shard, id),
        Err(BadPacket::Unreadable) => close(shard, id, CloseCode::Policy),
    }
}

fn on_packet(shard: &Arc<Shard>, id: ConnectionId, packet: Packet<'_>) -> Flow {
    let known = shard.with(|state| {
        let connection = state.connection(id).filter(|connection| !connection.closing)?;
        let session = connection.session.as_ref()?;
        Some((session.generation, session.attachments > 0))
    });
    // It is being closed: nothing more is taken.
    let Some((generation, awaits_binary)) = known else { return Flow::More };
    match (packet.kind, generation) {
        (Kind::Ping, Generation::V3) => shard.push(id, answer::pong(packet.data)),
        // That it came is all there is to it.
        (Kind::Pong, Generation::V4) | (Kind::Noop | Kind::Upgrade, _) => Flow::More,
        (Kind::Message, _) if !awaits_binary => match Message::parse(packet.data) {
            Some(message) => on_message(shard, id, generation, message),
            None => close(shard, id, CloseCode::Policy),
        },
        (Kind::Close, _) => close(shard, id, CloseCode::Normal),
        _ => close(shard, id, CloseCode::Policy),
    }
}

fn on_message(shard: &Arc<Shard>, id: ConnectionId, generation: Generation, message: Message<'_>) -> Flow {
    if message.namespace != NAMESPACE {
        return match message.kind {
            packet::Kind::Connect if message.namespace == "/" && generation == Generation::V3 => Flow::More,
            packet::Kind::Connect => shard.push(id, answer::no_such_namespace(generation, message.namespace)),
            packet::Kind::Disconnect => Flow::More,
            _ => close(shard, id, CloseCode::Policy),
        };
    }
    match message.kind {
        packet::Kind::Connect => entrance::on_connect(shard, id, message.query, message.data),
        packet::Kind::Disconnect => entrance::on_disconnect(shard, id),
        packet::Kind::Event => requests::on_event(shard, id, message.id, message.data),
        // Nothing that the server says asks for one.
        packet::Kind::Ack => Flow::More,
        packet::Kind::BinaryEvent(attachments) | packet::Kind::BinaryAck(attachments) => {
            refuse_binary(shard, id, message.id, attachments)
        }
        packet::Kind::Error => close(shard, id, CloseCode::Policy),
    }
}

/// An event with bytes in it: its callback is told, and the frames with the bytes are passed over.
fn refuse_binary(shard: &Arc<Shard>, id: ConnectionId, callback: Option<u64>, attachments: usize) -> Flow {
    if attachments > ATTACHMENTS_MAX {
        return close(shard, id, CloseCode::Policy);
    }
    shard.with(|state| {
        if let Some(session) = state.connection(id).and_then(|connection| connection.session.as_mut()) {
            session.attachments = attachments;
        }
    });
    match callback {
        None => Flow::More,
        Some(callback) => {
            let message = "binary data is not taken: send a picture as base64";
            shard.push(id, answer::ack(callback, &answer::Failed { error: seed::UNKNOWN, message }))
        }
    }
}

/// Bytes: passed over if a refused packet announced them, else the end.
pub fn on_binary(shard: &Arc<Shard>, id: ConnectionId) -> Flow {
    let is_announced = shard.with(|state| {
        let session = state.connection(id).and_then(|connection| connection.session.as_mut());
        session.is_some_and(|session| match session.attachments.checked_sub(1) {
            Some(left) => {
                session.attachments = left;
                true
            }
            None => false,
        })
    });
    if is_announced { Flow::More } else { close(shard, id, CloseCode::Policy) }
}

fn close(shard: &Arc<Shard>, id: ConnectionId, code: CloseCode) -> Flow {
    shard.with(|state| state.close(id, code, 1_000));
    Flow::More
}

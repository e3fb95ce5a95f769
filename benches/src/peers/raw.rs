//! The floor: one thread, tokio, and a plain loop of writes over a room's members.
//!
//! A real handshake and real frames, and nothing else: no store, no ack, no accounts, no limits. A message's event is
//! encoded once, frame header included, and padded to the size of Hubbub's own event, so that both put the same bytes on
//! the wire. What this server costs is about what the kernel costs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use memchr::memmem;
use tokio::net::{TcpListener, TcpStream};

use crate::ws::frame::{CLOSE, Frame, PING, PONG, TEXT, encode_from_server};
use crate::ws::handshake;
use crate::ws::outbox::Outbox;
use crate::ws::reader::Reader;

/// Bytes of an event's JSON for a body of 128: what Hubbub's has with short ids.
pub const EVENT_BYTES: usize = 255;

#[derive(Default)]
struct Rooms {
    by_name: RefCell<HashMap<Vec<u8>, Rc<Room>>>,
    event_bytes: usize,
}

#[derive(Default)]
struct Room {
    members: RefCell<Vec<Rc<Outbox>>>,
    last: Cell<u64>,
}

struct Connection {
    rooms: Rc<Rooms>,
    outbox: Rc<Outbox>,
    joined: Option<Rc<Room>>,
}

/// Serves until the listener fails. Needs a local runtime.
pub async fn serve(listener: TcpListener, event_bytes: usize) -> anyhow::Result<()> {
    crate::loopback::require(listener.local_addr()?)?;
    let rooms = Rc::new(Rooms { event_bytes, ..Rooms::default() });
    loop {
        let (stream, _) = listener.accept().await?;
        let rooms = Rc::clone(&rooms);
        tokio::task::spawn_local(async move {
            // The handshake's future is large; the connection's own is small and begins after it.
            if let Ok((reader, outbox)) = open(stream).await {
                tokio::task::spawn_local(run(reader, Connection { rooms, outbox, joined: None }));
            }
        });
    }
}

async fn open(mut stream: TcpStream) -> anyhow::Result<(Reader, Rc<Outbox>)> {
    stream.set_nodelay(true)?;
    let behind = handshake::answer(&mut stream).await?;
    let (read, write) = stream.into_split();
    Ok((Reader::new(read, behind), Outbox::new(write)))
}

async fn run(mut reader: Reader, mut connection: Connection) {
    while !connection.outbox.is_closed() {
        match reader.turn(|frame| connection.on_frame(&frame)).await {
            Ok(true) => {}
            Ok(false) | Err(_) => break,
        }
    }
    connection.leave();
}

impl Connection {
    fn on_frame(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        match frame.opcode {
            TEXT => self.on_text(frame.payload),
            PING => {
                self.answer(PONG, frame.payload);
                Ok(())
            }
            CLOSE => anyhow::bail!("closed"),
            _ => Ok(()),
        }
    }

    fn on_text(&mut self, text: &[u8]) -> anyhow::Result<()> {
        if let Some(name) = string_after(br#"{"join":""#, text) {
            self.leave();
            let room = Rc::clone(self.rooms.by_name.borrow_mut().entry(name.to_vec()).or_default());
            room.members.borrow_mut().push(Rc::clone(&self.outbox));
            self.joined = Some(room);
            let joined = [br#"{"joined":""#, name, br#""}"#].concat();
            self.answer(TEXT, &joined);
            return Ok(());
        }
        let name = string_after(br#"{"room":""#, text).context("neither join nor send")?;
        let body = string_after(br#""text":""#, text).context("no text")?;
        if let Some(room) = self.rooms.by_name.borrow().get(name) {
            room.fan_out(name, body, self.rooms.event_bytes);
        }
        Ok(())
    }

    fn answer(&self, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 4);
        encode_from_server(opcode, payload, &mut bytes);
        self.outbox.write(&bytes);
    }

    fn leave(&mut self) {
        if let Some(room) = self.joined.take() {
            room.members.borrow_mut().retain(|member| !Rc::ptr_eq(member, &self.outbox));
        }
    }
}

impl Room {
    fn fan_out(&self, name: &[u8], body: &[u8], event_bytes: usize) {
        thread_local! {
            static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::default();
        }
        self.last.set(self.last.get() + 1);
        BUFFERS.with_borrow_mut(|(event, frame)| {
            event.clear();
            frame.clear();
            encode_event(self.last.get(), name, body, event_bytes, event);
            encode_from_server(TEXT, event, frame);
            for member in &*self.members.borrow() {
                member.write(frame);
            }
        });
    }
}

fn encode_event(seq: u64, name: &[u8], body: &[u8], event_bytes: usize, out: &mut Vec<u8>) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    out.extend_from_slice(br#"{"type":"message","room":""#);
    out.extend_from_slice(name);
    // Writing to a Vec can't fail.
    let _ = write!(out, r#"","seq":{seq},"user":{{"id":"raw"}},"kind":"text","text":""#);
    out.extend_from_slice(body);
    let _ = write!(out, r#"","at":{at},"pad":""#);
    out.resize(out.len().max(event_bytes.saturating_sub(2)), b'.');
    out.extend_from_slice(br#""}"#);
}

/// The string behind `opening`, which ends with its quotation mark. The generator's strings have no escapes.
fn string_after<'a>(opening: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let start = memmem::find(text, opening)? + opening.len();
    let len = memchr::memchr(b'"', &text[start..])?;
    Some(&text[start..start + len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_the_size_that_was_asked_for() {
        let mut event = Vec::new();
        encode_event(12_345, b"room-000001", &[b'x'; 128], EVENT_BYTES + 30, &mut event);
        assert_eq!(event.len(), EVENT_BYTES + 30);
        let value: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
        assert_eq!(value["seq"], 12_345);
    }
}

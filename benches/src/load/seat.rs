//! A member's connection, from the first packet to the last answer of its greeting.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::targets::live::Live;
use crate::targets::{Dialect, Member, Seen, is_refusal};
use crate::ws::frame::{CLOSE, PING, PONG, TEXT, encode_from_client};
use crate::ws::handshake;
use crate::ws::outbox::Outbox;
use crate::ws::reader::Reader;

/// How long one connection may take to become a member that receives.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections are made at a time where that isn't what is measured.
const IN_FLIGHT: usize = 32;

/// A connection that is a member of its room.
#[derive(Debug)]
pub struct Seat {
    /// To write with.
    pub outbox: Rc<Outbox>,
    /// To read with.
    pub reader: Reader,
}

impl Seat {
    /// Connects, upgrades, and greets until the member is in its room.
    pub async fn take(live: &Live, member: &Member) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(member.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let host = member.address.to_string();
        let behind = handshake::ask(&mut stream, &host, live.dialect.path()).await.context("upgrading")?;
        let (read, write) = stream.into_split();
        let mut seat = Self { outbox: Outbox::new(write), reader: Reader::new(read, behind) };
        let mut frame = Vec::with_capacity(512);
        for step in live.dialect.greeting(member) {
            frame.clear();
            encode_from_client(TEXT, step.text.as_bytes(), &mut frame);
            seat.outbox.write(&frame);
            seat.wait_for(step.answer).await?;
        }
        Ok(seat)
    }

    async fn wait_for(&mut self, answer: &[u8]) -> anyhow::Result<()> {
        let mut answered = false;
        while !answered {
            let outbox = &self.outbox;
            let open = self.reader.turn(|frame| {
                match frame.opcode {
                    TEXT if memchr::memmem::find(frame.payload, answer).is_some() => answered = true,
                    TEXT if is_refusal(frame.payload) => {
                        bail!("refused: {}", String::from_utf8_lossy(frame.payload));
                    }
                    PING => outbox.write(&pong(frame.payload)),
                    CLOSE => bail!("closed: {}", close_reason(frame.payload)),
                    _ => {}
                }
                Ok(())
            });
            if !open.await? {
                bail!("closed without a word");
            }
        }
        Ok(())
    }
}

/// Takes these members' seats, some at a time, in the members' order.
pub async fn take_all(live: &Rc<Live>, members: Range<usize>) -> anyhow::Result<Vec<Seat>> {
    let mut seats: Vec<Option<Seat>> = members.clone().map(|_| None).collect();
    let mut under_way = JoinSet::new();
    let (first, mut next) = (members.start, members.start);
    while next < members.end || !under_way.is_empty() {
        if next < members.end && under_way.len() < IN_FLIGHT {
            let (live, index) = (Rc::clone(live), next);
            under_way.spawn_local(async move {
                let taking = Seat::take(&live, &live.members[index]);
                (index, tokio::time::timeout(GREETING_TIMEOUT, taking).await)
            });
            next += 1;
        } else if let Some(done) = under_way.join_next().await {
            let (index, seat) = done?;
            let seat = seat.context("no answer in time").flatten();
            seats[index - first] = Some(seat.with_context(|| format!("connection {index}"))?);
        }
    }
    Ok(seats.into_iter().flatten().collect())
}

/// Reads for ever, answers what must be answered, and drops the rest: for connections that only have to stay.
pub async fn stay(mut seat: Seat, dialect: Rc<dyn Dialect>) {
    let outbox = Rc::clone(&seat.outbox);
    loop {
        let turn = seat.reader.turn(|frame| {
            match frame.opcode {
                TEXT => dialect.read(frame.payload, &mut |seen| {
                    if let Seen::Heartbeat(answer) = seen {
                        outbox.write(&text(answer.as_bytes()));
                    }
                }),
                PING => outbox.write(&pong(frame.payload)),
                _ => {}
            }
            Ok(())
        });
        if !turn.await.unwrap_or(false) {
            return;
        }
    }
}

/// A client's text frame.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    encode_from_client(TEXT, payload, &mut bytes);
    bytes
}

/// A client's answer to a ping.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    encode_from_client(PONG, payload, &mut bytes);
    bytes
}

/// What a close frame says, for a person.
pub fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason)),
        None => "no code".to_owned(),
    }
}

/// Owns the seats of a measurement while they only stay.
pub fn keep(seats: Vec<Seat>, dialect: &Rc<dyn Dialect>) -> JoinSet<()> {
    let mut kept = JoinSet::new();
    for seat in seats {
        kept.spawn_local(stay(seat, Rc::clone(dialect)));
    }
    kept
}

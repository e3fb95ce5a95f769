//! A member's connection, from the first packet to the last answer of its greeting.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use memchr::memmem::Finder;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::stamp::number_after;
use crate::targets::{Dialect, Member, Seen, Step, is_refusal};
use crate::view::View;
use crate::ws::frame::{CLOSE, Frame, PING, PONG, TEXT, encode_from_client};
use crate::ws::handshake;
use crate::ws::outbox::Outbox;
use crate::ws::reader::Reader;

/// How long one connection may take to become a member that receives.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections are made at a time where that isn't what is measured.
const IN_FLIGHT: usize = 32;

/// The server said no to a greeting.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(String);

impl Refused {
    /// When the server wants to be asked again, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        let after = Finder::new(b"\"retry_after_ms\":");
        number_after(&after, self.0.as_bytes()).map(Duration::from_millis)
    }
}

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
    pub async fn take(member: &Member) -> anyhow::Result<Self> {
        let steps = member.dialect.greeting(member);
        Self::greet(member, &steps, None, &mut |_| ()).await
    }

    /// The same with these steps, a receive buffer of so many bytes if one is given, and what comes before the last answer
    /// or right behind it given to `on`.
    pub async fn greet(
        member: &Member,
        steps: &[Step],
        receive_bytes: Option<u32>,
        on: &mut impl FnMut(&Frame<'_>),
    ) -> anyhow::Result<Self> {
        let socket = match member.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut stream = socket.connect(member.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let host = member.address.to_string();
        let behind = handshake::ask(&mut stream, &host, member.dialect.path()).await.context("upgrading")?;
        let (read, write) = stream.into_split();
        let mut seat = Self { outbox: Outbox::new(write), reader: Reader::new(read, behind) };
        let mut frame = Vec::with_capacity(512);
        for step in steps {
            frame.clear();
            encode_from_client(TEXT, step.text.as_bytes(), &mut frame);
            seat.outbox.write(&frame);
            seat.wait_for(step.answer, on).await?;
        }
        Ok(seat)
    }

    async fn wait_for(&mut self, answer: &[u8], on: &mut impl FnMut(&Frame<'_>)) -> anyhow::Result<()> {
        let mut answered = false;
        while !answered {
            let outbox = &self.outbox;
            let open = self.reader.turn(|frame| {
                match frame.opcode {
                    TEXT if !answered && memchr::memmem::find(frame.payload, answer).is_some() => {
                        answered = true;
                    }
                    TEXT if !answered && is_refusal(frame.payload) => {
                        bail!(Refused(String::from_utf8_lossy(frame.payload).into_owned()));
                    }
                    PING => outbox.write(&pong(frame.payload)),
                    CLOSE => bail!("closed: {}", close_reason(frame.payload)),
                    _ => on(&frame),
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
pub async fn take_all(members: &[Member], view: &View) -> anyhow::Result<Vec<Seat>> {
    let mut seats: Vec<Option<Seat>> = members.iter().map(|_| None).collect();
    let (mut under_way, mut next, mut done) = (JoinSet::new(), 0, 0);
    while next < members.len() || !under_way.is_empty() {
        if next < members.len() && under_way.len() < IN_FLIGHT {
            let (member, index) = (members[next].clone(), next);
            under_way.spawn_local(async move {
                (index, tokio::time::timeout(GREETING_TIMEOUT, Seat::take(&member)).await)
            });
            next += 1;
        } else if let Some(taken) = under_way.join_next().await {
            let (index, seat) = taken?;
            let seat = seat.context("no answer in time").flatten();
            seats[index] = Some(seat.with_context(|| format!("connection {index}"))?);
            done += 1;
            view.count("connections", done, members.len());
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
pub fn keep(seats: Vec<Seat>, members: &[Member]) -> JoinSet<()> {
    let mut kept = JoinSet::new();
    for (seat, member) in seats.into_iter().zip(members) {
        kept.spawn_local(stay(seat, Rc::clone(&member.dialect)));
    }
    kept
}

//! The loop that acts: it owns the session and the connection, others hold a [`Client`](crate::Client).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hubbub_core::code::CloseCode;
use hubbub_core::ids::{RoomId, Seq};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff;
use crate::raw::Frame;
use crate::session::{Ask, Session};
use crate::socket::{self, Out, Reader, Writer};
use crate::{Error, Event};

/// Frames between the loop and a half of the socket.
const FRAMES_MAX: usize = 64;
/// How long a close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a handle asks of the loop.
#[derive(Debug)]
pub(crate) enum Command {
    Ask(Ask),
    Tell(Map<String, Value>),
    Token(String),
    Positions(oneshot::Sender<BTreeMap<RoomId, Seq>>),
    /// Answered, by being dropped, when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// Why the loop ended, for the handles that are left.
pub(crate) type Ended = Arc<OnceLock<Error>>;

/// A socket in the hands of two tasks, which end with it.
struct Link {
    frames: mpsc::Receiver<Frame>,
    out: mpsc::Sender<Out>,
    reader: Task<()>,
    writer: Task<()>,
}

impl Link {
    fn new(reader: Reader, writer: Writer) -> Self {
        let (to_loop, frames) = mpsc::channel(FRAMES_MAX);
        let (out, from_loop) = mpsc::channel(FRAMES_MAX);
        let reader = Task(tokio::spawn(read_all(reader, to_loop)));
        let writer = Task(tokio::spawn(write_all(writer, from_loop)));
        Self { frames, out, reader, writer }
    }

    /// Writes what is left and a close frame; does not wait for the server's. Takes a second at most.
    async fn close(self) {
        let Self { out, reader, mut writer, frames } = self;
        let goodbye = async {
            let _ = out.send(Out::Close(CloseCode::Normal.number())).await;
            drop(out);
            let _ = (&mut writer.0).await;
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
        drop((reader, frames));
    }
}

/// A task that ends with its handle.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `read_frame` is not cancel safe: this loop only reads.
async fn read_all(mut reader: Reader, to_loop: mpsc::Sender<Frame>) {
    loop {
        let frame = reader.next().await;
        let is_last = matches!(frame, Frame::Closed { .. });
        if to_loop.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

async fn write_all(mut writer: Writer, mut from_loop: mpsc::Receiver<Out>) {
    let mut gathered = Vec::with_capacity(FRAMES_MAX);
    while from_loop.recv_many(&mut gathered, FRAMES_MAX).await > 0 {
        for out in gathered.drain(..) {
            writer.push(out);
        }
        // A socket that can't be written is soon one that can't be read: the reader tells.
        if writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// The connection, or what is done for one.
enum Connection {
    Up(Link),
    Opening(Task<Result<(Reader, Writer), Error>>),
    Waiting(Instant),
}

/// What became of the connection.
enum Turn {
    Frame(Frame),
    Opened(Link),
    Lost(Error),
    Waited,
}

impl Connection {
    fn open(session: &Session) -> Self {
        let (url, limit) = (session.options().url.clone(), session.options().connect_timeout);
        Self::Opening(Task(tokio::spawn(async move {
            let late = |_| Err(Error::Connect { status: None, reason: "no connection in time".into() });
            timeout(limit, socket::open(&url, None)).await.unwrap_or_else(late)
        })))
    }

    /// Cancel safe.
    async fn turn(&mut self) -> Turn {
        let closed = |code, reason| Turn::Lost(Error::Closed { code, reason });
        match self {
            Self::Up(link) => match link.frames.recv().await {
                Some(Frame::Closed { code, reason }) => closed(code, reason),
                Some(frame) => Turn::Frame(frame),
                None => closed(None, "the reader ended".into()),
            },
            Self::Opening(attempt) => match (&mut attempt.0).await {
                Ok(Ok((reader, writer))) => Turn::Opened(Link::new(reader, writer)),
                Ok(Err(error)) => Turn::Lost(error),
                Err(error) => Turn::Lost(Error::Connect { status: None, reason: error.to_string() }),
            },
            Self::Waiting(until) => {
                sleep_until(*until).await;
                Turn::Waited
            }
        }
    }

    fn out(&self) -> Option<mpsc::Sender<Out>> {
        match self {
            Self::Up(link) => Some(link.out.clone()),
            Self::Opening(_) | Self::Waiting(_) => None,
        }
    }
}

/// Room for a frame to the server; never without a connection. `None` when it can't be written any more.
async fn room_in(out: Option<mpsc::Sender<Out>>) -> Option<mpsc::OwnedPermit<Out>> {
    match out {
        Some(out) => out.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

/// Runs until the client is closed, its last handle is dropped, or the connection is lost for good.
pub(crate) async fn run(
    mut session: Session,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    ended: Ended,
) {
    let mut connection = Connection::open(&session);
    let closing = loop {
        if let Some(error) = session.wants_to_hang_up()
            && let Err(error) = lose(&mut session, &mut connection, error)
        {
            break Err(error);
        }
        let wake = session.next_wake();
        let (has_events, has_out) = (!session.events().is_empty(), !session.out().is_empty());
        let out = has_out.then(|| connection.out()).flatten();
        tokio::select! {
            room = events.reserve(), if has_events => match room {
                Ok(room) => if let Some(event) = session.events().pop_front() { room.send(event) },
                // Nobody wants to know.
                Err(_) => session.events().clear(),
            },
            room = room_in(out), if has_out => match room {
                Some(room) => if let Some(out) = session.out().pop_front() { drop(room.send(out)) },
                None => session.out().clear(),
            },
            turn = connection.turn(), if !has_events => {
                if let Err(error) = on_turn(&mut session, &mut connection, turn) {
                    break Err(error);
                }
            }
            command = commands.recv() => match command {
                Some(Command::Close(closed)) => break Ok(Some(closed)),
                None => break Ok(None),
                Some(command) => on_command(&mut session, command),
            },
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => session.on_time(Instant::now()),
        }
    };
    let error = match closing {
        Err(error) => error,
        Ok(closed) => {
            let reason = "closed by the client".into();
            let error = Error::Closed { code: Some(CloseCode::Normal.number()), reason };
            finish(&mut session, connection).await;
            session.on_close(&error);
            drop(closed);
            error
        }
    };
    // Requests that arrive from here on find out by their handle; those already here are told.
    let _ = ended.set(error.clone());
    commands.close();
    while let Ok(command) = commands.try_recv() {
        if let Command::Ask(ask) = command {
            let _ = ask.reply.send(Err(error.clone()));
        }
    }
    for event in std::mem::take(session.events()) {
        if events.send(event).await.is_err() {
            break;
        }
    }
}

fn on_turn(session: &mut Session, connection: &mut Connection, turn: Turn) -> Result<(), Error> {
    match turn {
        Turn::Frame(frame) => session.on_frame(Instant::now(), frame),
        Turn::Opened(link) => {
            *connection = Connection::Up(link);
            session.on_open(Instant::now());
        }
        Turn::Waited => *connection = Connection::open(session),
        Turn::Lost(error) => lose(session, connection, error)?,
    }
    Ok(())
}

/// Drops the connection and waits for the next attempt; the error when there is to be none.
fn lose(session: &mut Session, connection: &mut Connection, error: Error) -> Result<(), Error> {
    let now = Instant::now();
    let wait = session.on_lost(now, error, backoff::random());
    let next = Connection::Waiting(now + *wait.as_ref().unwrap_or(&Duration::ZERO));
    if let Connection::Up(link) = std::mem::replace(connection, next) {
        tokio::spawn(link.close());
    }
    wait.map(drop)
}

fn on_command(session: &mut Session, command: Command) {
    match command {
        Command::Ask(ask) => session.on_ask(Instant::now(), ask),
        Command::Tell(body) => session.on_tell(body),
        Command::Token(token) => session.on_token(token),
        Command::Positions(reply) => {
            let _ = reply.send(session.positions().all());
        }
        Command::Close(_) => {}
    }
}

/// Sends what is left and a close frame, then waits a moment for the server's.
async fn finish(session: &mut Session, mut connection: Connection) {
    let Connection::Up(link) = &mut connection else { return };
    let goodbye = async {
        for out in session.out().drain(..).chain([Out::Close(CloseCode::Normal.number())]) {
            if link.out.send(out).await.is_err() {
                return;
            }
        }
        while let Some(frame) = link.frames.recv().await {
            if matches!(frame, Frame::Closed { .. }) {
                return;
            }
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}

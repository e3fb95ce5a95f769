//! A way to a server that plants a fault: once on each connection, or on one of them alone.

use std::cell::Cell;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hubbub_benches::ws::frame::{BadFrame, TEXT, encode_from_server};
use hubbub_benches::ws::reader::FrameReader;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The last message that a member is sent by the load that is lied to, counted from 1.
pub const LAST: usize = 20;
/// When what comes late comes.
const LATE: Duration = Duration::from_millis(700);
/// Messages of a connection that pass before it, and pages, of which there are fewer.
const HONEST: usize = 5;
const HONEST_PAGES: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A message does not come.
    Drop,
    /// A message comes twice.
    Double,
    /// Two messages come in the other order.
    Swap,
    /// A message's text is another one.
    Alter,
    /// A send is said to be at another place than it is.
    AckElsewhere,
    /// A page is empty, and said to be the end of the log.
    OldPage,
    /// The last message does not come.
    DropLast,
    /// The last message comes once more, late.
    DoubleLast,
    /// A message's body is another one behind its stamp.
    Body,
    /// A message is said to be somebody else's.
    User,
    /// A message is said to be of another room.
    Room,
    /// All numbers are others.
    Shift,
    /// A send is acknowledged twice.
    AckTwice,
    /// A send is not acknowledged.
    NoAck,
    /// A send is said to be refused, and is delivered.
    Refuse,
    /// What the server uses is asked, and there is no answer.
    NoMetrics,
}

pub struct Liar {
    address: SocketAddr,
    _passing: JoinSet<()>,
}

impl Liar {
    pub async fn to(server: SocketAddr, fault: Option<Fault>) -> std::io::Result<Self> {
        Self::at(server, fault, None).await
    }

    /// Of the WebSockets only this one is lied to, the first being 0; `None`: each.
    pub async fn at(server: SocketAddr, fault: Option<Fault>, only: Option<usize>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut passing = JoinSet::new();
        passing.spawn_local(async move {
            let (mut connections, upgraded) = (JoinSet::new(), Rc::new(Cell::new(0)));
            while let Ok((client, _)) = listener.accept().await {
                if fault == Some(Fault::NoMetrics) && asks_for_metrics(&client).await {
                    connections.spawn_local(async move { drop((pending::<()>().await, client)) });
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else { return };
                let ((mut from_client, to_client), (from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                connections.spawn_local(async move {
                    let _ = copy(&mut from_client, &mut to_server).await;
                });
                let upgraded = Rc::clone(&upgraded);
                connections.spawn_local(pass_on(from_server, to_client, move || {
                    let number = upgraded.replace(upgraded.get() + 1);
                    fault.filter(|_| only.is_none_or(|only| only == number))
                }));
            }
        });
        Ok(Self { address, _passing: passing })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn asks_for_metrics(client: &TcpStream) -> bool {
    let mut begins = [0; 12];
    client.peek(&mut begins).await.is_ok() && begins == *b"GET /metrics"
}

/// `fault` is asked once it is known to be a WebSocket.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: impl FnOnce() -> Option<Fault>) {
    let mut bytes = Vec::new();
    // What is no WebSocket passes as it is.
    let head = loop {
        match from.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => {
                let _ = to.write_all(&bytes).await;
                return;
            }
            Ok(_) => {}
        }
        if let Some(at) = memmem::find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
    };
    let mut frames = bytes.split_off(head);
    let upgraded = bytes.starts_with(b"HTTP/1.1 101");
    if to.write_all(&bytes).await.is_err() {
        return;
    }
    if !upgraded {
        let _ = to.write_all(&frames).await;
        let _ = copy(&mut from, &mut to).await;
        return;
    }
    let (mut reader, mut tongue, mut out) = (FrameReader::default(), Tongue::new(fault()), Vec::new());
    loop {
        let fed = reader.feed(&mut frames, &mut |frame| {
            tongue.say(frame.opcode, frame.payload, &mut out);
            Ok::<(), BadFrame>(())
        });
        if fed.is_err() || to.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
        frames.clear();
        let late = tongue.late.as_ref().map_or_else(Instant::now, |(at, _)| *at);
        tokio::select! {
            read = from.read_buf(&mut frames) => if !matches!(read, Ok(1..)) { return },
            () = sleep_until(late), if tongue.late.is_some() => {
                out.extend(tongue.late.take().into_iter().flat_map(|(_, frame)| frame));
            }
        }
    }
}

struct Tongue {
    fault: Option<Fault>,
    seen: usize,
    held: Option<Vec<u8>>,
    late: Option<(Instant, Vec<u8>)>,
}

impl Tongue {
    fn new(fault: Option<Fault>) -> Self {
        Self { fault, seen: 0, held: None, late: None }
    }

    fn say(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        let has = |what: &str| memmem::find(payload, what.as_bytes()).is_some();
        let (concerned, honest) = match self.fault {
            None => (false, HONEST),
            Some(Fault::AckElsewhere | Fault::AckTwice | Fault::NoAck | Fault::Refuse) => {
                (has(r#""durability""#), HONEST)
            }
            Some(Fault::OldPage) => (has(r#""entries":[{"#) && has(r#""more":false"#), HONEST_PAGES),
            Some(Fault::DropLast | Fault::DoubleLast) => (has(r#""type":"message""#), LAST - 1),
            // Never, but always.
            Some(Fault::Shift | Fault::NoMetrics) => (false, 0),
            Some(_) => (has(r#""type":"message""#), HONEST),
        };
        self.seen += usize::from(concerned);
        let now = concerned && self.seen == honest + 1;
        let replaced = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(payload);
            assert!(text.contains(from), "no {from} in {text}");
            text.replacen(from, to, 1).into_bytes()
        };
        match self.fault.filter(|_| now) {
            None if self.fault == Some(Fault::Shift) && has(r#""seq":"#) && !has(r#""ref":"#) => {
                encode_from_server(opcode, &replaced(r#""seq":"#, r#""seq":100"#), out);
            }
            None => encode_from_server(opcode, payload, out),
            Some(Fault::Drop | Fault::DropLast | Fault::NoAck | Fault::Shift | Fault::NoMetrics) => {}
            Some(Fault::Double | Fault::AckTwice) => {
                encode_from_server(opcode, payload, out);
                encode_from_server(opcode, payload, out);
            }
            Some(Fault::Swap) => self.held = Some(payload.to_vec()),
            Some(Fault::Alter) => {
                let text = String::from_utf8_lossy(payload).replace(r#""text":"sender"#, r#""text":"Sender"#);
                encode_from_server(opcode, text.as_bytes(), out);
            }
            Some(Fault::AckElsewhere) => {
                encode_from_server(opcode, &replaced(r#""seq":"#, r#""seq":9"#), out);
            }
            Some(Fault::DoubleLast) => {
                encode_from_server(opcode, payload, out);
                self.late = Some((Instant::now() + LATE, out.clone()));
            }
            Some(Fault::Body) => encode_from_server(opcode, &replaced("xxxx", "yyyy"), out),
            Some(Fault::User) => {
                encode_from_server(
                    opcode,
                    &replaced(r#""user":{"id":"bench"#, r#""user":{"id":"bunch"#),
                    out,
                );
            }
            Some(Fault::Room) => encode_from_server(opcode, &replaced(r#""room":"0"#, r#""room":"1"#), out),
            Some(Fault::Refuse) => {
                encode_from_server(
                    opcode,
                    &replaced(r#""type":"ok""#, r#""type":"error","code":"forbidden""#),
                    out,
                );
            }
            Some(Fault::OldPage) => {
                let mut page: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
                page["entries"] = serde_json::json!([]);
                encode_from_server(opcode, page.to_string().as_bytes(), out);
            }
        }
        if !now
            && concerned
            && let Some(held) = self.held.take()
        {
            encode_from_server(TEXT, &held, out);
        }
    }
}

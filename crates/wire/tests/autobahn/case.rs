//! A case: what the client writes, what it must get, how the connection must end.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use hubbub_wire::ws::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::echo;

pub const LIMITS: Limits = Limits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20 };

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame from the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(40)];
        write!(f, "opcode {} of {} bytes \"{}\"", self.opcode, self.payload.len(), shown.escape_ascii())
    }
}

/// How a connection must end.
#[derive(Debug, Clone)]
pub enum End {
    /// When all expected came, the client closes with 1000 and gets it back.
    Clean,
    /// The client's own close, among what it wrote, comes back with this payload.
    Echoed(Vec<u8>),
    /// The server closes with this code.
    Failed(u16),
}

pub struct Case {
    pub number: String,
    pub writes: Vec<Vec<u8>>,
    pub expected: Vec<Frame>,
    pub end: End,
}

impl Case {
    /// `frames` go out in one write.
    pub fn new(number: impl Into<String>, frames: &[Vec<u8>], expected: &[(u8, &[u8])], end: End) -> Self {
        let expected =
            expected.iter().map(|(opcode, p)| Frame { opcode: *opcode, payload: p.to_vec() }).collect();
        Self { number: number.into(), writes: vec![frames.concat()], expected, end }
    }

    /// The same in writes of up to `size` bytes.
    pub fn chopped(mut self, size: usize) -> Self {
        self.writes = self.writes.concat().chunks(size).map(<[u8]>::to_vec).collect();
        self
    }

    /// The same with these writes.
    pub fn in_writes(mut self, writes: &[Vec<u8>]) -> Self {
        self.writes = writes.to_vec();
        self
    }
}

/// A whole frame of a client.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(0x80 | opcode, payload)
}

/// A frame that is not its message's last.
pub fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(opcode, payload)
}

/// A frame with these reserved bits (1 to 7).
pub fn reserved(bits: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(0x80 | bits << 4 | opcode, payload)
}

pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5A, 0x00, 0xC3, 0x99];
    let mut out = vec![first];
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        middle @ ..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

/// Runs every case on a connection of its own; panics with a line for each that went wrong.
pub async fn run(cases: Vec<Case>) {
    let address = echo::start(LIMITS).await;
    let mut failures = String::new();
    for case in cases {
        let mut seen = Vec::new();
        let ended = timeout(Duration::from_secs(20), play(address, &case, &mut seen)).await;
        let verdict = ended.unwrap_or_else(|_| Err("did not end in 20 s".into()));
        if let Err(why) = verdict {
            let _ = writeln!(
                failures,
                "{}: {why}; expected {:?}, {:?}; saw {seen:?}",
                case.number, case.expected, case.end
            );
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

async fn play(address: SocketAddr, case: &Case, seen: &mut Vec<Frame>) -> Result<(), String> {
    let (mut reader, mut writer) = connect(address).await?.into_split();
    let write = async {
        for bytes in &case.writes {
            // A server that has failed the connection no longer reads: what it sent is still to be seen.
            if writer.write_all(bytes).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        while seen.len() < case.expected.len() {
            match read_frame(&mut reader).await? {
                Some(frame) => seen.push(frame),
                None => return Err(String::from("the socket closed early")),
            }
        }
        Ok(())
    };
    let (read, ()) = tokio::join!(read, write);
    read?;
    if *seen != case.expected {
        return Err("wrong frames".into());
    }
    finish(&mut reader, &mut writer, case, seen).await
}

async fn finish(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    case: &Case,
    seen: &mut Vec<Frame>,
) -> Result<(), String> {
    if matches!(case.end, End::Clean) {
        writer.write_all(&close(1000, b"")).await.map_err(|error| error.to_string())?;
    }
    let last = read_frame(reader).await?.ok_or("the socket closed without a close frame")?;
    seen.push(last.clone());
    let code = last.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
    let right = last.opcode == CLOSE
        && match &case.end {
            End::Clean => last.payload == 1000_u16.to_be_bytes(),
            End::Echoed(payload) => last.payload == *payload,
            End::Failed(expected) => code == Some(*expected),
        };
    if !right {
        return Err("wrong end".into());
    }
    match read_frame(reader).await? {
        None => Ok(()),
        Some(frame) => {
            seen.push(frame);
            Err("a frame after the close".into())
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(address).await.map_err(text)?;
    socket.set_nodelay(true).map_err(text)?;
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.map_err(text)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.map_err(text)?);
    }
    let head = String::from_utf8_lossy(&head);
    match head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        true => Ok(socket),
        false => Err(format!("not upgraded: {head}")),
    }
}

/// The next frame, which must be whole and unmasked; `None` when the server closed its side between frames.
async fn read_frame(reader: &mut OwnedReadHalf) -> Result<Option<Frame>, String> {
    let text = |error: std::io::Error| error.to_string();
    let first = match reader.read_u8().await {
        Ok(first) => first,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(text(error)),
    };
    let len = match reader.read_u8().await.map_err(text)? {
        126 => u64::from(reader.read_u16().await.map_err(text)?),
        127 => reader.read_u64().await.map_err(text)?,
        short => u64::from(short),
    };
    if first & 0xF0 != 0x80 || len > 1 << 24 {
        return Err(format!("a frame begins with {first:#x} and has {len} bytes"));
    }
    let mut payload = vec![0; usize::try_from(len).map_err(|error| error.to_string())?];
    reader.read_exact(&mut payload).await.map_err(text)?;
    Ok(Some(Frame { opcode: first & 0x0F, payload }))
}

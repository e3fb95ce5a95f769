//! The reading side of a connection: one buffer for all connections of a thread, frames parsed in place.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

use super::frame::{BadFrame, Frame, split};

const SHARED_BYTES: usize = 64 * 1_024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; SHARED_BYTES].into_boxed_slice());
}

/// Cuts a stream of bytes into frames; holds only what is not whole yet.
#[derive(Debug, Default)]
pub struct FrameReader {
    tail: Vec<u8>,
}

impl FrameReader {
    /// Gives every frame that is whole with `data` to `on`. `data` is unmasked where it lies.
    pub fn feed<E: From<BadFrame>>(
        &mut self,
        data: &mut [u8],
        on: &mut impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.tail.is_empty() {
            let used = each(data, on)?;
            self.tail.extend_from_slice(&data[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.tail);
        joined.extend_from_slice(data);
        let used = each(&mut joined, on)?;
        if used < joined.len() {
            joined.drain(..used);
            self.tail = joined;
        }
        Ok(())
    }
}

fn each<E: From<BadFrame>>(
    buffer: &mut [u8],
    on: &mut impl FnMut(Frame<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let mut at = 0;
    while let Some((frame, used)) = split(&mut buffer[at..])? {
        on(frame)?;
        at += used;
    }
    Ok(at)
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf,
    frames: FrameReader,
    behind_handshake: bool,
}

impl Reader {
    /// A reader that begins with what came behind the handshake.
    pub fn new(half: OwnedReadHalf, behind_handshake: Vec<u8>) -> Self {
        let behind = !behind_handshake.is_empty();
        Self { half, frames: FrameReader { tail: behind_handshake }, behind_handshake: behind }
    }

    /// Waits until something came, reads once, and gives every whole frame to `on`, which must not read itself.
    /// False at the end of the stream.
    pub async fn turn(
        &mut self,
        mut on: impl FnMut(Frame<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        if std::mem::take(&mut self.behind_handshake) {
            self.frames.feed(&mut [], &mut on)?;
            return Ok(true);
        }
        std::future::poll_fn(|context| {
            SHARED.with_borrow_mut(|shared| {
                let mut buffer = ReadBuf::new(shared);
                ready!(Pin::new(&mut self.half).poll_read(context, &mut buffer))?;
                let filled = buffer.filled_mut();
                if filled.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.frames.feed(filled, &mut on)?;
                Poll::Ready(Ok(true))
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{TEXT, encode_from_client};
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let mut stream = Vec::new();
        for len in [0_usize, 5, 200, 130] {
            encode_from_client(TEXT, &vec![len as u8; len], &mut stream);
        }
        for step in [1, 2, 3, 7, 64, 10_000] {
            let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
            for piece in stream.clone().chunks_mut(step) {
                reader
                    .feed(piece, &mut |frame| {
                        seen.push(frame.payload.to_vec());
                        Ok::<(), BadFrame>(())
                    })
                    .expect("good frames");
            }
            assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [0, 5, 200, 130], "in steps of {step}");
            assert!(reader.tail.is_empty());
        }
    }
}

//! The opening handshake, from both sides.

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Any 16 bytes do: the key keeps caches honest, and there are none on a loopback.
const KEY: &str = "aHViYnViLWJlbmNoLWtleQ==";

/// Asks for a WebSocket at `path`. Gives back what the server sent after its answer.
pub async fn ask(stream: &mut TcpStream, host: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut bytes, head) = read_head(stream).await?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&bytes[..head])?;
    ensure!(response.code == Some(101), "no upgrade: {}", String::from_utf8_lossy(&bytes).trim_end());
    let accept = header(response.headers, "sec-websocket-accept").context("no Sec-WebSocket-Accept")?;
    ensure!(accept == answer_to(KEY.as_bytes()).as_bytes(), "a wrong Sec-WebSocket-Accept");
    Ok(bytes.split_off(head))
}

/// Takes a client's request. Gives back what the client sent after it.
pub async fn answer(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let (mut bytes, head) = read_head(stream).await?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&bytes[..head])?;
    let key = header(request.headers, "sec-websocket-key").context("no Sec-WebSocket-Key")?;
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        answer_to(key)
    );
    stream.write_all(response.as_bytes()).await?;
    Ok(bytes.split_off(head))
}

async fn read_head(stream: &mut TcpStream) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            return Ok((bytes, at + 4));
        }
        ensure!(bytes.len() < HEAD_BYTES_MAX, "a head of more than {HEAD_BYTES_MAX} bytes");
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("closed within the handshake");
        }
    }
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn answer_to(key: &[u8]) -> String {
    let mut sha = Sha1::new();
    sha.update(key);
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha.finalize())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(super::answer_to(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

//! An echo server that treats its socket as the gateway does: hyper for the upgrade, then the bare socket,
//! one read buffer, our codec.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;

use hubbub_wire::ws::{Decoder, Event, Limits, encode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Answers waiting to be written, from where on the decoder is stopped until they are.
const OUT_BYTES_MAX: usize = 64 * 1_024;

/// Serves on a port of its own until the runtime ends.
pub async fn start(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, limits));
        }
    });
    address
}

async fn serve(socket: TcpStream, limits: Limits) {
    let upgrade = service_fn(|mut request: Request<Incoming>| async move {
        let (response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request)?;
        tokio::spawn(async move {
            // The client may go away at any time; the test sees what it has seen until then.
            if let Ok(upgraded) = upgraded.await
                && let Ok(parts) = upgraded.into_inner().into_inner().downcast::<TokioIo<TcpStream>>()
            {
                let _ = echo(parts.io.into_inner(), &parts.read_buf, limits).await;
            }
        });
        Ok::<_, fastwebsockets::WebSocketError>(response)
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), upgrade).with_upgrades().await;
}

async fn echo(mut socket: TcpStream, first: &[u8], limits: Limits) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 64 * 1_024];
    let mut out = Vec::new();
    let mut have = first.len();
    buffer[..have].copy_from_slice(first);
    loop {
        let mut closed = false;
        let fed = decoder.feed(limits, &mut buffer[..have], |event| {
            match event {
                Event::Text(text) => encode::append_text(&mut out, &[text.as_bytes()]),
                Event::Binary(bytes) => encode::append(&mut out, hubbub_wire::ws::Opcode::Binary, &[bytes]),
                Event::Ping(payload) => encode::append_pong(&mut out, payload),
                Event::Pong(_) => {}
                Event::Close(close) => {
                    closed = true;
                    match close {
                        Some((code, reason)) => encode::append_close(&mut out, code, reason),
                        None => encode::append_close_empty(&mut out),
                    }
                }
            }
            if out.len() >= OUT_BYTES_MAX { Break(()) } else { Continue(()) }
        });
        if let Err(violation) = fed {
            encode::append_close(&mut out, violation.close_code(), &violation.to_string());
            closed = true;
        }
        socket.write_all(&out).await?;
        out.clear();
        if closed {
            return finish(socket, &mut buffer).await;
        }
        have = match fed {
            Ok(Break(())) => 0,
            _ => match socket.read(&mut buffer).await? {
                0 => return Ok(()),
                n => n,
            },
        };
    }
}

/// Closes our side, then waits for the client's: to close a socket with unread bytes is to reset it, and a
/// reset can overtake the close frame.
async fn finish(mut socket: TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    socket.shutdown().await?;
    let drain = async {
        while socket.read(buffer).await? > 0 {}
        Ok(())
    };
    timeout(Duration::from_secs(1), drain).await.unwrap_or(Ok(()))
}

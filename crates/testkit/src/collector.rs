//! A collector of traces, as an operator would have one.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::eventually;

/// A span as it was exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What made it.
    pub service: String,
    /// Which process of that.
    pub instance: String,
    /// What it is called.
    pub name: String,
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// What it is part of; empty for nothing.
    pub parent: String,
    /// Begin and end, in Unix nanoseconds.
    pub time: (u64, u64),
    /// What it says of itself.
    pub tags: HashMap<String, String>,
    /// Whether it is one in error.
    pub is_error: bool,
}

/// Takes spans by OTLP over HTTP, until it is dropped.
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    _over: DropGuard,
}

impl Collector {
    /// Listens.
    ///
    /// # Errors
    /// The system's.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, over) = (listener.local_addr()?, CancellationToken::new());
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let (to, until) = (spans.clone(), over.clone());
        tokio::spawn(until.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve(stream, to.clone());
                tokio::spawn(until.clone().run_until_cancelled_owned(async {
                    if let Err(error) = serve.await {
                        eprintln!("the collector was sent what it can't take: {error:#}");
                    }
                }));
            }
        }));
        Ok(Self { address, spans, _over: over.drop_guard() })
    }

    /// The setting that has spans sent here.
    pub fn flag(&self) -> String {
        format!("--otel-exporter-otlp-endpoint=http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.spans).clone()
    }

    /// Waits for so many spans of this name, and gives all of their traces.
    ///
    /// # Panics
    /// When they don't come.
    pub async fn traces_of(&self, name: &str, count: usize) -> Vec<Vec<Span>> {
        let found = async || {
            let all = self.spans();
            let of_name: Vec<_> = all.iter().filter(|span| span.name == name).collect();
            let trace =
                |of: &&Span| all.iter().filter(|span| span.trace == of.trace).cloned().collect::<Vec<_>>();
            (of_name.len() >= count).then(|| of_name.iter().map(trace).collect())
        };
        eventually(&format!("{count} spans {name}"), found).await
    }
}

fn lock(spans: &Mutex<Vec<Span>>) -> MutexGuard<'_, Vec<Span>> {
    spans.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one request after the other, by hand: a test should see what a plain server is sent.
async fn serve(stream: TcpStream, spans: Arc<Mutex<Vec<Span>>>) -> anyhow::Result<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = head.to_ascii_lowercase();
        ensure!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        ensure!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.context("no length")?.trim().parse()?];
        stream.read_exact(&mut body).await?;
        let sent = ExportTraceServiceRequest::decode(&*body)?;
        lock(&spans).extend(read(sent));
        // An empty message: all was taken.
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        stream.flush().await?;
    }
}

fn read(sent: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_process in sent.resource_spans {
        let resource = tags(of_process.resource.map(|resource| resource.attributes).unwrap_or_default());
        let of = |key| resource.get(key).cloned().unwrap_or_default();
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: of("service.name"),
                instance: of("service.instance.id"),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
                tags: tags(span.attributes),
                is_error: span.status.is_some_and(|status| status.code == StatusCode::Error as i32),
            });
        }
    }
    spans
}

fn tags(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|tag| (tag.key, text(tag.value.and_then(|value| value.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

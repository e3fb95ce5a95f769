//! Spans on their way to a collector, by OTLP over HTTP. Nobody waits for it: a span that ends is put into a bounded queue, and
//! a task of its own sends what is there. While the collector is away spans are lost and counted; the log says so once.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use metrics::{Unit, counter, describe_counter};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Sampling, TRACING, Tracing};
use crate::build_info;

/// Spans by what became of them.
const SPANS: &str = "hubbub_trace_spans_total";
/// Spans that wait to be sent; beyond it they are dropped.
const WAITING_MAX: usize = 8_192;
/// Spans of one request.
const BATCH_MAX: usize = 512;
/// For how long spans are gathered. The queue holds what 40,000 a second are in that time.
const GATHER: Duration = Duration::from_millis(200);
/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
/// How long the last spans may take at the end of the process.
const END_MAX: Duration = Duration::from_secs(2);

/// Where spans go, and which are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The collector's address for traces.
    pub endpoint: String,
    /// What this process is called there.
    pub service: String,
    /// Which actions that come in here are traced, with the ratio if it has one.
    pub sampling: (Sampling, f64),
}

/// Why traces can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No certificate to trust a collector by.
    #[error("traces can't be exported by https: {0}")]
    Tls(#[from] io::Error),
    /// What the environment says of OTLP does not fit.
    #[error("traces can't be exported: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// They are already.
    #[error("traces were started before")]
    Twice,
}

/// The task that sends spans.
pub struct Exporting {
    task: JoinHandle<()>,
    end: CancellationToken,
}

impl Exporting {
    /// Makes spans from now on. To be called once, in a runtime.
    ///
    /// # Errors
    /// When there is no way to the collector; whether it is there is not asked.
    pub fn start(options: &Options) -> Result<Self, TraceError> {
        describe_counter!(SPANS, Unit::Count, "spans of traces, by what became of them");
        let resource = Resource::builder()
            .with_service_name(options.service.clone())
            .with_attribute(KeyValue::new("service.version", build_info::VERSION))
            // Another one at every start.
            .with_attribute(KeyValue::new(
                "service.instance.id",
                RandomIdGenerator::default().new_trace_id().to_string(),
            ))
            .build();
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(&options.endpoint)
            .with_protocol(Protocol::HttpBinary)
            // A retry would hold the queue up, and its pause this thread.
            .with_retry_policy(RetryPolicy::disabled())
            .with_shared_http_client(client(&options.endpoint)?)
            .build()?;
        exporter.set_resource(&resource);
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let provider = SdkTracerProvider::builder()
            // Asked before there is a span.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource)
            .with_span_processor(Queue(queue))
            .build();
        let (sampling, ratio) = options.sampling;
        let tracing = Tracing { tracer: provider.tracer("hubbub"), sampler: sampling.sampler(ratio) };
        TRACING.set(tracing).map_err(|_| TraceError::Twice)?;
        let end = CancellationToken::new();
        let task = tokio::spawn(send_all(exporter, waiting, end.clone()));
        Ok(Self { task, end })
    }

    /// Sends what waits, for at most 2 s.
    pub async fn end(self) {
        self.end.cancel();
        if timeout(END_MAX, self.task).await.is_err() {
            tracing::warn!("the last spans of traces were not exported in time");
        }
    }
}

/// Where spans wait.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _parent: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            counter!(SPANS, "outcome" => "dropped").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans until the end, and then those that still wait.
async fn send_all(
    exporter: impl SpanExporter,
    mut waiting: mpsc::Receiver<SpanData>,
    end: CancellationToken,
) {
    let mut is_away = false;
    loop {
        let first = end.run_until_cancelled(waiting.recv()).await.flatten();
        let Some(first) = first.or_else(|| waiting.try_recv().ok()) else { return };
        _ = end.run_until_cancelled(sleep(GATHER)).await;
        let mut batch = vec![first];
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(span) = waiting.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                break;
            }
            let is_full = batch.len() == BATCH_MAX;
            send(&exporter, std::mem::take(&mut batch), &mut is_away).await;
            if !is_full {
                break;
            }
        }
    }
}

async fn send(exporter: &impl SpanExporter, batch: Vec<SpanData>, is_away: &mut bool) {
    let count = batch.len() as u64;
    match exporter.export(batch).await {
        Ok(()) => {
            counter!(SPANS, "outcome" => "exported").increment(count);
            if std::mem::replace(is_away, false) {
                tracing::info!("spans of traces are exported again");
            }
        }
        Err(error) => {
            counter!(SPANS, "outcome" => "failed").increment(count);
            if !std::mem::replace(is_away, true) {
                tracing::warn!(%error, "spans of traces can't be exported and are lost");
            }
        }
    }
}

/// Calls the collector.
#[derive(Debug)]
struct Collector<C>(Client<C, Full<Bytes>>);

fn client(endpoint: &str) -> io::Result<Arc<dyn HttpClient>> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    Ok(if endpoint.starts_with("https:") {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        Arc::new(Collector(builder.build(tls.https_only().enable_http1().build())))
    } else {
        Arc::new(Collector(builder.build(HttpConnector::new())))
    })
}

#[async_trait]
impl<C> HttpClient for Collector<C>
where
    C: Connect + Clone + Debug + Send + Sync + 'static,
{
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let (head, body) = self.0.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        timeout(REQUEST_MAX, exchange).await?
    }
}

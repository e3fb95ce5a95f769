//! Traces: what became of an action, from the client's request over the bus to the commit and the first delivery, as spans that
//! a collector gets by OTLP ([`export`]).
//!
//! # What it costs
//! Without a collector, and for what the sampler does not want, a [`Span`] is a null pointer. The sampler is asked once, where
//! an action comes in; from there on only sampled actions carry a [`TraceContext`], and only they make spans.
//!
//! Spans are OpenTelemetry's own and not those of the crate `tracing`, which are made before anybody can say that they are
//! not wanted; and a step of the worker's loop, which is begun for one action among many and ended rounds later, is no scope of any code.
//! For the lines of the log there is [`enter`].

use std::cell::Cell;
use std::fmt::Display;
use std::future::Future;
use std::num::{NonZeroU64, NonZeroU128};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{self, Poll};

use futures_util::future::Either;
use hubbub_core::code::Code;
use hubbub_core::trace::TraceContext;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, SdkTracer, ShouldSample,
};

pub mod export;
mod sampling;

pub use opentelemetry::trace::SpanKind;
pub use sampling::Sampling;

/// Set once, if there is a collector.
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    tracer: SdkTracer,
    sampler: Sampler,
}

/// A part of a trace, as long as it lives: it ends when it is dropped. Nearly always none.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// The first one here of something that a client wants, if the sampler wants it. `told` is what the client says of a trace of
    /// its own: whoever sends may say anything, so it is the sampler's to heed it.
    pub fn first(name: &'static str, told: Option<TraceContext>) -> Self {
        match TRACING.get() {
            Some(tracing) => tracing.first(name, told),
            None => Self::default(),
        }
    }

    /// A part of a trace that was sampled where it began.
    pub fn part_of(trace: TraceContext, name: &'static str, kind: SpanKind) -> Self {
        TRACING.get().map_or_else(Self::default, |tracing| tracing.begin(name, kind, &outside(trace)))
    }

    /// What is to be carried to whatever is a part of this one; `None` if it is none.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?.span_context();
        Some(TraceContext {
            trace: NonZeroU128::new(u128::from_be_bytes(context.trace_id().to_bytes()))?,
            span: NonZeroU64::new(u64::from_be_bytes(context.span_id().to_bytes()))?,
            sampled: context.is_sampled(),
        })
    }

    /// Says what it is about.
    pub fn tag(&mut self, key: &'static str, value: &impl Display) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value.to_string()));
        }
    }

    /// It was not done. The span is one in error if that is nothing that the client could do better.
    pub fn fail(&mut self, why: Code) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", why.as_str()));
            if why.http_status() >= 500 {
                span.set_status(Status::error(why.as_str()));
            }
        }
    }
}

impl Tracing {
    fn first(&self, name: &'static str, told: Option<TraceContext>) -> Span {
        let parent = told.map_or_else(Context::new, outside);
        let trace = told.map(|told| TraceId::from(told.trace.get()));
        let trace = trace.unwrap_or_else(|| RandomIdGenerator::default().new_trace_id());
        let asked = self.sampler.should_sample(Some(&parent), trace, name, &SpanKind::Server, &[], &[]);
        match asked.decision {
            SamplingDecision::RecordAndSample => self.begin(name, SpanKind::Server, &parent),
            SamplingDecision::Drop | SamplingDecision::RecordOnly => Span::default(),
        }
    }

    fn begin(&self, name: &'static str, kind: SpanKind, parent: &Context) -> Span {
        let span = self.tracer.span_builder(name).with_kind(kind);
        Span(Some(Box::new(span.start_with_context(&self.tracer, parent))))
    }
}

fn outside(trace: TraceContext) -> Context {
    let flags = TraceFlags::default().with_sampled(trace.sampled);
    let (id, span) = (TraceId::from(trace.trace.get()), SpanId::from(trace.span.get()));
    Context::new().with_remote_span_context(SpanContext::new(id, span, flags, true, TraceState::NONE))
}

thread_local! {
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// The trace that what this thread logs now is part of.
pub fn current() -> Option<TraceContext> {
    CURRENT.get()
}

/// Until it is dropped, what this thread logs is part of a trace.
#[must_use]
pub struct Entered {
    before: Option<TraceContext>,
    /// Of this thread.
    _stays: std::marker::PhantomData<*const ()>,
}

/// Makes what this thread logs part of the trace, if there is one.
pub fn enter(trace: Option<TraceContext>) -> Option<Entered> {
    let trace = trace?;
    Some(Entered { before: CURRENT.replace(Some(trace)), _stays: std::marker::PhantomData })
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Makes what a future logs part of the trace, if there is one. A future without one is as large as before.
///
/// # Cancel safety
/// That of the future.
pub fn within<F: Future>(trace: Option<TraceContext>, future: F) -> Either<F, Within<F>> {
    match trace {
        None => Either::Left(future),
        Some(trace) => Either::Right(Within { trace, future: Box::pin(future) }),
    }
}

/// A future that is part of a trace.
pub struct Within<F> {
    trace: TraceContext,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let _entered = enter(Some(self.trace));
        self.future.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    const TOLD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracing(sampling: Sampling, ratio: f64) -> Tracing {
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).build();
        Tracing { tracer: provider.tracer("test"), sampler: sampling.sampler(ratio) }
    }

    #[test]
    fn the_sampler_decides_where_an_action_comes_in() {
        let sampled = TraceContext::parse(TOLD);
        let unsampled = sampled.map(|told| TraceContext { sampled: false, ..told });
        for (sampling, ratio, of_none, of_sampled, of_unsampled) in [
            (Sampling::AlwaysOn, 0.0, true, true, true),
            (Sampling::AlwaysOff, 1.0, false, false, false),
            (Sampling::TraceIdRatio, 1.0, true, true, true),
            (Sampling::TraceIdRatio, 0.0, false, false, false),
            (Sampling::ParentBasedAlwaysOn, 0.0, true, true, false),
            (Sampling::ParentBasedAlwaysOff, 1.0, false, true, false),
            (Sampling::ParentBasedTraceIdRatio, 1.0, true, true, false),
            (Sampling::ParentBasedTraceIdRatio, 0.0, false, true, false),
        ] {
            let tracing = tracing(sampling, ratio);
            let is_made = |told| tracing.first("send", told).context().is_some();
            let made = (is_made(None), is_made(sampled), is_made(unsampled));
            assert_eq!(made, (of_none, of_sampled, of_unsampled), "{sampling:?} {ratio}");
        }
        let half = tracing(Sampling::TraceIdRatio, 0.5);
        let made = (0..1_000).filter(|_| half.first("send", None).context().is_some()).count();
        assert!((300..700).contains(&made), "{made} of 1,000 at a ratio of 0.5");
    }

    #[test]
    fn a_part_is_of_the_trace_of_what_it_is_part_of() {
        let tracing = tracing(Sampling::AlwaysOn, 1.0);
        let told = TraceContext::parse(TOLD).unwrap();
        let send = tracing.first("send", Some(told)).context().unwrap();
        let act = tracing.begin("act", SpanKind::Server, &outside(send)).context().unwrap();
        assert_eq!((send.trace, act.trace), (told.trace, told.trace));
        assert!(send.span != told.span && act.span != send.span && act.sampled);
        let other = tracing.first("send", None).context().unwrap();
        assert_ne!(other.trace, told.trace);
    }

    #[tokio::test]
    async fn what_is_done_within_a_trace_says_so_and_nothing_else_does() {
        let trace = TraceContext::parse(TOLD);
        let seen = within(trace, async {
            let first = current();
            // Another task has its turn meanwhile.
            tokio::spawn(async { assert_eq!(current(), None) }).await.unwrap();
            (first, current())
        })
        .await;
        assert_eq!((seen, current()), ((trace, trace), None));
        assert_eq!(within(None, async { current() }).await, None);
    }
}

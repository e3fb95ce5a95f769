//! Traces as headers of NATS: a `traceparent` each, as any other program that traces over NATS reads and writes them.

use async_nats::HeaderMap;
use hubbub_core::trace::TraceContext;

/// The headers of a message that is part of these traces.
pub(super) fn write(traces: &[TraceContext]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for trace in traces {
        headers.append(TraceContext::HEADER, trace.to_string());
    }
    headers
}

/// The sampled traces that headers name. What can't be read is none.
pub(super) fn read(headers: &HeaderMap) -> Vec<TraceContext> {
    let traces =
        headers.get_all(TraceContext::HEADER).filter_map(|value| TraceContext::parse(value.as_str()));
    traces.filter(|trace| trace.sampled).collect()
}

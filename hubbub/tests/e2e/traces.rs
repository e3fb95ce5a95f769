//! Traces: what an operator's collector is sent of an action, and what the log says with it.

use hubbub_testkit::{Collector, Hubbub, Person, Span, eventually, request_with};
use serde_json::json;

use crate::common::{Room, connect, program, server};

const TOLD: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");

/// The one span of this name.
fn span<'a>(trace: &'a [Span], name: &str) -> &'a Span {
    let mut found = trace.iter().filter(|span| span.name == name);
    let (Some(span), None) = (found.next(), found.next()) else { panic!("{name} in {trace:#?}") };
    span
}

/// The trace is that of an action from its request to the first delivery, and nothing else.
fn is_whole(trace: &[Span]) {
    let (send, act, deliver) = (span(trace, "send"), span(trace, "act"), span(trace, "deliver"));
    assert_eq!((&act.parent, &deliver.parent), (&send.id, &act.id), "{trace:#?}");
    for step in ["decide", "append", "commit"] {
        assert_eq!(span(trace, step).parent, act.id, "{trace:#?}");
    }
    assert_eq!(trace.len(), 6, "{trace:#?}");
    assert!(trace.iter().all(|span| span.service == "hubbub" && !span.is_error), "{trace:#?}");
    assert!(trace.iter().all(|span| span.time.0 > 0 && span.time.0 <= span.time.1), "{trace:#?}");
    assert_eq!(send.tags["hubbub.room"], act.tags["hubbub.room"]);
    // Nobody is shown what is not in the store, and nobody is told before.
    let in_store = span(trace, "append").time.1;
    assert!(deliver.time.0 >= in_store && act.time.1 >= in_store && send.time.1 >= act.time.1, "{trace:#?}");
}

async fn post(server: &Hubbub, room: &Room, traceparent: &str) -> u16 {
    let headers =
        [("Authorization", format!("Bearer {}", room.ann.token)), ("traceparent", traceparent.into())];
    let path = format!("/v1/chat/rooms/message/{}", room.id);
    let said = json!({"message": "traced"});
    request_with(server.address(), "POST", &path, &headers, Some(&said)).await.unwrap().status
}

#[tokio::test]
async fn an_action_is_one_trace_from_the_request_to_the_first_delivery() {
    let collector = Collector::start().await.unwrap();
    let server = Hubbub::start(program().with(&collector.flag())).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let _hears = connect(&bob).await;
    room.send_many(3).await;
    let traces = eventually("the traces", async || {
        let traces = collector.traces_of("send", 3).await;
        traces.iter().all(|trace| trace.len() >= 6).then_some(traces)
    })
    .await;
    traces.iter().for_each(|trace| is_whole(trace));
    let seqs: Vec<_> = traces.iter().map(|trace| &*span(trace, "act").tags["hubbub.seq"]).collect();
    assert_eq!(seqs, ["3", "4", "5"]);

    // A refusal is no error of ours, and makes no entry.
    let cyd = connect(&Person::register(&server, "cyd").await.unwrap()).await;
    cyd.send_text(&room.id, "not a member", None).await.unwrap_err();
    let refused = eventually("the refusal", async || {
        let traces = collector.traces_of("send", 4).await;
        traces.into_iter().find(|trace| trace.iter().any(|span| span.tags.contains_key("error.type")))
    })
    .await;
    assert_eq!(span(&refused, "send").tags["error.type"], "not_member");
    assert!(refused.iter().all(|span| !span.is_error), "{refused:#?}");

    // A client's own trace goes on here; what is none begins one.
    let (trace, parent) = TOLD;
    assert_eq!(post(&server, &room, &format!("00-{trace}-{parent}-01")).await, 200);
    let told = eventually("the client's trace", async || {
        let told: Vec<_> = collector.spans().into_iter().filter(|span| span.trace == trace).collect();
        (told.len() >= 6).then_some(told)
    })
    .await;
    is_whole(&told);
    assert_eq!(span(&told, "send").parent, parent);
    for odd in ["00-nonsense", &"0".repeat(4_000), &format!("00-{trace}-{}-01", "0".repeat(16))] {
        assert_eq!(post(&server, &room, odd).await, 200);
    }
    let begun = collector.traces_of("send", 8).await;
    assert_eq!(begun.iter().filter(|of| span(of, "send").parent.is_empty()).count(), 7, "{begun:#?}");
    assert!(server.metric("hubbub_trace_spans_total").await.unwrap() > 0.0);
}

#[tokio::test]
async fn what_is_not_sampled_makes_no_span_and_the_rest_is_sent_at_the_end() {
    let collector = Collector::start().await.unwrap();
    let sampler = "--otel-traces-sampler=parentbased_always_off";
    let mut server = Hubbub::start(program().with(&collector.flag()).with(sampler)).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    room.send_many(20).await;
    let (trace, parent) = TOLD;
    assert_eq!(post(&server, &room, &format!("00-{trace}-{parent}-00")).await, 200);
    assert_eq!(post(&server, &room, &format!("00-{trace}-{parent}-01")).await, 200);
    // Whatever waits then is sent before the process ends.
    assert!(server.terminate().await.unwrap().success());
    let spans = collector.spans();
    assert_eq!(span(&spans, "send").parent, parent, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:#?}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let nobody = format!("--otel-exporter-otlp-endpoint=http://127.0.0.1:{}", Hubbub::free_port().unwrap());
    let mut server = Hubbub::start(program().with(&nobody)).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    room.send_many(20).await;
    let lost = async || (server.metric("hubbub_trace_spans_total").await.ok()? >= 100.0).then_some(());
    eventually("lost spans are counted", lost).await;
    room.send_many(20).await;
    assert!(server.terminate().await.unwrap().success());
    let log = server.log();
    assert_eq!(log.matches("spans of traces can't be exported").count(), 1, "{log}");
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    assert_eq!(post(&server, &room, &format!("00-{}-{}-01", TOLD.0, TOLD.1)).await, 200);
    assert!(server.metric("hubbub_trace_spans_total").await.is_err());
}

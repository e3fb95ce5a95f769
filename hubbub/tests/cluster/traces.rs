//! One trace over the processes of a cluster, by what goes over NATS.

use std::collections::BTreeSet;

use hubbub_testkit::{Collector, Person, Plan, Span, eventually};

use crate::world::{Quiet, plan};

fn of_name<'a>(trace: &'a [Span], name: &str) -> Vec<&'a Span> {
    trace.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn a_message_is_one_trace_over_the_gateways_and_the_worker() {
    let collector = Collector::start().await.unwrap();
    let mut plan = Plan { workers: 1, histories: 1, ..plan().await };
    plan.gateway_flags.push(collector.flag());
    plan.worker_flags.push(collector.flag());
    let quiet = Quiet::of(plan).await;
    let [here, there] = &quiet.cluster.gateways[..] else { panic!("two gateways") };
    let ann = Person::register(here, "ann").await.unwrap();
    let bob = Person::register(there, "bob").await.unwrap();
    let (anns, _ann_hears) = ann.connect().await.unwrap();
    let (bobs, _bob_hears) = bob.connect().await.unwrap();
    let room = anns.create("tea", "").await.unwrap().id;
    bobs.join(&room).await.unwrap();
    anns.send_text(&room, "hello", None).await.unwrap();
    let trace = eventually("the trace", async || {
        let trace = collector.traces_of("send", 1).await.remove(0);
        (trace.len() >= 7).then_some(trace)
    })
    .await;
    let ([send], [act]) = (&of_name(&trace, "send")[..], &of_name(&trace, "act")[..]) else {
        panic!("{trace:#?}")
    };
    let deliveries = of_name(&trace, "deliver");
    assert_eq!((&*send.service, &*act.service), ("hubbub-gateway", "hubbub-room-worker"));
    assert_eq!(act.parent, send.id);
    for step in ["decide", "append", "commit"] {
        let steps: Vec<_> = of_name(&trace, step).iter().map(|s| (&s.parent, &s.instance)).collect();
        assert_eq!(steps, [(&act.id, &act.instance)], "{step}: {trace:#?}");
    }
    assert!(deliveries.iter().all(|span| span.service == "hubbub-gateway" && span.parent == act.id));
    let at: BTreeSet<_> = deliveries.iter().map(|span| &span.instance).collect();
    assert!(at.len() == 2 && at.contains(&send.instance) && !at.contains(&act.instance), "{trace:#?}");
    assert_eq!(trace.len(), 7, "{trace:#?}");
}

//! What the bus loses between gateways is noticed and made good; what can't be read is passed over.

use std::time::Duration;

use bytes::Bytes;
use hubbub_core::ids::NodeId;
use hubbub_core::ports::bus::{Bus, Subject};

use crate::world::{Watcher, World};

/// No server of the subject answers: it reads nothing in it.
const NO_ANSWER: Duration = Duration::from_millis(500);

#[tokio::test]
async fn lost_changes_settle() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let (ann, bob) = (world.person("ann").await, world.person("bob").await);
    let eve = Watcher::at(&world, &b, &[&ann, &bob]).await;
    a.line.lose(Subject::Presence);
    let ann_here = a.connect(&ann).await;
    a.line.loses_news().await;
    assert!(!b.shows(&eve.person, &eve.room, &ann).await, "b can't know yet");
    a.line.lose_no_more();
    // Nothing more changes: the next sign is what tells.
    b.settles(&eve.person, &eve.room, &ann, true).await;
    a.line.lose(Subject::Presence);
    ann_here.0.close().await;
    a.line.loses_news().await;
    a.line.lose_no_more();
    // The next change tells.
    let _bob = a.connect(&bob).await;
    b.settles(&eve.person, &eve.room, &ann, false).await;
    b.settles(&eve.person, &eve.room, &bob, true).await;
}

#[tokio::test]
async fn a_lost_farewell_is_told_by_one_who_lives() {
    let world = World::start().await;
    let [a, b, c] = world.gateways(["a", "b", "c"]).await;
    let ann = world.person("ann").await;
    let mut eve = Watcher::at(&world, &c, &[&ann]).await;
    let first = a.connect(&ann).await;
    eve.sees(&ann, true).await;
    b.learns(&ann.id, true).await;
    let second = b.connect(&ann).await;
    a.learns(&ann.id, true).await;
    a.line.lose(Subject::Presence);
    b.line.lose(Subject::Presence);
    first.0.close().await;
    second.0.close().await;
    a.line.loses_news().await;
    b.line.loses_news().await;
    a.line.lose_no_more();
    b.line.lose_no_more();
    eve.sees(&ann, false).await;
    c.settles(&eve.person, &eve.room, &ann, false).await;
}

#[tokio::test]
async fn what_cant_be_read_is_passed_over() {
    let world = World::start().await;
    let [a, b] = world.gateways(["a", "b"]).await;
    let ann = world.person("ann").await;
    let eve = Watcher::at(&world, &b, &[&ann]).await;
    for rubbish in [&b""[..], b"\0", b"\xff\xff\xff\xff{}", b"\0\0\0\x02{}", b"\0\0\0\x02[]"] {
        world.bus.publish(&Subject::Presence, Bytes::copy_from_slice(rubbish).into()).unwrap();
        let asked = Subject::Node(NodeId::parse("a").unwrap());
        let answer = world.bus.request(&asked, Bytes::copy_from_slice(rubbish).into(), NO_ANSWER).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    let _ann = a.connect(&ann).await;
    b.settles(&eve.person, &eve.room, &ann, true).await;
}

//! A reader that stops reading is told, and costs the server no memory.

use std::time::Duration;

use hubbub_client::Error;
use hubbub_client::event::Behind;
use hubbub_core::ids::{Key, Seq};
use hubbub_testkit::checker::{self, History, Reader, Seen, Step};
use hubbub_testkit::{Hubbub, Operator, eventually, in_time};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{Room, program, whole_log};
use crate::deaf::Deaf;
use crate::peer::Peer;

const MIB: u64 = 1 << 20;
/// 16 KiB: the longest text that there may be.
const LONG: usize = 4_096;
const STALLED: usize = 12;
/// 32 MiB for each of the stalled ones: the kernel's buffers take some 10 of them, our limit is 256 KiB.
const SENT: usize = 2_000;
/// Half a mebibyte each.
const ASKED: usize = 200;
const DEAF: usize = 24;
/// Empty pings of each: with their answers the kernel's buffers and our limit would be filled.
const PINGED: usize = 250_000;
/// After so many, one after the other, between which the server read nothing, it is taken to read no more.
const LOOKS: usize = 20;
/// What waits for the stalled ones may be 3 MiB; the rest is for what else a server's memory does. Without a limit it
/// would be 250 MiB.
const GROWTH_MAX: u64 = 24 * MIB;

#[tokio::test]
async fn a_reader_that_stops_reading_is_told_and_costs_no_memory() {
    // It is to be told, not to be closed.
    let patient = program().with("--slow-consumer-timeout=1h").with("--heartbeat=1h");
    let server = Hubbub::start(patient).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    // As it is when such messages come and everybody reads.
    flood(&room, 64).await;

    let began_at = room.head().await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(Peer::hello(&bob).await);
    }
    let before = server.resident_bytes().unwrap();
    flood(&room, SENT).await;
    let after = server.resident_bytes().unwrap();
    let growth = after.saturating_sub(before);
    println!("{} MiB for each of {STALLED}; {} MiB more memory", SENT * 16 / 1024, growth / MIB);
    assert!(growth < GROWTH_MAX, "{growth} bytes more than the {before} before");
    let metric = async |name: &str| server.metric(name).await.unwrap();
    let all = async || (metric("hubbub_gateway_slow_connections").await == STALLED as f64).then_some(());
    eventually("all of them are counted as slow", all).await;
    assert!(metric("hubbub_gateway_queue_bytes").await > 0.0);
    assert!(metric("hubbub_gateway_delivery_lag_seconds_count").await > 0.0);

    // One reads again: all that was written before, then what it missed, then the live stream.
    let mut reader = Reader { name: "bob".into(), began_at, to_the_end: true, ..Reader::default() };
    let mut peer = stalled.pop().unwrap();
    let behind = loop {
        let (_, next) = peer.next_step().await;
        reader.steps.push(next.clone());
        if let Step::Behind { after, head } = next {
            break Behind { room: room.id.clone(), after: Seq(after), head: Seq(head) };
        }
    };
    assert!(behind.head.0 - behind.after.0 > 100, "{behind:?}");
    let missed = room.owner.catch_up(&behind).await.unwrap();
    assert_eq!(missed.len() as u64, behind.head.0 - behind.after.0);
    flood(&room, 3).await;
    let log: Vec<Seen> = whole_log(&room.owner, &room.id).await.iter().map(Seen::from).collect();
    let head = log.last().unwrap().seq;
    while !matches!(reader.steps.last(), Some(Step::Entry(seen)) if seen.seq == head) {
        reader.steps.push(peer.next_step().await.1);
    }
    let missed: Vec<Seen> = missed.iter().map(Seen::from).collect();
    assert_eq!(missed, log[behind.after.0 as usize..behind.head.0 as usize], "history fills the gap");
    // Its senders are not judged here: nobody kept what they sent.
    let texts = History {
        log: log.into_iter().map(|seen| Seen { text: None, ..seen }).collect(),
        ..History::default()
    };
    assert_eq!(checker::check(&History { readers: vec![reader], ..texts }), []);

    drop(stalled);
    let none = async || (metric("hubbub_gateway_queue_bytes").await == 0.0).then_some(());
    eventually("nothing waits for those who went", none).await;
    assert_eq!(metric("hubbub_gateway_slow_connections").await, 0.0);
}

#[tokio::test]
async fn one_that_never_reads_again_is_closed() {
    let credential = Operator::new_credential("night-shift");
    let flags = Operator::flags(&credential);
    let program = flags.iter().fold(program(), |program, flag| program.with(flag));
    let server =
        Hubbub::start(program.with("--slow-consumer-timeout=1s").with("--heartbeat=1h")).await.unwrap();
    let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut peer = Peer::hello(&bob).await;
    let connections = async || server.metric("hubbub_gateway_connections").await.unwrap();
    let before = connections().await;
    // It falls behind while we send, or was closed already.
    flood(&room, SENT).await;
    eventually("the slow consumer is closed", async || (connections().await == before - 1.0).then_some(()))
        .await;
    // Whoever asks after that is told who it was.
    let slow = operator.json(&["slow"]).await["connections"].clone();
    assert_eq!((slow.as_array().unwrap().len(), &slow[0]["user"]), (1, &bob.id.as_str().into()), "{slow}");
    assert!(slow[0]["closed_seconds"].is_u64(), "{slow}");
    // What the kernel had taken can still be read, and then the end; a code comes only if there was room for it.
    let ending = peer.ending().await;
    assert!(matches!(ending.code, None | Some(4413)), "{ending:?}");
}

#[tokio::test]
async fn answers_that_nobody_reads_cost_no_memory_either() {
    let server = Hubbub::start(program().with("--heartbeat=1h")).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    flood(&room, 64).await;
    let mut warm = Peer::hello(&bob).await;
    let history =
        json!({"type": "history", "ref": "unread", "room": room.id, "before": 1_000, "limit": 1_000});
    warm.ask(history.clone()).await;

    let before = server.resident_bytes().unwrap();
    let mut peer = Peer::hello(&bob).await;
    // Half a mebibyte an answer. The server stops reading from it, so the last requests stay on their way.
    let (asked, mut asks) = tokio::sync::mpsc::channel(1);
    let asking = tokio::spawn(async move {
        while asks.recv().await.is_some() {
            peer.tell(history.clone()).await
        }
    });
    for _ in 0..ASKED {
        // A refusal to take more is what is hoped for.
        let _ = asked.try_send(());
        // As slowly as they are answered: those that come all at once are held up by another limit.
        let answer = warm.ask(json!({"type": "history", "room": room.id, "before": 3, "limit": 1})).await;
        assert_eq!(answer["type"], "ok");
    }
    let growth = server.resident_bytes().unwrap().saturating_sub(before);
    println!("{} MiB more memory", growth / MIB);
    assert!(growth < GROWTH_MAX, "{growth} bytes more than the {before} before");
    asking.abort();
}

#[tokio::test]
async fn nor_do_the_shortest_answers() {
    let server = Hubbub::start(program().with("--hello-timeout=10m")).await.unwrap();
    let mut warm = Deaf::open(&server).await;
    warm.ping(1, 0).await;
    let before = server.resident_bytes().unwrap();
    let pinging = (0..DEAF).map(async |_| {
        let mut deaf = Deaf::open(&server).await;
        // The server stops reading from it, so the last pings stay on their way.
        deaf.ping(PINGED, 0).await;
        std::future::pending::<()>().await
    });
    let metric = async |name: &str| server.metric(name).await.unwrap();
    let (mut read, mut looks) = (0.0, 0);
    let reads_no_more = async || {
        let before = std::mem::replace(&mut read, metric("hubbub_gateway_frames_in_total").await);
        looks = if read == before { looks + 1 } else { 0 };
        let all_wait = metric("hubbub_gateway_slow_connections").await == DEAF as f64;
        (all_wait && looks > LOOKS).then_some(())
    };
    tokio::select! {
        _ = futures_util::future::join_all(pinging) => unreachable!("they never end"),
        () = eventually("no more is read from them", reads_no_more) => {}
    }
    let growth = server.resident_bytes().unwrap().saturating_sub(before);
    println!("{} MiB more memory", growth / MIB);
    assert!(growth < GROWTH_MAX, "{growth} bytes more than the {before} before");
}

/// The longest messages there may be, many on their way at once.
pub async fn flood(room: &Room, count: usize) {
    let text = "😀".repeat(LONG);
    let (mut sending, head) = (JoinSet::new(), room.head().await);
    for n in 0..count {
        let (client, id, text) = (room.owner.clone(), room.id.clone(), text.clone());
        let key = Key::parse(&format!("{head}-{n}")).unwrap();
        // A machine that has too much to do is unavailable for a moment: what a client does then is to send it again, when it was told to.
        sending.spawn(async move {
            let kept = async {
                while let Err(error) = client.send_text(&id, &text, Some(&key)).await {
                    assert!(error.is_outcome_unknown(), "{error}");
                    if let Error::Refused(refusal) = error {
                        let rest = refusal.retry_after_ms.unwrap_or_default();
                        tokio::time::sleep(Duration::from_millis(rest)).await;
                    }
                }
            };
            in_time("a message is kept", kept).await
        });
        if sending.len() >= 48 {
            sending.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
}

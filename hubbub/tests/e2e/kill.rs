//! Nothing that was acknowledged is lost, doubled or reordered when the server is killed, and every reader goes on where
//! it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hubbub_client::{Client, Events, Options};
use hubbub_core::ids::RoomId;
use hubbub_testkit::checker::{self, History, Outcome, Reader, Seen, Sent, Step};
use hubbub_testkit::{Person, eventually, in_time};
use tokio::sync::watch;

use crate::common::{send, server, whole_log};

const ROOMS: usize = 4;
const SENDERS: usize = 8;
const READERS: usize = 6;
/// Between two kills, at most; the least is what it takes to be ready.
const LIFE_MS: u64 = 400;

/// All that sending and reading share.
struct Run {
    rooms: Vec<RoomId>,
    began: Instant,
    over: AtomicBool,
    acked: AtomicU64,
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let kills: u32 = std::env::var("HUBBUB_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let seed: u64 =
        std::env::var("HUBBUB_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!(
        "repeat with: HUBBUB_SEED={seed} HUBBUB_KILLS={kills} cargo test -p hubbub --test e2e kill -- --nocapture"
    );
    let mut rng = Rng::with_seed(seed);

    let mut server = server().await;
    let (tell_heads, heads) = watch::channel(None);
    let (run, senders, readers) = crowd(&server, &mut rng, heads).await;

    for _ in 0..kills {
        let before = run.acked.load(Ordering::Relaxed);
        // Under load: at a random moment after the first acknowledgement of this life.
        eventually("an ack", async || (run.acked.load(Ordering::Relaxed) > before).then_some(())).await;
        tokio::time::sleep(Duration::from_micros(rng.u64(..LIFE_MS * 1_000))).await;
        server.kill().await.unwrap();
        server.restart().await.unwrap();
    }
    run.over.store(true, Ordering::Relaxed);
    let mut sent: BTreeMap<RoomId, Vec<Sent>> = BTreeMap::new();
    for sender in senders {
        for (room, message) in in_time("the last answer", sender).await.unwrap() {
            sent.entry(room).or_default().push(message);
        }
    }

    let judge = Person::register(&server, "judge").await.unwrap();
    let (judge, _events) = judge.connect().await.unwrap();
    let mut histories = BTreeMap::new();
    for room in &run.rooms {
        let log: Vec<Seen> = whole_log(&judge, room).await.iter().map(Seen::from).collect();
        let sent = sent.remove(room).unwrap_or_default();
        histories.insert(room.clone(), History { sent, readers: Vec::new(), log });
    }
    let head = |history: &History| history.log.last().map_or(0, |entry| entry.seq);
    let ends = histories.iter().map(|(room, history)| (room.clone(), head(history))).collect();
    tell_heads.send(Some(ends)).unwrap();
    for (name, reader) in readers {
        for (room, stream) in in_time("a reader reads to the end", reader).await.unwrap() {
            histories.get_mut(&room).unwrap().readers.push(Reader { name: name.clone(), ..stream });
        }
    }
    let violations: Vec<_> = histories
        .iter()
        .flat_map(|(room, history)| {
            checker::check(history).into_iter().map(move |violation| (room.clone(), violation))
        })
        .collect();
    assert!(
        violations.is_empty(),
        "{} violations: {:#?}",
        violations.len(),
        &violations[..violations.len().min(20)]
    );

    let messages: usize = histories.values().map(|history| history.log.len()).sum();
    println!(
        "{kills} kills, {} acknowledged, {messages} entries, {} unknown",
        run.acked.load(Ordering::Relaxed),
        histories
            .values()
            .flat_map(|history| &history.sent)
            .filter(|sent| sent.outcome == Outcome::Unknown)
            .count()
    );
}

type Following = tokio::task::JoinHandle<BTreeMap<RoomId, Reader>>;
type Sending = tokio::task::JoinHandle<Vec<(RoomId, Sent)>>;

/// The people, all members of all rooms, at work.
async fn crowd(
    server: &hubbub_testkit::Hubbub,
    rng: &mut Rng,
    heads: Heads,
) -> (Arc<Run>, Vec<Sending>, Vec<(String, Following)>) {
    let owner = Person::register(server, "owner").await.unwrap();
    let (owner, _events) = owner.connect().await.unwrap();
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        rooms.push(owner.create(&format!("room {n}"), "").await.unwrap().id);
    }
    let run = Arc::new(Run {
        rooms,
        began: Instant::now(),
        over: AtomicBool::new(false),
        acked: AtomicU64::new(0),
    });
    let mut readers = Vec::new();
    for n in 0..READERS {
        let name = format!("reader{n}");
        let (client, events) = member(server, &run, &name).await;
        readers.push((name, tokio::spawn(follow(client, events, heads.clone()))));
    }
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        let name = format!("sender{n}");
        let (client, mut events) = member(server, &run, &name).await;
        // Nobody looks at what a sender is sent.
        tokio::spawn(async move { while events.next().await.is_some() {} });
        senders.push(tokio::spawn(send_all(client, name, run.clone(), rng.fork())));
    }
    (run, senders, readers)
}

async fn member(server: &hubbub_testkit::Hubbub, run: &Run, name: &str) -> (Client, Events) {
    let person = Person::register(server, name).await.unwrap();
    let options = Options {
        reconnect: true,
        reconnect_wait_max: Duration::from_millis(200),
        deadline: Duration::from_secs(120),
        ..person.options()
    };
    let (client, events) = Client::connect(options).await.unwrap();
    for room in &run.rooms {
        client.join(room).await.unwrap();
    }
    (client, events)
}

/// Sends as fast as answers come.
async fn send_all(client: Client, name: String, run: Arc<Run>, mut rng: Rng) -> Vec<(RoomId, Sent)> {
    let mut all = Vec::new();
    for n in 0.. {
        if run.over.load(Ordering::Relaxed) {
            break;
        }
        let room = rng.choice(&run.rooms).unwrap();
        let sent = send(&client, room, run.began, format!("{name}-{n}")).await;
        run.acked.fetch_add(u64::from(matches!(sent.outcome, Outcome::Acked { .. })), Ordering::Relaxed);
        all.push((room.clone(), sent));
    }
    all
}

/// Where every room's log ends, once that is known.
type Heads = watch::Receiver<Option<BTreeMap<RoomId, u64>>>;

/// Takes what comes, from the own joins on, until every room's head was seen.
async fn follow(client: Client, mut events: Events, mut heads: Heads) -> BTreeMap<RoomId, Reader> {
    let mut streams: BTreeMap<RoomId, Reader> = BTreeMap::new();
    loop {
        let seen_all = heads.borrow().as_ref().is_some_and(|heads| {
            heads.iter().all(|(room, head)| streams.get(room).is_some_and(|stream| position(stream) >= *head))
        });
        if seen_all {
            break;
        }
        tokio::select! {
            changed = heads.changed() => changed.unwrap(),
            event = events.next() => match Step::of(&event.unwrap()) {
                Some((room, Step::Entry(own_join))) if !streams.contains_key(&room) => {
                    _ = streams.insert(room, Reader { began_at: own_join.seq, ..Reader::default() });
                }
                Some((room, step)) => streams.get_mut(&room).unwrap().steps.push(step),
                None => {}
            },
        }
    }
    client.close().await;
    streams.values_mut().for_each(|stream| stream.to_the_end = true);
    streams
}

fn position(stream: &Reader) -> u64 {
    match stream.steps.last() {
        None => stream.began_at,
        Some(Step::Entry(seen)) => seen.seq,
        Some(Step::Behind { head, .. } | Step::Reset { head }) => *head,
    }
}

//! Bots behind bridges that run side by side: each command is answered once, whatever is killed on its way.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hubbub_client::answer::{Range, Sent};
use hubbub_client::{Client, Events, What};
use hubbub_core::code::Code;
use hubbub_core::ids::{Key, RoomId, Seq};
use hubbub_testkit::bots::{Bot, node_bot};
use hubbub_testkit::{
    Cluster, Hubbub, Person, Plan, RabbitMq, Signal, eventually, in_time, shows_what_is_documented,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{ASKED_AGAIN, Quiet, plan};

/// People who give commands, each one after the other.
const GIVERS: usize = 16;
/// What somebody waits who was refused.
const PAUSE: Duration = Duration::from_millis(20);

/// The token of a bot, as the operator of a cluster gets it.
fn bot_token(cluster: &Cluster, name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hubbub"))
        .args(["bot-token", "--from-database", &format!("--name={name}")])
        .args(cluster.keyspace.flags())
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn reaches_its_broker(bridge: &Hubbub) {
    eventually("the bridge reaches the broker", async || {
        let ready = bridge.get("/readyz", None).await.ok()?;
        (ready.status == 200 && ready.json()["trouble"].is_null()).then_some(())
    })
    .await;
}

async fn misses_its_broker(bridge: &Hubbub) {
    eventually("the bridge says that the broker is away", async || {
        let ready = bridge.get("/readyz", None).await.ok()?;
        (ready.status == 503 && ready.text.contains("broker")).then_some(())
    })
    .await;
}

/// Hears what is told, and does nothing about it.
async fn hear(mut events: Events) {
    while events.next().await.is_some() {}
}

/// Gives a command, again with its key until it is acknowledged.
async fn given(client: &Client, room: &RoomId, text: &str, key: &Key) {
    loop {
        match client.send_text(room, text, Some(key)).await {
            Ok(Sent::Command { .. }) => return,
            Ok(kept) => panic!("{kept:?}"),
            Err(error) if matches!(error.code(), None | Some(Code::Unavailable)) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Gives commands, each again with its key until it is acknowledged, until told to end; how many there were.
async fn give(
    client: Client,
    room: RoomId,
    giver: usize,
    acked: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
) -> usize {
    for n in 0.. {
        if end.load(Ordering::Relaxed) {
            return n;
        }
        let text = format!("/x={giver}-{n}");
        let key = Key::parse(&text.replace(['/', '='], "-")).unwrap();
        in_time("the command is acknowledged", given(&client, &room, &text, &key)).await;
        acked.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("there are numbers without end")
}

/// How often each thing was said in a room by bots.
async fn said(client: &Client, room: &RoomId) -> BTreeMap<String, usize> {
    let (mut said, mut after) = (BTreeMap::new(), Seq(0));
    loop {
        let page = client.history(room, Range::After(after), Some(1_000)).await.unwrap();
        for entry in page.entries {
            after = entry.seq;
            if let What::Bot(text) = entry.what {
                *said.entry(text).or_default() += 1;
            }
        }
        if !page.more {
            return said;
        }
    }
}

/// Answers that no bridge has taken for good.
async fn left(cluster: &Cluster) -> u32 {
    cluster.broker.as_ref().unwrap().messages("bot-jobsity-chat").await.unwrap()
}

#[tokio::test]
async fn each_command_is_answered_once_whatever_is_killed_on_the_way() {
    let kills: usize = std::env::var("HUBBUB_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let mut quiet = Quiet::of(Plan { nats: 1, workers: 1, histories: 1, ..plan().await }).await;
    let cluster = &mut quiet.cluster;
    let broker = RabbitMq::start().await.unwrap();
    // The bot is there first, and its queues are used as they are found: durable, where the seed's end with their broker.
    let mut bot = node_bot().unwrap();
    bot.env("BOT_COPIES", "2").env("BOT_DURABLE", "yes");
    let mut bot = Bot::start(&mut bot, &broker, &bot_token(cluster, "node")).unwrap();
    bot.logs("listening").await;
    cluster.broker = Some(broker);
    for _ in 0..2 {
        let start = cluster.tier("bot-bridge");
        cluster.add_bridge(start).await.unwrap();
        reaches_its_broker(cluster.bridges.last().unwrap()).await;
    }
    let owner = Person::register(&cluster.gateways[0], "owner").await.unwrap();
    let (owner, events) = owner.connect().await.unwrap();
    tokio::spawn(hear(events));
    let room = owner.create("bots", "").await.unwrap().id;
    let (acked, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut givers = JoinSet::new();
    for n in 0..GIVERS {
        let person = Person::register(&cluster.gateways[n % 2], &format!("giver{n}")).await.unwrap();
        let (client, events) = person.connect().await.unwrap();
        client.join(&room).await.unwrap();
        let (room, acked, end) = (room.clone(), acked.clone(), end.clone());
        givers.spawn(async move {
            tokio::select! {
                given = give(client, room, n, acked, end) => (n, given),
                () = hear(events) => panic!("a giver's connection was ended"),
            }
        });
    }
    let more_are_acked = async |count: usize| {
        let before = acked.load(Ordering::Relaxed);
        let more = async || (acked.load(Ordering::Relaxed) >= before + count).then_some(());
        eventually("commands are acknowledged", more).await;
    };
    // What one that hangs was asked, it sends when it wakes, as another one did meanwhile: the bot answers by the command's id.
    cluster.bridges[0].signal(Signal::STOP).unwrap();
    eventually("no command meets the bridge that hangs", async || {
        let before = cluster.gateways[0].metric(ASKED_AGAIN).await.unwrap();
        more_are_acked(4 * GIVERS).await;
        (cluster.gateways[0].metric(ASKED_AGAIN).await.unwrap() == before).then_some(())
    })
    .await;
    cluster.bridges[0].signal(Signal::CONT).unwrap();
    for kill in 0..kills {
        more_are_acked(GIVERS).await;
        if kill % 5 == 2 {
            let broker = cluster.broker.as_mut().unwrap();
            broker.kill().unwrap();
            for bridge in &cluster.bridges {
                misses_its_broker(bridge).await;
            }
            broker.start_again().await.unwrap();
            more_are_acked(GIVERS).await;
        }
        let bridge = &mut cluster.bridges[kill % 2];
        bridge.kill().await.unwrap();
        // The other one has it all.
        more_are_acked(GIVERS).await;
        bridge.restart().await.unwrap();
        reaches_its_broker(bridge).await;
    }
    let Cluster { gateways, workers, histories, bridges, .. } = &*cluster;
    for process in [gateways, workers, histories, bridges].into_iter().flatten() {
        shows_what_is_documented(process).await;
    }
    end.store(true, Ordering::Relaxed);
    let mut expected = BTreeMap::new();
    while let Some(giver) = givers.join_next().await {
        let (giver, given) = giver.unwrap();
        expected.extend((0..given).map(|n| (format!("node heard /x={giver}-{n}"), 1)));
    }
    eventually("an answer to each", async || {
        (said(&owner, &room).await.len() >= expected.len()).then_some(())
    })
    .await;
    // Each was published twice: the second ones are settled as well before it is counted.
    bot.terminate().await.unwrap();
    loop {
        let empty = async || (left(cluster).await == 0).then_some(());
        eventually("all that bots said is taken", empty).await;
        for bridge in &mut cluster.bridges {
            assert!(bridge.terminate().await.unwrap().success());
        }
        if left(cluster).await == 0 {
            break;
        }
        for bridge in &mut cluster.bridges {
            bridge.restart().await.unwrap();
        }
    }
    println!("{} kills of bridges, {} commands", kills, expected.len());
    let said = said(&owner, &room).await;
    assert_eq!(said.len(), expected.len());
    assert_eq!(said, expected);
}

#[tokio::test]
async fn commands_keep_their_order_over_several_bridges_and_one_that_is_repeated_is_one() {
    let mut quiet = Quiet::of(Plan { gateways: 1, nats: 1, workers: 1, histories: 1, ..plan().await }).await;
    let cluster = &mut quiet.cluster;
    cluster.broker = Some(RabbitMq::start().await.unwrap());
    for _ in 0..2 {
        let start = cluster.tier("bot-bridge");
        cluster.add_bridge(start).await.unwrap();
        reaches_its_broker(cluster.bridges.last().unwrap()).await;
    }
    // When it is ready it has heard who lives.
    let gateway = &mut cluster.gateways[0];
    assert!(gateway.terminate().await.unwrap().success());
    gateway.restart().await.unwrap();
    let ann = Person::register(gateway, "ann").await.unwrap();
    let (ann, events) = ann.connect().await.unwrap();
    tokio::spawn(hear(events));
    let room = ann.create("bots", "").await.unwrap().id;
    let texts: Vec<_> = (100..200).map(|n| format!("/x={n}")).collect();
    // Of tasks that have had their turn tokio wakes the last one first, and all of these are one task.
    let sent = join_all(texts.iter().map(|text| ann.send_text(&room, text, None)));
    for sent in tokio::task::coop::unconstrained(sent).await {
        assert!(matches!(sent, Ok(Sent::Command { .. })), "{sent:?}");
    }
    let key = Key::parse("once").unwrap();
    for _ in 0..10 {
        in_time("it is acknowledged", given(&ann, &room, "/x=once", &key)).await;
    }
    let bodies = cluster.broker.as_ref().unwrap().take_all("bot-jobsity-bot").await.unwrap();
    let heard = bodies.iter().map(|body| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["message"].as_str().unwrap().to_owned()
    });
    let expected: Vec<_> = texts.into_iter().chain(["/x=once".to_owned()]).collect();
    assert_eq!(heard.collect::<Vec<_>>(), expected);

    // A bridge that begins knows which tokens were called back.
    let token = bot_token(cluster, "node");
    let out = cluster.gateways[0].post("/v1/accounts/logout", Some(&token), &json!({})).await.unwrap();
    assert_eq!(out.status, 200, "{out:?}");
    for bridge in &mut cluster.bridges {
        assert!(bridge.terminate().await.unwrap().success());
        bridge.restart().await.unwrap();
        reaches_its_broker(bridge).await;
    }
    let _bot = Bot::start(&mut node_bot().unwrap(), cluster.broker.as_ref().unwrap(), &token).unwrap();
    given(&ann, &room, "/x=late", &Key::parse("late").unwrap()).await;
    eventually("what the bot says is refused", async || {
        for bridge in &cluster.bridges {
            let metrics = bridge.get("/metrics", None).await.ok()?.text;
            assert!(!metrics.contains("hubbub_bot_answers_total{outcome=\"kept\"}"), "{metrics}");
            if metrics.contains("hubbub_bot_answers_total{outcome=\"token\"}") {
                return Some(());
            }
        }
        None
    })
    .await;
}

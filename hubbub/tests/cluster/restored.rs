//! A database that was restored, and processes that nobody had stopped before.

use std::process::Command;

use hubbub_client::{Client, Event, Options};
use hubbub_testkit::{Hubbub, Person, Plan, in_time};

use crate::world::{Quiet, log, plan};

#[tokio::test]
async fn who_still_runs_when_the_database_was_restored_ends_and_says_why_and_readers_begin_anew() {
    let mut quiet = Quiet::of(Plan { nats: 1, gateways: 1, workers: 1, histories: 1, ..plan().await }).await;
    let cluster = &mut quiet.cluster;
    let ann = Person::register(&cluster.gateways[0], "ann").await.unwrap();
    let url = cluster.gateways[0].ws_url();
    let options = Options { token: ann.token.clone(), reconnect: true, ..Options::new(url) };
    let (anns, mut hears) = in_time("a connection", Client::connect(options)).await.unwrap();
    let room = anns.create("here", "").await.unwrap().id;
    anns.send_text(&room, "before", None).await.unwrap();
    let before = log(&cluster.gateways[0], &ann, &room).await;

    let mut restored = Command::new(env!("CARGO_BIN_EXE_hubbub"));
    restored.env_clear().args(["restored", "--from-database"]).args(cluster.keyspace.flags());
    let said = restored.output().unwrap();
    assert!(said.status.success(), "{said:?}");

    let tiers = [&mut cluster.histories, &mut cluster.workers, &mut cluster.gateways];
    let running: Vec<&mut Hubbub> = tiers.into_iter().flatten().collect();
    for process in running {
        let status = in_time("its end", process.ended()).await.unwrap();
        let log = process.log();
        assert!(status.code() == Some(1) && log.contains("the database was restored"), "{status}: {log}");
        process.restart().await.unwrap();
    }
    let told = async {
        loop {
            match hears.next().await {
                Some(Event::Reset(reset)) => break reset.room,
                Some(_) => {}
                None => panic!("the client gave up"),
            }
        }
    };
    assert_eq!(in_time("she is told that it is another log", told).await, room);
    assert_eq!(log(&cluster.gateways[0], &ann, &room).await, before, "nothing else has changed");
    anns.send_text(&room, "after", None).await.unwrap();
}

//! An import into the database of a cluster, whose room-workers rest meanwhile.

use std::process::{Command, Stdio};

use hubbub_testkit::{Cluster, Keyspace, Person};
use serde_json::{Value, json};
use tempfile::TempDir;

const BEGAN: u64 = 1_600_000_000_000;
const ROOMS: u64 = 40;
const MESSAGES: u64 = 2_000;

/// A folder with files to import.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let date = |at: u64| json!({"$date": {"$numberLong": at.to_string()}});
    let rooms = (0..ROOMS).map(|n| json!({"_id": format!("room-{n}"), "name": format!("Room {n}"), "owner": "ann", "users": ["ann", "bob"], "createdAt": date(BEGAN)}));
    let messages = (0..MESSAGES).map(|n| {
        json!({"_id": format!("m{n}"), "chatroom": format!("room-{}", n % ROOMS), "owner": "bob", "type": 1,
        "message": format!("message {n}"), "createdAt": date(BEGAN + n)})
    });
    let lines =
        |documents: Vec<Value>| documents.iter().map(|document| format!("{document}\n")).collect::<String>();
    std::fs::write(folder.path().join("rooms.json"), lines(rooms.collect())).unwrap();
    std::fs::write(folder.path().join("messages.json"), lines(messages.collect())).unwrap();
    folder
}

fn import(folder: &TempDir, keyspace: &Keyspace) -> Command {
    let mut import = Command::new(env!("CARGO_BIN_EXE_hubbub"));
    import.env_clear().current_dir(folder.path()).args([
        "import",
        "--chatrooms=rooms.json",
        "--messages=messages.json",
        "--scratch=.",
    ]);
    import.args(keyspace.flags());
    import
}

/// An import into a cluster's keyspace is of that cluster, as its workers have to be; in a fresh one it is the first to say of which.
pub fn agreed_with_the_workers(of_cluster: &Keyspace, fresh: &Keyspace) {
    let folder = files();
    for (flag, because) in [
        ("--partitions=7", "start it with --partitions 32"),
        ("--cluster=other", "is the store of the cluster"),
    ] {
        let refused = import(&folder, of_cluster).arg(flag).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(64) && said.contains(because), "{}: {said}", refused.status);
    }
    // As the file of a worker has them.
    std::fs::write(folder.path().join("hubbub.toml"), "cluster = \"fresh\"\npartitions = 4\n").unwrap();
    let done = import(&folder, fresh).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Imports, kills it on the way, imports again; then the cluster serves what was imported.
pub async fn into_the_database(cluster: &mut Cluster) {
    let folder = files();
    let keyspace = cluster.keyspace.clone();
    let import = || import(&folder, &keyspace);
    cluster.workers[0].kill().await.unwrap();
    // It says what it does on its way: killed at its first word about writing, some is written or nothing is.
    let mut killed = import().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(killed.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("reading messages") {
        line.clear();
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let done = import().output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("imported 40 rooms and 2,000 messages") && said.contains("checked: "), "{said}");

    cluster.workers[0].restart().await.unwrap();
    let gateway = &cluster.gateways[0];
    let eve = Person::register(gateway, "eve").await.unwrap();
    let page = gateway
        .get("/v1/chat/rooms/room-7/messages?kinds=message&limit=1000", Some(&eve.token))
        .await
        .unwrap()
        .json();
    let said: Vec<_> =
        page["entries"].as_array().unwrap().iter().map(|entry| entry["text"].clone()).collect();
    let expected: Vec<_> =
        (0..MESSAGES).filter(|n| n % ROOMS == 7).map(|n| json!(format!("message {n}"))).collect();
    assert_eq!(said, expected);
    let (eve, _events) = eve.connect().await.unwrap();
    let room = hubbub_core::ids::RoomId::parse("room-7").unwrap();
    eve.join(&room).await.unwrap();
    eve.send_text(&room, "we are over here", None).await.unwrap();
}

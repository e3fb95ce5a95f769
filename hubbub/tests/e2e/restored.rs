//! A backup that is restored is another log to those who saw more than it has.

use std::path::Path;
use std::process::Command;

use hubbub_testkit::checker::Step;
use hubbub_testkit::{Folder, Hubbub};
use serde_json::json;

use crate::common::{Room, connect, program, server};
use crate::peer::Peer;

fn restored(data: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
    let output =
        command.env_clear().arg("restored").arg(format!("--data={}", data.display())).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn copy(from: &Path, to: &Path) {
    _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Whether it was said, with the last command, that the store was restored.
async fn told_after_a_restore(say_so: bool) -> (Step, u64) {
    let backups = Folder::temporary().unwrap();
    let backup = backups.path().join("backup");
    let mut server = server().await;
    let mut room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    room.send_many(5).await;
    server.terminate().await.unwrap();
    copy(&server.data(), &backup);

    server.restart().await.unwrap();
    room.owner = connect(&room.ann).await;
    let seen = room.send_many(5).await.pop().unwrap();
    let log = Peer::resume(&bob, json!({})).await.welcome()["log"].clone();
    assert!(log.is_string());
    server.terminate().await.unwrap();
    copy(&backup, &server.data());
    if say_so {
        let (done, said) = restored(&server.data());
        assert!(done && said.contains("the log is "), "{said}");
    }

    server.restart().await.unwrap();
    // Beyond what the reader saw, so that the place alone tells nothing.
    room.owner = connect(&room.ann).await;
    let head = room.send_many(8).await.pop().unwrap();
    assert!(head > seen);
    let mut returned = Peer::resume_of_log(&bob, json!({room.id.as_str(): seen}), Some(&log)).await;
    let (_, told) = returned.next_step().await;
    (told, head)
}

#[tokio::test]
async fn who_saw_more_than_the_backup_is_told_reset() {
    let (told, head) = told_after_a_restore(true).await;
    assert_eq!(told, Step::Reset { head });
}

#[tokio::test]
async fn it_is_the_command_that_tells() {
    let (told, _) = told_after_a_restore(false).await;
    assert!(!matches!(told, Step::Reset { .. }), "{told:?}");
}

#[tokio::test]
async fn only_a_store_that_is_there_and_that_nobody_uses_can_have_been_restored() {
    let running = Hubbub::start(program()).await.unwrap();
    let (done, said) = restored(&running.data());
    assert!(!done && said.contains("stop the server first"), "{said}");
    let empty = Folder::temporary().unwrap();
    let (done, said) = restored(empty.path());
    assert!(!done && said.contains("there is no store in"), "{said}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    // As of a copy for which there was no room.
    std::fs::write(empty.path().join("hubbub.db"), "").unwrap();
    let (done, said) = restored(empty.path());
    assert!(!done && said.contains("there is no store in"), "{said}");
}

#[tokio::test]
async fn a_store_whose_file_is_gone_is_not_begun_anew_beside_what_is_left_of_it() {
    for is_removed in [true, false] {
        let mut server = server().await;
        Room::with_owner(&server, "ann").await.send_many(5).await;
        server.kill().await.unwrap();
        let file = server.data().join("hubbub.db");
        match is_removed {
            true => std::fs::remove_file(&file).unwrap(),
            false => std::fs::write(&file, "").unwrap(),
        }
        let log = server.data().join("hubbub.db-wal");
        let before = std::fs::read(&log).unwrap();
        let (ended, said) = program().run_to_end(Hubbub::free_port().unwrap(), &server.data()).await.unwrap();
        assert!(ended.code() == Some(1) && said.contains("it is empty or was missing"), "{ended}: {said}");
        assert_eq!(std::fs::read(&log).unwrap(), before, "who looks finds what is left");
    }
}

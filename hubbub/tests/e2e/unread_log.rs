//! A log that nobody reads: a pipe whose other end hangs, a terminal that is halted.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hubbub_testkit::{Hubbub, Person, Start, eventually};

/// The program, all of whose words go into a pipe that is open and never read.
fn program(folder: &Path) -> Start {
    let (script, program, pipe) =
        (folder.join("hubbub"), env!("CARGO_BIN_EXE_hubbub"), folder.join("log-pipe"));
    let pipe = pipe.display();
    let text =
        format!("#!/bin/sh\nmkfifo '{pipe}' && exec 3<>'{pipe}' && exec '{program}' \"$@\" >&3 2>&3\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    Start::program(script)
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Hubbub::start(program(folder.path()).with("--log=trace")).await.unwrap();
    eventually("more was to be written than fits", async || {
        for _ in 0..100 {
            assert_eq!(server.get("/readyz", None).await.unwrap().status, 200);
        }
        (server.metric("hubbub_log_lines_dropped_total").await.unwrap() > 0.0).then_some(())
    })
    .await;
    Person::register(&server, "ann").await.unwrap();
    assert_eq!(server.terminate().await.unwrap().code(), Some(0));
}

//! A disk that hangs says nothing, so the server has to say it.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hubbub_testkit::{Hubbub, Person, Start, eventually, in_time, library_of_syncs};
use serde_json::json;

/// What becomes of a sync of the log: it waits while there is the one file, and fails while there is the other.
const SYNCS: &str = r#"
static int fails(char *path, char *name) {
    if (strcmp(name, "hubbub.db-wal") != 0) return 0;
    strcpy(name, "syncs-wait");
    while (access(path, F_OK) == 0) usleep(10000);
    strcpy(name, "syncs-fail");
    return access(path, F_OK) == 0;
}
"#;

/// The program, whose log is synced as the files in its data folder say: none of it while one waits, in vain while one fails.
fn program(folder: &Path) -> Start {
    let library = library_of_syncs(folder, SYNCS);
    let (script, program) = (folder.join("hubbub"), env!("CARGO_BIN_EXE_hubbub"));
    let text = format!("#!/bin/sh\nLD_PRELOAD='{}' exec '{program}' \"$@\"\n", library.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    Start::program(script)
}

/// Makes a file, and takes it away.
struct File(PathBuf);

impl File {
    fn make(path: PathBuf) -> Self {
        std::fs::write(&path, "").unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

async fn is_unready(server: &Hubbub, why: &str) {
    eventually(why, async || {
        let ready = server.get("/readyz", None).await.unwrap();
        (ready.status == 503 && ready.text.contains(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_that_can_not_be_called_back_is_one_still() {
    let folder = tempfile::tempdir().unwrap();
    let server = Hubbub::start(program(folder.path())).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let log_out = async || {
        let out = server.post("/v1/accounts/logout", Some(&ann.token), &json!({})).await.unwrap();
        let asked = server.get("/v1/accounts/validate", Some(&ann.token)).await.unwrap();
        (out.status, asked.status)
    };
    let fails = File::make(server.data().join("syncs-fail"));
    assert_eq!(log_out().await, (503, 200));
    drop(fails);
    assert_eq!(log_out().await, (200, 401));
}

/// What they asked for is on its way to the disk by then, and can't be taken back.
#[tokio::test]
async fn who_hangs_up_while_they_log_out_is_out_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Hubbub::start(program(folder.path())).await.unwrap();
    let ann = Person::register(&server, "ann").await.unwrap();
    let waits = File::make(server.data().join("syncs-wait"));
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let head = "POST /v1/accounts/logout HTTP/1.1\r\nhost: chat\r\ncontent-length: 0\r\n";
    socket.write_all(format!("{head}authorization: Bearer {}\r\n\r\n", ann.token).as_bytes()).unwrap();
    is_unready(&server, "a commit has been under way for").await;
    drop(socket);
    let validate = async || server.get("/v1/accounts/validate", Some(&ann.token)).await.unwrap().status;
    assert_eq!(validate().await, 200, "it is not done yet");
    drop(waits);
    eventually("the token is refused", async || (validate().await == 401).then_some(())).await;
}

#[tokio::test]
async fn a_disk_that_hangs_makes_it_unready_until_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Hubbub::start(program(folder.path())).await.unwrap();
    // The second time the store is asked by a write, for the one before failed; that hangs as well.
    for failed_before in [false, true] {
        let fails = failed_before.then(|| File::make(server.data().join("syncs-fail")));
        if failed_before {
            assert!(Person::register(&server, "bob").await.is_err());
            is_unready(&server, "disk I/O error").await;
        }
        let waits = File::make(server.data().join("syncs-wait"));
        drop(fails);
        let registered = Person::register(&server, "ann");
        let hangs = async {
            is_unready(&server, "a commit has been under way for").await;
            drop(waits);
        };
        let (_, ()) = in_time("the end", async { tokio::join!(registered, hangs) }).await;
        eventually("it is ready again", async || {
            (server.get("/readyz", None).await.unwrap().status == 200).then_some(())
        })
        .await;
    }
}

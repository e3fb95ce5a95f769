//! A disk that hangs says nothing, so the server has to say it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hubbub_testkit::{Hubbub, Person, Start, eventually, in_time};

/// What stands before the system's syncs: SQLite is built to call `fdatasync` (`.cargo/config.toml`).
const SYNCS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd) {
    static const char log[] = "/hubbub.db-wal";
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 64), of_name = sizeof log - 1;
    if (length <= of_name || strncmp(path + length - of_name, log, of_name) != 0) return 0;
    char *name = path + length - of_name;
    strcpy(name, "/syncs-wait");
    while (access(path, F_OK) == 0) usleep(10000);
    strcpy(name, "/syncs-fail");
    return access(path, F_OK) == 0;
}

static int synced(long call, int fd) {
    if (fails(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
"#;

/// The program, whose log is synced as the files in its data folder say: none of it while one waits, in vain while one fails.
fn program(folder: &Path) -> Start {
    let (source, library) = (folder.join("syncs.c"), folder.join("syncs.so"));
    std::fs::write(&source, SYNCS).unwrap();
    // What links this test is the compiler of C as well.
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.unwrap().success());
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

//! A disk that fails or hangs: a library that stands before the system's syncs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is before and behind the test's own part. SQLite is built to call `fdatasync` (`.cargo/config.toml`).
const BEFORE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
"#;
const BEHIND: &str = r#"
static int synced(long call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 64);
    char *name = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
    if (name != NULL) {
        path[length] = 0;
        if (fails(path, name + 1)) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
"#;

/// Builds such a library in `folder`, for `LD_PRELOAD`. `fails` is in C: `static int fails(char *path, char *name)`, called before
/// each sync with the file's path and where its name begins in it; there is room for 60 bytes more.
///
/// # Panics
/// Where there is no compiler of C; what links the tests is one.
pub fn library_of_syncs(folder: &Path, fails: &str) -> PathBuf {
    let (source, library) = (folder.join("syncs.c"), folder.join("syncs.so"));
    std::fs::write(&source, [BEFORE, fails, BEHIND].concat()).expect("the folder is a test's own");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.is_ok_and(|built| built.success()), "cc builds it");
    library
}

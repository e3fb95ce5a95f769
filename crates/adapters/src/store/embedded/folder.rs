//! The data folder: that it is one, that we may write to it, and that nobody else does.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::open::OpenError;

pub(super) const LOCK_FILE: &str = "hubbub.lock";
pub(super) const DATA_FILE: &str = "hubbub.db";

/// What is made for the first time is for nobody else: there are password hashes and the key of the tokens in it.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Where the data of a folder is.
pub(super) fn data_file(dir: &Path) -> PathBuf {
    dir.join(DATA_FILE)
}

/// What is written beside it to find out whether there is room.
pub(super) fn probe_file(data_file: &Path) -> PathBuf {
    data_file.with_extension("probe")
}

/// A data folder that is ours until this is dropped, or the process ends however it ends.
pub(super) struct Folder {
    pub(super) data_file: PathBuf,
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started from this one may have the handle for a moment.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the data folder can not be released");
        }
    }
}

impl Folder {
    /// Makes the folder if there is none, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                OpenError::NotAFolder { dir: dir.to_owned() }
            }
            _ => OpenError::NotWritable { dir: dir.to_owned(), inside: error.to_string() },
        };
        if dir.exists() && !dir.is_dir() {
            return Err(OpenError::NotAFolder { dir: dir.to_owned() });
        }
        private_folder().create(dir).map_err(failed)?;
        let open = |name| private_file().open(dir.join(name)).map_err(failed);
        let lock = open(LOCK_FILE)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Made here, so that it and all that SQLite makes beside it is ours alone.
        open(DATA_FILE)?;
        let data_file = data_file(dir);
        // Of a process that was killed while it looked. There is none, as a rule.
        let _ = std::fs::remove_file(probe_file(&data_file));
        Ok(Self { data_file, lock })
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        self.data_file.parent().unwrap_or(Path::new("."))
    }

    /// Makes the names of the folder and of what is in it durable.
    pub(super) fn sync(dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()?;
        match dir.canonicalize()?.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

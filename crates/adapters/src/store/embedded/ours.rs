//! Whether the data is still this process's: that no other began on it later, and that its files are where they were.
//!
//! The lock on the folder sees to that, until somebody removes the lock's file, or the folder. What is acknowledged then would be
//! unknown to the process that has the data, or be in a file that nobody finds. So each commit looks, inside its transaction: a
//! start is counted in one as well, and SQLite lets them come only one after the other, as long as both have the same `-wal` and
//! `-shm`. So those have to be the same too.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hubbub_core::ids::Epoch;
use hubbub_core::ports::store::{StoreError, Stored};
use rusqlite::Connection;

use super::facts;
use super::failure::unavailable;
use super::folder::{Folder, LOCK_FILE};
use super::shared::Shared;

/// What was there when the process began.
#[derive(Clone)]
pub(super) struct Ours {
    folder: Arc<Folder>,
    /// The data file and what SQLite has beside it.
    files: Arc<[(PathBuf, FileId); 3]>,
    start: Epoch,
    shared: Arc<Shared>,
}

impl Ours {
    /// Of a store that is open, and so has all its files.
    pub(super) fn new(folder: Arc<Folder>, start: Epoch, shared: Arc<Shared>) -> io::Result<Self> {
        let known = |end: &str| {
            let mut path = folder.data_file.clone().into_os_string();
            path.push(end);
            FileId::at(path.as_ref()).map(|id| (path.into(), id))
        };
        let files = Arc::new([known("")?, known("-wal")?, known("-shm")?]);
        Ok(Self { folder, files, start, shared })
    }

    /// The number of this process's start.
    pub(super) fn start(&self) -> Epoch {
        self.start
    }

    /// An error if it is no longer so, from then on whenever somebody asks whether something may be written; or if that can't be seen.
    pub(super) fn check(&self, db: &Connection) -> Stored<()> {
        self.has_its_files()?;
        if facts::start(db)? != self.start {
            return Err(self.lost(format_args!(
                "another hubbub began on this data after this one did, as it can once {LOCK_FILE} is removed"
            )));
        }
        Ok(())
    }

    /// The same of the files alone.
    pub(super) fn has_its_files(&self) -> Stored<()> {
        for (file, id) in self.files.iter() {
            let is_there = match FileId::at(file) {
                Ok(found) => found == *id,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
                Err(error) => return Err(unavailable(error)),
            };
            if !is_there {
                let name = file.file_name().unwrap_or_default().display();
                return Err(
                    self.lost(format_args!("{name} was moved, removed or replaced while this server ran"))
                );
            }
        }
        Ok(())
    }

    fn lost(&self, why: std::fmt::Arguments<'_>) -> StoreError {
        self.shared.lost(format_args!("{}: {why}", self.folder.dir().display()))
    }
}

/// Says which file has a name, whatever is written to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(#[cfg(unix)] (u64, u64));

impl FileId {
    /// Of the file at `path`.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        path.metadata().map(Self::of)
    }

    #[cfg(unix)]
    fn of(file: Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self((file.dev(), file.ino()))
    }

    /// Elsewhere a file that is open can't be moved or removed.
    #[cfg(not(unix))]
    fn of(_file: Metadata) -> Self {
        Self()
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::{Entry, Says};
    use hubbub_core::ids::{LogId, Millis, Partition, RoomId, Seq, User, UserId};
    use hubbub_core::ports::store::{Append, Store};
    use tempfile::TempDir;

    use super::super::folder::DATA_FILE;
    use super::super::{EmbeddedStore, Options, renew_log};
    use super::*;

    async fn store() -> (TempDir, EmbeddedStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
        store.claim(Partition(0)).await.unwrap();
        assert!(store.is_lost().await.is_none());
        (folder, store)
    }

    #[tokio::test]
    async fn one_process_has_the_folder() {
        let (folder, store) = store().await;
        let open = || EmbeddedStore::open(folder.path(), Options::default());
        assert!(open().err().unwrap().to_string().ends_with("is in use by another hubbub"));
        drop(store);
        open().unwrap();
    }

    /// What the store says of itself, by a commit or by a look.
    async fn is_lost(store: &EmbeddedStore, by_a_commit: bool) -> String {
        if by_a_commit {
            store.claim(Partition(0)).await.unwrap_err();
        }
        let lost = store.is_lost().await.unwrap();
        for refused in [store.claim(Partition(0)).await.map(drop), store.check().await] {
            assert_eq!(refused.unwrap_err().to_string(), lost.to_string());
        }
        lost.to_string()
    }

    #[tokio::test]
    async fn one_that_ends_before_it_looked_takes_nothing_of_the_other_ones() {
        let (folder, first) = store().await;
        std::fs::remove_file(folder.path().join(LOCK_FILE)).unwrap();
        let second = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
        let append = Append { room: RoomId::parse("r").unwrap(), epoch: Epoch(1), entries: vec![entry()] };
        second.append(append).await.unwrap();
        let records = || {
            let db = Connection::open(folder.path().join(DATA_FILE)).unwrap();
            db.query_row("SELECT count(*) FROM journal", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let before = records();
        drop(first);
        assert!(before > 0 && records() == before);
    }

    fn entry() -> Entry {
        let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
        Entry::new(&RoomId::parse("r").unwrap(), Seq(1), Millis(1), &user, None, Says::Join(None))
    }

    /// What somebody else does to the data of a store that is open.
    type Deed = fn(&Path) -> Option<LogId>;

    #[tokio::test]
    async fn a_store_that_is_not_this_process_s_any_more_writes_nothing() {
        let begins: Deed = |dir| {
            std::fs::remove_file(dir.join(LOCK_FILE)).unwrap();
            Some(renew_log(dir).unwrap())
        };
        let moves: Deed = |dir| {
            std::fs::rename(dir.join(DATA_FILE), dir.join("elsewhere")).unwrap();
            None
        };
        let replaces: Deed = |dir| {
            std::fs::copy(dir.join(DATA_FILE), dir.join("copy")).unwrap();
            std::fs::rename(dir.join("copy"), dir.join(DATA_FILE)).unwrap();
            None
        };
        let removes: Deed = |dir| {
            std::fs::remove_dir_all(dir).unwrap();
            None
        };
        let takes_the_index: Deed = |dir| {
            std::fs::remove_file(dir.join("hubbub.db-shm")).unwrap();
            None
        };
        for (deed, says) in [
            (begins, "another hubbub began on this data after this one did"),
            (moves, "hubbub.db was moved, removed or replaced"),
            (replaces, "hubbub.db was moved, removed or replaced"),
            (removes, "hubbub.db was moved, removed or replaced"),
            (takes_the_index, "hubbub.db-shm was moved, removed or replaced"),
        ] {
            for by_a_commit in [true, false] {
                let (folder, store) = store().await;
                let log = deed(folder.path());
                let lost = is_lost(&store, by_a_commit).await;
                assert!(lost.contains(says), "{lost}");
                drop(store);
                let Some(log) = log else { continue };
                let again = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
                assert_eq!(again.log_id(), log, "what was begun meanwhile is whole");
            }
        }
    }
}

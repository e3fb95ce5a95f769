//! Results and evidence on the disk.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Makes sure, before anything is measured, that the result can be written there. What is there stays until then.
pub fn can_be_written(path: &Path) -> anyhow::Result<()> {
    let why = || format!("can't write {}: choose another --out", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(why)?;
    }
    ensure!(!path.is_dir(), "{} is a folder: choose another --out", path.display());
    let beside = beside(path);
    OpenOptions::new().append(true).create(true).open(&beside).map(drop).with_context(why)?;
    fs::remove_file(&beside).with_context(why)
}

/// Writes it beside and renames it, so that whoever is ended meanwhile leaves the one before.
pub fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let (beside, why) = (beside(path), || format!("writing {}", path.display()));
    fs::write(&beside, text).with_context(why)?;
    fs::rename(&beside, path).with_context(why)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_t_be_written_is_known_before_and_what_is_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/result.json");
        can_be_written(&path).expect("a folder is made");
        write_whole(&path, "one").expect("written");
        can_be_written(&path).expect("once more");
        assert_eq!(fs::read_to_string(&path).expect("a result"), "one");
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("its files").count(), 1);
        let error = can_be_written(&path.join("below")).expect_err("a file is no folder");
        assert!(format!("{error:#}").contains("choose another --out"), "{error:#}");
    }
}

//! Where a server's files are.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of one server.
#[derive(Debug)]
pub enum Folder {
    /// Removed with its server.
    Temporary(TempDir),
    /// Kept for whoever wants to look.
    Kept(PathBuf),
}

impl Folder {
    /// A new one that is removed with its server.
    ///
    /// # Errors
    /// The system's.
    pub fn temporary() -> anyhow::Result<Self> {
        Ok(tempfile::tempdir()?.into())
    }

    /// A new one of that name, or the one that is there.
    ///
    /// # Errors
    /// The system's.
    pub fn kept(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self::Kept(path.canonicalize()?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

impl From<TempDir> for Folder {
    fn from(folder: TempDir) -> Self {
        Self::Temporary(folder)
    }
}

//! Whether an open file is still the file at its path.

use std::path::{Path, PathBuf};

use annals_core::{BackendError, ErrorKind, Result};

/// Which file it is: its device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity(u64, u64);

impl FileIdentity {
    /// The file at a path, if there is one.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().map(|file| Self(file.dev(), file.ino()))
    }

    /// The file at a path, if there is one. An open file can be neither deleted nor moved here.
    #[cfg(not(unix))]
    pub fn of(path: &Path) -> Option<Self> {
        path.exists().then_some(Self(0, 0))
    }
}

/// A file that was opened. Engines continue to write to one that was deleted or moved, where nobody would
/// find the rows.
#[derive(Debug)]
pub struct OpenFile {
    engine: &'static str,
    path: PathBuf,
    identity: Option<FileIdentity>,
}

impl OpenFile {
    /// The file that an engine has just opened.
    pub fn at(engine: &'static str, path: &Path) -> Self {
        Self { engine, path: path.to_owned(), identity: FileIdentity::of(path) }
    }

    /// Goes on with the file that is at its path now, which has replaced it on purpose.
    pub fn renew(&mut self) {
        self.identity = FileIdentity::of(&self.path);
    }

    /// Fails if it is no longer at its path. Costs one `stat`.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`].
    pub fn check(&self, operation: &'static str) -> Result<()> {
        if FileIdentity::of(&self.path) == self.identity {
            return Ok(());
        }
        let path = self.path.display();
        let message = format!("{path} was deleted or moved while it was open; open it again");
        Err(BackendError::new(self.engine, operation, ErrorKind::Permission, message).into())
    }
}

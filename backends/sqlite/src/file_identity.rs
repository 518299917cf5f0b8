//! Whether the open file is still the file at its path, and files are as they were.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use annals_core::{BackendError, ErrorKind, Result};

use crate::ENGINE;

/// The identity of a file when it was opened. SQLite continues to write to a file that was deleted or
/// moved, where nobody would find the rows.
pub(crate) struct FileIdentity {
    path: PathBuf,
    identity: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl FileIdentity {
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity_at(path) }
    }

    /// Costs one `stat`.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        if identity_at(&self.path) == self.identity {
            return Ok(());
        }
        let path = self.path.display();
        let message = format!("{path} was deleted or moved while it was open; open it again");
        Err(BackendError::new(ENGINE, operation, ErrorKind::Permission, message).into())
    }
}

#[cfg(unix)]
fn identity(file: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// Elsewhere an open file can be neither deleted nor moved.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

fn identity_at(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().as_ref().map(identity)
}

/// What files were like when they were opened.
pub(crate) struct Unchanged(Vec<(PathBuf, Stamp)>);

/// Which file it is, its size, and when it was written to last.
type Stamp = Option<(Identity, u64, Option<SystemTime>)>;

impl Unchanged {
    pub(crate) fn now(paths: Vec<PathBuf>) -> Self {
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self(paths.into_iter().map(stamped).collect())
    }

    /// Costs one `stat` for each file.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.iter().find(|(path, before)| stamp(path) != *before) {
            None => Ok(()),
            Some((path, _)) => {
                let message = format!(
                    "a program has opened {} and changed it meanwhile; query again",
                    path.display()
                );
                Err(BackendError::new(ENGINE, "query", ErrorKind::Busy, message).into())
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((identity(&file), file.len(), file.modified().ok()))
}

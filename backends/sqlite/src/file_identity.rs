//! Whether the open file is still the file at its path.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use annals_core::{BackendError, ErrorKind, Result};

use crate::ENGINE;

/// The identity of a file when it was opened. SQLite continues to write to a file that was deleted or
/// moved, where nobody would find the rows.
pub(crate) struct FileIdentity {
    path: PathBuf,
    identity: Option<Identity>,
}

/// Device and inode.
pub(crate) type Identity = (u64, u64);

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
pub(crate) fn identity(file: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// Elsewhere an open file can be neither deleted nor moved.
#[cfg(not(unix))]
pub(crate) fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

fn identity_at(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().as_ref().map(identity)
}

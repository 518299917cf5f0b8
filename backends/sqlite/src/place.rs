//! Whether the open file is still the one that its path names.

use std::path::Path;

use annals_core::{BackendError, ErrorKind, PersistenceError};

use crate::ENGINE;

/// A file as it was when it was opened. SQLite goes on writing to a file that was deleted or moved,
/// and nobody would find the rows again.
pub(crate) struct Place {
    path: std::path::PathBuf,
    identity: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Place {
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    /// Costs one `stat`.
    pub(crate) fn check(&self, operation: &'static str) -> Result<(), PersistenceError> {
        if identity(&self.path) == self.identity {
            return Ok(());
        }
        let path = self.path.display();
        let message = format!("{path} was deleted or moved while it was open; open it again");
        Err(BackendError::new(ENGINE, operation, ErrorKind::Permission, message).into())
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Elsewhere an open file can be neither deleted nor moved.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<Identity> {
    None
}

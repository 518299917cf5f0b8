//! Whether files are as they were.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use annals_core::{BackendError, ErrorKind, Result};
use annals_embedded::FileIdentity;

use crate::ENGINE;

/// What files were like when they were opened.
pub(crate) struct Unchanged(Vec<(PathBuf, Stamp)>);

/// Which file it is, its size, and when it was written to last.
type Stamp = Option<(Option<FileIdentity>, u64, Option<SystemTime>)>;

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
    Some((FileIdentity::of(path), file.len(), file.modified().ok()))
}

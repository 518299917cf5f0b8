//! Where the suite's stores are, so that they can all be removed.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::say::complain;

/// Where the suite's stores are.
#[derive(Debug)]
pub(super) enum Places {
    /// In memory.
    Nowhere,
    /// In a folder of their own.
    Folder(PathBuf),
    /// In schemas of their own.
    #[cfg(feature = "postgres")]
    Schemas(super::schemas::Schemas),
}

impl Places {
    /// Makes room. The suite's children do not get so far: they use what is there.
    pub(super) fn make(&self) -> Result<(), Failure> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Folder(folder) => std::fs::create_dir(folder).map_err(|error| {
                let folder = folder.display();
                Failure::Failed(format!("the folder {folder} cannot be made: {error}"))
            }),
            #[cfg(feature = "postgres")]
            Self::Schemas(schemas) => super::block_on(schemas.check())?,
        }
    }

    /// Removes what is left of the stores, and says so if it cannot.
    pub(super) fn remove_all(&self) {
        match self {
            Self::Nowhere => {}
            Self::Folder(folder) => {
                if let Err(error) = remove_folder(folder) {
                    complain(&format!("{} cannot be removed: {error}", folder.display()));
                }
            }
            #[cfg(feature = "postgres")]
            Self::Schemas(schemas) => {
                if let Ok(Err(error)) = super::block_on(schemas.remove_all()) {
                    complain(&format!("schemas of the suite are left behind: {error}"));
                }
            }
        }
    }
}

/// Removes a folder in which cases may still be at work, after Ctrl-C: what they make while it is
/// being removed is in the way once or twice, and without the folder they can make nothing.
fn remove_folder(folder: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 100;
    let mut removed = Ok(());
    for _ in 0..ATTEMPTS {
        removed = match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => Ok(()),
            removed => removed,
        };
        if removed.is_ok() {
            break;
        }
    }
    removed
}

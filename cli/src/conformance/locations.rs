//! Where the suite's stores are, so that they can all be removed.

use std::io;
use std::path::{Path, PathBuf};

use super::gate::Gate;
use crate::failure::Failure;
use crate::stderr::print_error;

/// Where the suite's stores are.
#[derive(Debug)]
pub(super) struct Locations {
    pub(super) gate: Gate,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// In memory.
    Memory,
    /// In one new folder.
    Folder(PathBuf),
    /// In new schemas of one database.
    #[cfg(feature = "postgres")]
    Schemas(super::schemas::Schemas),
}

impl Locations {
    /// Creates what the stores need. The suite's child processes use what exists.
    pub(super) fn create(&self) -> Result<(), Failure> {
        match &self.kind {
            Kind::Memory => Ok(()),
            Kind::Folder(folder) => std::fs::create_dir(folder).map_err(|error| {
                let folder = folder.display();
                Failure::Failed(format!("the folder {folder} cannot be created: {error}"))
            }),
            #[cfg(feature = "postgres")]
            Kind::Schemas(schemas) => super::block_on(schemas.check())?,
        }
    }

    /// Removes what is left of the stores, or reports that it cannot. None is opened afterwards.
    pub(super) fn remove_all(&self) {
        // It fails only if there is no runtime, and then no store was opened either.
        let _ = super::block_on(self.gate.close());
        match &self.kind {
            Kind::Memory => {}
            Kind::Folder(folder) => {
                if let Err(error) = remove_folder(folder) {
                    print_error(&format!("{} cannot be removed: {error}", folder.display()));
                }
            }
            #[cfg(feature = "postgres")]
            Kind::Schemas(schemas) => {
                if let Ok(Err(error)) = super::block_on(schemas.remove_all()) {
                    print_error(&format!("schemas of the suite could not be removed: {error}"));
                }
            }
        }
    }
}

/// Removes a folder in which cases may still be running after Ctrl-C: what they write while it is
/// being removed can make a removal fail.
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

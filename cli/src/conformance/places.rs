//! Where the suite's stores are, so that they can all be removed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals_conformance::HarnessResult;
use tokio::sync::RwLock;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::say::complain;

/// Lets stores be opened until it is closed: after Ctrl-C cases are still at work, and opening a
/// store makes its folder or schema anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<RwLock<Closed>>);

#[derive(Debug, Default)]
struct Closed(bool);

impl Gate {
    /// Held while a store is being opened.
    pub(super) async fn pass(&self) -> HarnessResult<impl Send + '_> {
        let pass = self.0.read().await;
        if pass.0 { Err("the suite was stopped".into()) } else { Ok(pass) }
    }

    /// Waits for those who are inside, but not for one that hangs.
    async fn close(&self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        if let Ok(mut closed) = timeout(PATIENCE, self.0.write()).await {
            closed.0 = true;
        }
    }
}

/// Where the suite's stores are.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) gate: Gate,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
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
        match &self.kind {
            Kind::Nowhere => Ok(()),
            Kind::Folder(folder) => std::fs::create_dir(folder).map_err(|error| {
                let folder = folder.display();
                Failure::Failed(format!("the folder {folder} cannot be made: {error}"))
            }),
            #[cfg(feature = "postgres")]
            Kind::Schemas(schemas) => super::block_on(schemas.check())?,
        }
    }

    /// Removes what is left of the stores, and says so if it cannot. None is opened after that.
    pub(super) fn remove_all(&self) {
        // It fails only without a runtime, and then nothing was opened either.
        let _ = super::block_on(self.gate.close());
        match &self.kind {
            Kind::Nowhere => {}
            Kind::Folder(folder) => {
                if let Err(error) = remove_folder(folder) {
                    complain(&format!("{} cannot be removed: {error}", folder.display()));
                }
            }
            #[cfg(feature = "postgres")]
            Kind::Schemas(schemas) => {
                if let Ok(Err(error)) = super::block_on(schemas.remove_all()) {
                    complain(&format!("schemas of the suite are left behind: {error}"));
                }
            }
        }
    }
}

/// Removes a folder in which cases may still be at work, after Ctrl-C: what they write while it is
/// being removed is in the way once or twice.
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

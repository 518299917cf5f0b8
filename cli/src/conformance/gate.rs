//! Whether stores of the suite may be opened.

use std::sync::Arc;
use std::time::Duration;

use annals_conformance::HarnessResult;
use tokio::sync::RwLock;
use tokio::time::timeout;

/// Lets stores be opened until it is closed. After Ctrl-C cases are still running, and opening a
/// store would create its folder or schema again.
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

    /// Waits for stores that are being opened, but not for one that hangs.
    pub(super) async fn close(&self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        if let Ok(mut closed) = timeout(PATIENCE, self.0.write()).await {
            closed.0 = true;
        }
    }
}

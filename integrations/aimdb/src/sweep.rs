//! Retention: a sweep at the start and then at each interval.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{PersistenceBackend, PersistenceError, Retention};
use tokio::sync::watch;

use crate::notice;

/// How soon a failed sweep is tried again at first; each time after twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Makes the backend ready and sweeps until persistence or the backend is closed.
pub(crate) async fn tend(
    backend: Arc<dyn PersistenceBackend>,
    retention: Retention,
    interval: Duration,
    mut closed: watch::Receiver<bool>,
) {
    let work = async {
        if let Err(error) = backend.initialize().await {
            notice::error(format_args!("the history's backend cannot be made ready: {error}"));
        }
        sweep(&retention, interval).await;
    };
    tokio::select! {
        biased;
        _ = closed.wait_for(|closed| *closed) => {}
        () = work => {}
    }
}

async fn sweep(retention: &Retention, interval: Duration) {
    // A policy without end must not make a loop without pause.
    let interval = interval.max(Duration::from_millis(1));
    let mut retry = FIRST_RETRY;
    loop {
        let pause = match retention.sweep_now().await {
            Ok(_) => {
                retry = FIRST_RETRY;
                interval
            }
            Err(PersistenceError::BackendShutdown) => return,
            Err(error) => {
                // Otherwise the retention itself has said so.
                if notice::unheard() {
                    notice::error(format_args!("a retention sweep failed, old rows stay: {error}"));
                }
                let pause = retry.min(interval);
                retry = retry.saturating_mul(2);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

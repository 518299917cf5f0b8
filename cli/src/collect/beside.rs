//! This machine's metrics, recorded beside something else.

use std::time::Duration;

use annals::{Recorder, RecorderError};
use tokio::time::Instant;

use super::host::Host;
use super::ticks::Ticks;

const EVERY: Duration = Duration::from_secs(1);

/// Records a snapshot each second until it is dropped, into a recorder that others use too: values
/// that find no room are lost, and counted as lost.
///
/// # Errors
/// The metrics cannot be read, or the recorder takes nothing more.
pub(crate) async fn beside(recorder: &Recorder) -> Result<(), String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("this machine's metrics cannot be read: {error}");
    let opened = tokio::task::spawn_blocking(|| Host::open(EVERY)).await;
    let opened = opened.map_err(|error| unreadable(&error))?;
    let mut host = opened.map_err(|error| unreadable(&error))?;
    let mut ticks = Ticks::new(Instant::now() + Host::WARM_UP, EVERY);
    loop {
        ticks.next().await;
        let read = tokio::task::spawn_blocking(move || {
            let snapshot = host.snapshot();
            (host, snapshot)
        });
        let (reader, snapshot) = read.await.map_err(|error| unreadable(&error))?;
        host = reader;
        for (name, value) in snapshot.rows() {
            match recorder.try_record_at(&name, &value, snapshot.taken_at) {
                Ok(()) => {}
                Err(RecorderError::Full) => recorder.add_lost(&name, 1),
                Err(error @ (RecorderError::Rejected(_) | RecorderError::Dropped { .. })) => {
                    tracing::warn!(record = name, %error);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

//! One life for each operation that can fail.

use std::env;
use std::sync::Arc;

use annals_core::{BackendError, ErrorKind, PersistenceBackend, PersistenceError};
use tokio::runtime::Builder;

use crate::medium::{Fault, Medium};
use crate::panics;
use crate::scenario::Life;

/// Where stores are made: an engine's files on a medium.
pub trait Bed {
    /// Whether a store can be opened again after a failed sync on the machine as it runs, where the
    /// kernel shows pages that never got onto the medium. Otherwise it is started anew before.
    const OUTLIVES_A_FAILED_SYNC: bool;

    /// A place for a new store. `medium` lies under its files.
    fn make(medium: Arc<Medium>) -> Self;

    /// Its file.
    fn path(&self) -> &str;

    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// What the engine reports.
    fn open(&self) -> Result<Arc<dyn PersistenceBackend>, PersistenceError>;

    /// Leaves of its files what the medium has after a loss of power.
    ///
    /// # Errors
    /// When the files cannot be written.
    fn leave(&self, files: std::collections::BTreeMap<String, Vec<u8>>) -> std::io::Result<()>;
}

/// With this variable in the environment so many lives are played instead.
const LIVES: &str = "ANNALS_TEST_FAULTS";

/// Lets each of the operations of a store's life fail in this way, or `lives` of them, spread
/// evenly.
///
/// # Errors
/// What a store did wrong, and with which operation.
pub fn every<B: Bed>(fault: Fault, lives: u64) -> Result<(), String> {
    let lives = env::var(LIVES).ok().and_then(|lives| lives.parse().ok()).unwrap_or(lives);
    let (operations, _) = life::<B>(None, 0).map_err(|told| format!("without a fault: {told}"))?;
    let lives = lives.min(operations);
    let mut struck = 0;
    for number in 0..lives {
        let at = 1 + number * operations / lives;
        let (_, has_struck) = life::<B>(Some((at, fault)), at)
            .map_err(|told| format!("{fault:?} at operation {at} of {operations}: {told}"))?;
        struck += u64::from(has_struck);
    }
    // Folding goes its own pace, so that a life may have fewer operations than the first one had.
    if struck * 10 < lives * 9 {
        return Err(format!("{fault:?} struck in {struck} of {lives} lives only"));
    }
    Ok(())
}

/// One life; answers how many operations it had, and whether the fault struck.
fn life<B: Bed>(fault: Option<(u64, Fault)>, seed: u64) -> Result<(u64, bool), String> {
    let runtime = Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let medium = Arc::new(Medium::modelled());
    let bed = B::make(medium.clone());
    // Making a file is not a matter of a store's life everywhere.
    let made = bed.open().map_err(|error| error.to_string())?;
    runtime.block_on(made.close()).map_err(|error| error.to_string())?;
    drop(made);
    let (at, kind) = fault.unwrap_or((u64::MAX, Fault::Error));
    medium.arm(at, kind);
    let open = || {
        if !B::OUTLIVES_A_FAILED_SYNC && medium.has_failed_sync() && !medium.is_down() {
            bed.leave(medium.after_power_cut(seed)).map_err(|error| {
                BackendError::new("test", "leave", ErrorKind::Io, error.to_string())
            })?;
        }
        bed.open()
    };
    let mut life = Life::new(&medium, &open);
    runtime.block_on(life.play())?;
    let (operations, has_struck) = (medium.operations(), medium.has_struck());
    medium.disarm();
    // After an error half of the machines are switched off rather than shut down.
    if fault.is_some() && (medium.is_down() || seed.is_multiple_of(2)) {
        let left = medium.after_power_cut(seed);
        bed.leave(left).map_err(|error| error.to_string())?;
    }
    runtime.block_on(life.check())?;
    panics::take()?;
    Ok((operations, has_struck))
}

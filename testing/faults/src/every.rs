//! One life for each operation that can fail.

use std::env;
use std::sync::Arc;

use annals_core::{BackendError, ErrorKind};
use tokio::runtime::Builder;

use crate::bed::{Bed, Place};
use crate::medium::{Fault, Medium};
use crate::panics;
use crate::scenario::Life;

/// An environment variable that sets the number of lives.
const LIVES: &str = "ANNALS_TEST_FAULTS";

/// Lets each operation of a store's life fail in this way, or `lives` of them, spread evenly.
pub(crate) fn every<B: Bed>(fault: Fault, lives: u64) -> Result<(), String> {
    let lives = env::var(LIVES).ok().and_then(|lives| lives.parse().ok()).unwrap_or(lives);
    let (operations, _) =
        life::<B>(None, 0).map_err(|failed| format!("without a fault: {failed}"))?;
    let lives = lives.min(operations);
    let mut struck = 0;
    for number in 0..lives {
        let at = 1 + number * operations / lives;
        let (_, has_struck) = life::<B>(Some((at, fault)), at)
            .map_err(|failed| format!("{fault:?} at operation {at} of {operations}: {failed}"))?;
        struck += u64::from(has_struck);
    }
    // The compactor has its own pace, so that a life may have fewer operations than the first one had.
    if struck * 10 < lives * 9 {
        return Err(format!("{fault:?} struck in {struck} of {lives} lives only"));
    }
    Ok(())
}

/// One life; answers how many operations it had, and whether the fault struck.
fn life<B: Bed>(fault: Option<(u64, Fault)>, seed: u64) -> Result<(u64, bool), String> {
    let runtime = Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let medium = Arc::new(Medium::modelled());
    let place = Place::<B>::new(medium.clone());
    // Creating a file is not part of the life: redb does it outside the medium.
    let made = place.open().map_err(|error| error.to_string())?;
    runtime.block_on(made.close()).map_err(|error| error.to_string())?;
    drop(made);
    let (at, kind) = fault.unwrap_or((u64::MAX, Fault::Error));
    medium.arm(at, kind);
    let open = || {
        if !B::OUTLIVES_A_FAILED_SYNC && medium.has_failed_sync() && !medium.is_down() {
            place.leave(medium.after_power_cut(seed)).map_err(|error| {
                BackendError::new("test", "leave", ErrorKind::Io, error.to_string())
            })?;
        }
        place.open()
    };
    let mut life = Life::new(&medium, &open);
    runtime.block_on(life.play())?;
    let (operations, has_struck) = (medium.operations(), medium.has_struck());
    medium.disarm();
    // After an error half of the machines are switched off rather than shut down.
    if fault.is_some() && (medium.is_down() || seed.is_multiple_of(2)) {
        let left = medium.after_power_cut(seed);
        place.leave(left).map_err(|error| error.to_string())?;
    }
    runtime.block_on(life.check())?;
    panics::take()?;
    Ok((operations, has_struck))
}

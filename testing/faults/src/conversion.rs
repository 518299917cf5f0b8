//! An older file that is converted on a medium that fails.

use std::sync::Arc;

use annals_core::{Order, PersistenceBackend, QueryParams, StoredValue};
use tokio::runtime::Builder;

use crate::child::Child;
use crate::every::Bed;
use crate::medium::{Fault, Medium};
use crate::panics;

/// Lets each operation of the first opening fail in this way, one after the other. The file must
/// then open, with all of `rows`, records in order and each oldest first. `make` makes the old file
/// at a path, and `is_whole` looks at a file without the backend: whether it is either as old as it
/// was, with all that was in it, or new.
///
/// # Errors
/// What is lost, and with which operation.
pub fn every_conversion<B: Bed>(
    fault: Fault,
    make: &dyn Fn(&str),
    is_whole: &dyn Fn(&str) -> bool,
    rows: &[StoredValue],
) -> Result<(), String> {
    for at in 1.. {
        let medium = Arc::new(Medium::modelled());
        let bed = B::make(medium.clone());
        make(bed.path());
        let old = std::fs::read(bed.path()).map_err(|error| error.to_string())?;
        medium.put(bed.path(), old);
        medium.arm(at, fault);
        drop(bed.open());
        let has_struck = medium.has_struck();
        medium.disarm();
        let told = |told: String| format!("{fault:?} at operation {at}: {told}");
        if medium.is_down() {
            bed.leave(medium.after_power_cut(at)).map_err(|error| told(error.to_string()))?;
        }
        if !is_whole(bed.path()) {
            return Err(told("the file is neither the old one nor a new one".into()));
        }
        converted(&bed, rows).map_err(told)?;
        if !has_struck {
            return if at > 10 { Ok(()) } else { Err("nothing was converted".into()) };
        }
    }
    Ok(())
}

/// The same with a process that is killed before an operation; every third one, since each takes a
/// process. `start` starts one that opens the file at a path, on a medium that kills it at a number.
///
/// # Errors
/// What is lost, and with which operation.
pub fn every_killed_conversion<B: Bed>(
    start: &dyn Fn(&str, u64) -> std::io::Result<Child>,
    make: &dyn Fn(&str),
    is_whole: &dyn Fn(&str) -> bool,
    rows: &[StoredValue],
) -> Result<(), String> {
    for at in (1..).step_by(3) {
        let bed = B::make(Arc::default());
        make(bed.path());
        let mut child = start(bed.path(), at).map_err(|error| error.to_string())?;
        if let Some(line) = child.line() {
            return Err(format!("a child said {line}"));
        }
        let has_ended = child.wait().map_err(|error| error.to_string())?;
        let told = |told: &str| format!("killed at operation {at}: {told}");
        if !is_whole(bed.path()) {
            return Err(told("the file is neither the old one nor a new one"));
        }
        converted(&bed, rows).map_err(|error| told(&error))?;
        if has_ended {
            return if at > 10 { Ok(()) } else { Err("nothing was converted".into()) };
        }
    }
    Ok(())
}

/// Checks that a file opens with all rows.
fn converted(bed: &impl Bed, rows: &[StoredValue]) -> Result<(), String> {
    let runtime = Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let store = bed.open().map_err(|error| error.to_string())?;
    let found = runtime.block_on(everything(&*store)).map_err(|error| error.to_string())?;
    if found != rows {
        return Err(format!("{} rows instead of {}, or others", found.len(), rows.len()));
    }
    runtime.block_on(store.close()).map_err(|error| error.to_string())?;
    panics::take()
}

async fn everything(
    store: &dyn PersistenceBackend,
) -> Result<Vec<StoredValue>, annals_core::PersistenceError> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    store.query("*", params).await
}

//! Conversion of an old file on a medium that fails.

use std::sync::Arc;

use annals_core::{Order, PersistenceBackend, QueryParams, StoredValue};
use serde_json::json;
use tokio::runtime::Builder;

use crate::bed::{Bed, Place};
use crate::child::Child;
use crate::medium::{Fault, Medium};
use crate::panics;

/// A kind of file that an older version or another program made.
#[derive(Debug, Clone, Copy)]
pub struct OldFile {
    /// Makes one with [`old_rows`] at a path.
    pub make: fn(&str),
    /// Looks at a file without the backend: whether it is either unchanged, with all rows, or new.
    pub is_whole: fn(&str) -> bool,
}

/// The number of rows in an old file: a conversion makes several runs with [`tiny`](crate::tiny).
pub const OLD_ROWS: u64 = 160;

/// The rows of an old file, records in order and each oldest first. Row `n` is the array `[n, text]` at
/// time `n / 4` in the record `a` or `b`.
pub fn old_rows() -> Vec<StoredValue> {
    let of = |record: u64| (0..OLD_ROWS).filter(move |at| at % 2 == record);
    let row = |at: u64| StoredValue {
        record_name: ["a", "b"][(at % 2) as usize].into(),
        value: json!([at, "x".repeat(40)]),
        stored_at: at / 4,
    };
    of(0).chain(of(1)).map(row).collect()
}

/// Lets each operation of the first opening fail in this way, one after the other. The file must then
/// open with all rows.
pub(crate) fn every_conversion<B: Bed>(fault: Fault, old: OldFile) -> Result<(), String> {
    for at in 1.. {
        let medium = Arc::new(Medium::modelled());
        let place = Place::<B>::new(medium.clone());
        (old.make)(place.path());
        let content = std::fs::read(place.path()).map_err(|error| error.to_string())?;
        medium.put(place.path(), content);
        medium.arm(at, fault);
        drop(place.open());
        let has_struck = medium.has_struck();
        medium.disarm();
        let failed = |failed: String| format!("{fault:?} at operation {at}: {failed}");
        if medium.is_down() {
            place.leave(medium.after_power_cut(at)).map_err(|error| failed(error.to_string()))?;
        }
        if !(old.is_whole)(place.path()) {
            return Err(failed("the file is neither the old one nor a new one".into()));
        }
        converted(&place).map_err(failed)?;
        if !has_struck {
            return if at > 10 { Ok(()) } else { Err("nothing was converted".into()) };
        }
    }
    Ok(())
}

/// The same with a process that is killed before an operation; only every third operation, since each
/// takes a process. `start` starts one that opens the file at a path, on a medium that kills it at an
/// operation.
pub(crate) fn every_killed_conversion<B: Bed>(
    start: &dyn Fn(&str, u64) -> std::io::Result<Child>,
    old: OldFile,
) -> Result<(), String> {
    for at in (1..).step_by(3) {
        let place = Place::<B>::new(Arc::default());
        (old.make)(place.path());
        let mut child = start(place.path(), at).map_err(|error| error.to_string())?;
        if let Some(line) = child.line() {
            return Err(format!("a child said {line}"));
        }
        let has_ended = child.wait().map_err(|error| error.to_string())?;
        let failed = |failed: &str| format!("killed at operation {at}: {failed}");
        if !(old.is_whole)(place.path()) {
            return Err(failed("the file is neither the old one nor a new one"));
        }
        converted(&place).map_err(|error| failed(&error))?;
        if has_ended {
            return if at > 10 { Ok(()) } else { Err("nothing was converted".into()) };
        }
    }
    Ok(())
}

/// Checks that a file opens with all rows.
fn converted(place: &Place<impl Bed>) -> Result<(), String> {
    let runtime = Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let store = place.open().map_err(|error| error.to_string())?;
    let found = runtime.block_on(everything(&*store)).map_err(|error| error.to_string())?;
    if found != old_rows() {
        return Err(format!("{} rows instead of {OLD_ROWS}, or others", found.len()));
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

//! Runs the conformance suite on a backend that is adapted to AimDB's trait and back.

use std::process::ExitCode;
use std::sync::Arc;

use annals_conformance::Suite;
use annals_core::MemoryBackend;

#[cfg(feature = "aimdb-1")]
use annals_aimdb::adapter::line1 as adapter;
#[cfg(not(feature = "aimdb-1"))]
use annals_aimdb::adapter::line2 as adapter;

fn main() -> ExitCode {
    let there_and_back = || {
        let theirs = adapter::ToAimDb::new(MemoryBackend::new());
        adapter::FromAimDb::new(Arc::new(theirs))
    };
    Suite::in_memory("AimDB's and back", there_and_back).main()
}

//! redb is held to the contract while it flushes and merges all the time.

#[path = "../conformance/files.rs"]
mod files;
#[path = "../conformance/storage.rs"]
mod storage;

use std::process::ExitCode;

use annals_conformance::Suite;
use annals_test_faults::compacting;

fn main() -> ExitCode {
    Suite::new(files::Files { name: "redb-compaction", tuning: compacting() }).main()
}

//! SQLite is held to the contract while it flushes and merges all the time.

#[path = "../conformance/files.rs"]
mod files;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;

use annals_conformance::Suite;
use annals_test_faults::compacting;

fn main() -> ExitCode {
    Suite::new(files::Files { name: "sqlite-compaction", tuning: compacting() }).main()
}

//! redb is held to the contract.

mod files;
mod storage;

use std::process::ExitCode;

use annals_conformance::Suite;
use annals_embedded::Tuning;

fn main() -> ExitCode {
    Suite::new(files::Files { name: "redb", tuning: Tuning::default() }).main()
}

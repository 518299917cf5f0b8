//! SQLite is held to the contract.

mod files;
mod vfs;

use std::process::ExitCode;

use annals_conformance::Suite;
use annals_embedded::Tuning;

fn main() -> ExitCode {
    Suite::new(files::Files { name: "sqlite", tuning: Tuning::default() }).main()
}

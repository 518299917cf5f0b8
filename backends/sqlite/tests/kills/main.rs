//! Processes with SQLite files that are killed.

#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../faults/bed.rs"]
mod bed;
#[path = "../faults/old.rs"]
mod old;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;

use annals_test_faults::{OldFile, kill_trials};

const OLD: [OldFile; 4] = [old::VERSION_1, old::VERSION_2, old::VERSION_3, old::AIMDB];

fn main() -> ExitCode {
    kill_trials::<bed::Sqlite>(3, &OLD)
}

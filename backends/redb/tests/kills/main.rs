//! Processes with redb files that are killed.

#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../faults/bed.rs"]
mod bed;
#[path = "../faults/old.rs"]
mod old;
#[path = "../conformance/storage.rs"]
mod storage;

use std::process::ExitCode;

use annals_test_faults::{OldFile, kill_trials};

const OLD: [OldFile; 1] = [old::VERSION_1];

fn main() -> ExitCode {
    kill_trials::<bed::Redb>(1, &OLD)
}

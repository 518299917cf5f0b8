//! The contract, held by a backend that opens its store at the first call.

#![allow(clippy::expect_used, reason = "a test may panic")]

use std::process::ExitCode;

use annals_conformance::Suite;

fn main() -> ExitCode {
    let make = || annals::connect_lazy("memory:").expect("memory: takes no options");
    Suite::in_memory("lazy", make).main()
}

//! The reference passes.

use std::process::ExitCode;

use annals_conformance::Suite;
use annals_core::MemoryBackend;

fn main() -> ExitCode {
    Suite::in_memory("memory", MemoryBackend::new).main()
}

//! SQLite is held to the contract while it folds and merges all the time.

#[path = "../conformance/files.rs"]
mod files;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;

use annals_conformance::Suite;
use annals_embedded::Tuning;
use annals_embedded::format::Layout;

fn main() -> ExitCode {
    let tuning = Tuning {
        fold_rows: 40,
        fold_bytes: 8 << 10,
        fold_blocks: 12,
        class_rows: [150, 600, 2_400],
        class_bytes: [32 << 10, 128 << 10, 512 << 10],
        merged_runs: 3,
        split_rows: 60,
        layout: Layout { block_rows: 16, block_text: 2 << 10, fresh_rows: 3, fresh_from: 6 },
    };
    Suite::new(files::Files { name: "sqlite-folding", tuning }).main()
}

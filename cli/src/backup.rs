//! `annals backup`: copies a live history into a new file.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;

use crate::failure::Failure;
use crate::file_store::{FileStore, stop_at_ctrl_c};
use crate::output::counted;
use crate::spinner::Spinner;

/// Copy a SQLite or redb history into a new file and verify the copy
///
/// Programs that use a SQLite history go on meanwhile; the copy is one state of it. A redb file is
/// copied while no other program has it open. The copy is read once, and appears under its name when
/// it is complete. It is a history itself: query it, or put it back with `annals restore`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The new file
    file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  annals backup history-monday.db
  annals --backend redb:history.redb backup copy.redb";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let otherwise = "back up PostgreSQL with pg_dump or pgBackRest, or use `annals export`";
    let store = FileStore::open_to_read(backend, otherwise).await?;
    stop_at_ctrl_c()?;
    let mut spinner = Spinner::new("copying and verifying");
    let copied = store.backup(&args.file).await;
    spinner.clear();
    let closed = store.close().await;
    let report = copied?;
    closed?;
    let (rows, records) = (counted(report.rows, "row"), counted(report.records, "record"));
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {rows} of {records}, verified", args.file.display())
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

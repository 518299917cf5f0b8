//! `annals restore`: puts a backup in the place of a history.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;

use crate::failure::Failure;
use crate::file_store::{FileStore, stop_at_ctrl_c};
use crate::output::counted;
use crate::spinner::Spinner;
use crate::store;

/// Copy a backup to the file that --backend names and verify the copy
///
/// A file that is there is not overwritten: move it away first. Logs that it left get the
/// end .old, because they do not belong to the backup. The copy is another history: cursors from
/// before are refused, and a forwarder goes on where its destination is.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The backup: a file that `annals backup` wrote, or a file of a program that has ended
    file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  annals --backend sqlite:history.db restore history-monday.db
  annals --backend redb:history.redb restore copy.redb";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let otherwise = "restore PostgreSQL with pg_restore or pgBackRest, or use `annals import`";
    stop_at_ctrl_c()?;
    let mut spinner = Spinner::new("copying and verifying");
    let restored = FileStore::restore(&args.file, backend, otherwise).await;
    spinner.clear();
    let report = restored?;
    let (rows, records) = (counted(report.rows, "row"), counted(report.records, "record"));
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {rows} of {records}, verified", store::shown(backend))
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

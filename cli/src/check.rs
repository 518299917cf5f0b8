//! `annals check`: tells whether a file is sound.

use std::io::{self, Write};

use clap::Parser;

use crate::failure::Failure;
use crate::file_store::{FileStore, lost_rows, silence_panics};
use crate::output::counted;
use crate::stderr::print_note;

/// Tell whether a SQLite or redb file is sound
///
/// Compares names, runs, counts and the newest rows with their checksums. With --deep, all rows are
/// read as well, and the engine's own check runs. Prints what is damaged and how much is lost; the
/// exit code is 1 then.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Read every row and every page
    #[arg(long)]
    deep: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals check --deep
  annals --backend redb:history.redb check";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let otherwise = "PostgreSQL has pg_amcheck";
    silence_panics();
    let store = FileStore::open_damaged(backend, otherwise).await?;
    let report = store.check(args.deep).await;
    let closed = store.close().await;
    let report = report?;
    report.damage.iter().for_each(|damage| print_note(&damage.to_string()));
    if !report.is_sound() {
        return Err(Failure::Failed(format!(
            "{} damaged{}; `annals salvage` copies everything that is readable",
            counted(report.damage.len() as u64, "place"),
            lost_rows(&report, 0)
        )));
    }
    closed?;
    if !args.deep && backend.starts_with("redb:") {
        // What lies outside of the structure keeps redb from opening a file, too.
        FileStore::open_to_read(backend, otherwise).await?.close().await?;
    }
    let (rows, records) = (counted(report.rows, "row"), counted(report.records, "record"));
    let what = if args.deep { "sound" } else { "structure sound (--deep reads the values)" };
    let mut out = io::stdout().lock();
    writeln!(out, "{what}: {rows} of {records}").and_then(|()| out.flush()).map_err(Failure::Output)
}

//! `annals compact`: gives free space back to the file system.

use std::io::{self, Write};

use clap::Parser;
use indicatif::HumanBytes;

use crate::failure::Failure;
use crate::file_store::{FileStore, stop_at_ctrl_c};
use crate::spinner::Spinner;
use crate::store;

/// Give the space of deleted values back to the file system
///
/// Brings all rows to rest in columns, then writes the SQLite or redb file anew. SQLite needs as much
/// free space as the content takes meanwhile. Other programs that store wait.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

const EXAMPLES: &str = "\
Examples:
  annals cleanup --older-than 30d
  annals compact";

pub(crate) async fn run(backend: &str, _: Args) -> Result<(), Failure> {
    let otherwise = "PostgreSQL has VACUUM FULL, and drops old partitions and chunks whole";
    let store = FileStore::open(backend, otherwise).await?;
    let before = size(backend)?;
    stop_at_ctrl_c()?;
    let mut spinner = Spinner::new("compacting");
    let compacted = store.compact().await;
    spinner.clear();
    let closed = store.close().await;
    compacted?;
    closed?;
    let after = size(backend)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} before, {} now", HumanBytes(before), HumanBytes(after))
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// The bytes of the file.
fn size(backend: &str) -> Result<u64, Failure> {
    let Some(path) = store::file(backend)? else { return Ok(0) };
    let read = std::fs::metadata(&path);
    let read = read.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    Ok(read.len())
}

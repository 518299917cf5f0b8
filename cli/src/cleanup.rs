//! `annals cleanup`: deletes old rows.

use std::io::{self, BufRead, IsTerminal, Write};

use annals::PersistenceBackend;
use clap::Parser;

use crate::failure::Failure;
use crate::moment::{Moment, now_ms, to_the_ms};
use crate::output::counted;
use crate::store;

/// Delete the values of all records that are older than a given time
///
/// Prints the number of deleted values. Asks for confirmation on a terminal, never in a script.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Delete values stored before T; a value stored exactly at T stays
    ///
    /// T is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z), or an age (24h,
    /// 7d, 1h30m).
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    older_than: Moment,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals cleanup --older-than 30d
  annals cleanup --older-than 2026-01-01T00:00:00Z --yes";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    args.older_than.note_if_early("--older-than");
    let older_than = args.older_than.at_or_after(now_ms());
    let store = store::open_existing(backend).await?;
    if !args.yes && io::stdin().is_terminal() && !confirmed(backend, older_than)? {
        return Err(Failure::Failed("nothing was deleted".to_owned()));
    }
    let deleted = store.cleanup(older_than).await?;
    store.close().await?;
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        writeln!(out, "{} deleted", counted(deleted, "value"))
    } else {
        writeln!(out, "{deleted}")
    }
    .and_then(|()| out.flush())
    .map_err(Failure::Output)
}

/// Asks on stderr: stdout carries the number only.
fn confirmed(backend: &str, older_than: u64) -> Result<bool, Failure> {
    let unreadable = |error| Failure::Failed(format!("the answer cannot be read: {error}"));
    let mut err = io::stderr().lock();
    write!(
        err,
        "Delete all values in {} stored before {}? [y/N] ",
        store::shown(backend),
        to_the_ms(older_than)
    )
    .and_then(|()| err.flush())
    .map_err(unreadable)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

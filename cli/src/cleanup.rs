//! `annals cleanup`: old rows go.

use std::io::{self, BufRead, IsTerminal, Write};

use annals::PersistenceBackend;
use clap::Parser;

use crate::failure::Failure;
use crate::moment::{Moment, now_ms, to_the_ms};
use crate::output::counted;
use crate::store;

/// Delete the values of all records that are older than a point in time
///
/// Prints how many were deleted. On a terminal it asks first; in a script it does not.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Values stored before T go; what was stored at T itself stays
    ///
    /// T is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z), or an age (24h,
    /// 7d, 1h30m).
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    older_than: Moment,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals cleanup --older-than 30d
  annals cleanup --older-than 2026-01-01T00:00:00Z --yes";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    args.older_than.remark("--older-than");
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

/// Asks on stderr, so that the number alone is on stdout.
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

//! `annals salvage`: copies everything that can be read out of a damaged file.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{Batch, ErrorKind, Grammar, JsonText, PersistenceError, RawRow, RecordName, Row};
use clap::Parser;
use tokio::runtime::Handle;

use crate::failure::Failure;
use crate::file_store::{FileStore, lost_rows, silence_panics, stop_at_ctrl_c};
use crate::output::counted;
use crate::spinner::Spinner;
use crate::stderr::print_note;
use crate::store;

/// Copy everything that can be read out of a damaged file into another history
///
/// Prints what cannot be read; the exit code is 1 then. The damaged file is the one that --backend
/// names. Rows whose name is lost are stored as lost+found:: and a number. Batch numbers of writers
/// are not copied.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The URL of the history that gets the rows, of any backend; it must be empty
    #[arg(value_name = "URL")]
    to: String,
}

const EXAMPLES: &str = "\
Examples:
  annals --backend sqlite:damaged.db salvage sqlite:salvaged.db
  annals --backend redb:damaged.redb salvage postgres://me@host/plant";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let otherwise = "PostgreSQL keeps its own tables";
    if backend == args.to {
        return Err(Failure::Usage("the rows cannot go into the damaged file itself".to_owned()));
    }
    silence_panics();
    let damaged = FileStore::open_to_salvage(backend, otherwise).await?;
    let to = store::open(&args.to).await?;
    if !to.records("*", Grammar::Glob).await?.is_empty() {
        let shown = store::shown(&args.to);
        let message =
            format!("{shown} has rows, which may be the same ones; name an empty history");
        return Err(Failure::Usage(message));
    }
    stop_at_ctrl_c()?;
    let mut spinner = Spinner::new("copying");
    let skipped = Arc::new(AtomicU64::new(0));
    let (sink, runtime, counter) = (to.clone(), Handle::current(), skipped.clone());
    let salvaged = damaged
        .salvage(move |rows| {
            let all = rows.len();
            let rows: Vec<Row> = rows.into_iter().filter_map(|raw| row(raw).ok()).collect();
            counter.fetch_add((all - rows.len()) as u64, Ordering::Relaxed);
            runtime.block_on(sink.store_batch(&Batch::new(rows)))
        })
        .await;
    spinner.clear();
    damaged.close().await;
    to.close().await?;
    let report = salvaged.map_err(|error| match &error {
        PersistenceError::Backend(found) if found.kind() == ErrorKind::Corrupt => {
            let place = store::shown(backend);
            Failure::Failed(format!("nothing of {place} can be read: {error}; restore a backup"))
        }
        _ => error.into(),
    })?;
    report.damage.iter().for_each(|damage| print_note(&damage.to_string()));
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} copied to {}",
        counted(report.rows - skipped.load(Ordering::Relaxed), "row"),
        store::shown(&args.to)
    )
    .and_then(|()| out.flush())
    .map_err(Failure::Output)?;
    let skipped = skipped.load(Ordering::Relaxed);
    if report.is_sound() && skipped == 0 {
        return Ok(());
    }
    let places = counted(report.damage.len() as u64, "place");
    Err(Failure::Failed(format!("{places} damaged{}", lost_rows(&report, skipped))))
}

/// The row, unless its text is not JSON.
fn row(row: RawRow) -> Result<Row, PersistenceError> {
    let value = JsonText::from_text(row.json, usize::MAX)?;
    Ok(Row { record: RecordName::new(&*row.record)?, value, stored_at: row.stored_at })
}

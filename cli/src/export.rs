//! `annals export`: prints history for `annals import`.

use std::io;
use std::path::PathBuf;

use annals::{FollowFrom, FollowParams, FollowStream, Order, PersistenceBackend, QueryParams};
use clap::{Parser, ValueEnum};

use crate::cursor_file::CursorFile;
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::moment::{Moment, window};
use crate::output::{Format, Style};
use crate::plot::parquet;
use crate::query::RowPrinter;
use crate::{query, store};

/// Print history in a format that `annals import` reads
///
/// Each row is a line with `record`, `value` and `stored_at` (Unix milliseconds), ordered by record
/// name, then oldest first, then by arrival. An import into an empty history restores it exactly.
/// The output is one snapshot, and memory does not grow with the number of rows.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which records [default: all]; * matches any run of characters
    pattern: Option<String>,

    /// Only values stored at T or later: Unix milliseconds, RFC 3339, or an age such as 24h
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    from: Option<Moment>,

    /// Only values stored at T or earlier; T as in --from
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    to: Option<Moment>,

    /// Only rows that arrived since the last export with this FILE, in their order of arrival
    ///
    /// Without a FILE, all rows. When the output is complete, FILE is replaced, so that each row is in
    /// one export, late ones too. What was erased or corrected since does not come again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    since_cursor: Option<PathBuf>,

    /// How wildcards in PATTERN work
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR")]
    grammar: Grammar,

    /// The format of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Exchange,
}

/// A format that `annals import` reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Exchange {
    /// One JSON object per line
    #[default]
    Ndjson,
    /// A header and one line per row, quoted as in RFC 4180; a value is its JSON text
    Csv,
    /// Parquet, for DuckDB, pandas and Polars
    Parquet,
}

const EXAMPLES: &str = "\
Examples:
  annals export > history.ndjson
  annals export 'host::*' --from 30d --output csv > month.csv
  annals --backend redb:a.redb export | annals --backend sqlite:b.db import
  annals export --since-cursor backup.cursor > backup-$(date +%F).ndjson

A row whose stored text is not JSON is skipped. The number of skipped rows is printed at the end, \
and the exit code is 1.";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    // Every record, in any grammar.
    let (pattern, grammar) = match args.pattern {
        Some(pattern) => (pattern, args.grammar),
        None => ("*".to_owned(), Grammar::Glob),
    };
    let (start_time, end_time) = window(args.from.as_ref(), args.to.as_ref());
    let params = QueryParams::default()
        .with_limit_per_record(None)
        .with_start_time(start_time)
        .with_end_time(end_time)
        .with_order(Order::OldestFirst)
        .with_grammar(grammar.into());
    let output = match args.output {
        Exchange::Ndjson => Format::Ndjson,
        Exchange::Csv => Format::Csv,
        Exchange::Parquet => parquet()?,
    };
    let store = store::open_to_read(backend).await?;
    if let Some(path) = &args.since_cursor {
        let file = CursorFile::new(path, &pattern, grammar);
        arrived(&*store, &pattern, grammar, &file, output).await?;
        store.close().await?;
        return Ok(());
    }
    let rows = store.query_stream(&pattern, params).await?;
    query::print(rows, Some(output), &Style::default()).await?;
    store.close().await?;
    Ok(())
}

/// Prints what arrived since the cursor in the file, and then replaces that.
async fn arrived(
    store: &dyn PersistenceBackend,
    pattern: &str,
    grammar: Grammar,
    file: &CursorFile,
    output: Format,
) -> Result<(), Failure> {
    if !store.guarantees().complete_follow {
        let why = "--since-cursor: this backend does not number what arrives (complete_follow)";
        return Err(Failure::Usage(why.to_owned()));
    }
    let from = file.read()?.map_or(FollowFrom::Time(0), FollowFrom::Cursor);
    let params = FollowParams::from(from).with_grammar(grammar.into()).with_wait(false);
    let mut rows = FollowStream::new(store, pattern, params);
    let style = Style::default();
    let mut out = RowPrinter::new(output, &style);
    while let Some(page) = rows.next_rows().await {
        out.rows(&page.map_err(|error| file.explain(error))?)?;
    }
    out.finish()?;
    sync_stdout().map_err(Failure::Output)?;
    rows.cursor().map_or(Ok(()), |cursor| file.replace(&cursor))
}

/// If stdout is a file, its bytes are on the disk before the cursor says so.
fn sync_stdout() -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let stdout = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
        if stdout.metadata()?.is_file() {
            stdout.sync_all()?;
        }
    }
    Ok(())
}

//! `annals export`: prints history for `annals import`.

use annals::{Order, PersistenceBackend, QueryParams};
use clap::Parser;

use crate::cli::{Exchange, Grammar};
use crate::failure::Failure;
use crate::moment::{Moment, window};
use crate::output::{Format, Style};
use crate::plot::parquet;
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

    /// How wildcards in PATTERN work
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR")]
    grammar: Grammar,

    /// The format of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Exchange,
}

const EXAMPLES: &str = "\
Examples:
  annals export > history.ndjson
  annals export 'host::*' --from 30d --output csv > month.csv
  annals --backend redb:a.redb export | annals --backend sqlite:b.db import

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
    let store = store::open_existing(backend).await?;
    let rows = store.query_stream(&pattern, params).await?;
    query::print(rows, Some(output), &Style::default()).await?;
    store.close().await?;
    Ok(())
}

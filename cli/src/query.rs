//! `annals query`: prints stored values while they are read.

use annals::{Order, PersistenceBackend, QueryExt, QueryParams};
use clap::Parser;
use futures_util::StreamExt;
use serde_json::value::RawValue;

use crate::cli::{Backend, Grammar};
use crate::failure::Failure;
use crate::moment::{Moment, window};
use crate::output::{Format, Header, Printer, ValueLine, counted};
use crate::source::Source;

/// Print stored values
///
/// The rows are ordered by record name, then newest first. Their members are `record`, `value` and
/// `stored_at` (Unix milliseconds). They are printed while they are read, and memory does not grow
/// with their number.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, override_usage = "annals query [OPTIONS] <PATTERN>")]
pub(crate) struct Args {
    /// Which records; * matches any run of characters, everything else is literal
    pattern: String,

    /// Only the newest N values of each record (within the time window)
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    latest: Option<usize>,

    /// Only values stored at T or later
    ///
    /// T is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z), or an age (24h,
    /// 30s, 7d, 1h30m).
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    from: Option<Moment>,

    /// Only values stored at T or earlier; T as in --from
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    to: Option<Moment>,

    /// Print the oldest value of each record first
    #[arg(long)]
    oldest_first: bool,

    /// How wildcards in PATTERN work; with --aimx the server decides
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR", conflicts_with = "aimx")]
    grammar: Grammar,

    /// The format of the output [default: table on a terminal, ndjson otherwise]
    ///
    /// A table is cut to the width of the terminal and escapes control and invisible characters.
    /// The other formats are complete and exact: a value is its stored JSON text. A csv cell that a
    /// spreadsheet would read as a formula is not changed.
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,

    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  annals query 'host::cpu*' --latest 3
  annals query 'host::*' --from 24h --to 1h --oldest-first
  annals query '*' --from 2026-05-17T00:00:00Z --output csv > day.csv
  annals query 'house.*.temperature' --grammar topic --latest 1
  annals query --aimx unix:/run/weather.sock 'accuracy::*' --latest 5
  annals query -- '-a name that begins with a dash'

A row whose stored text is not JSON is skipped. The number of skipped rows is printed at the end, \
and the exit code is 1.";

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a whole number, 0 or more".to_owned())
}

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    let (start_time, end_time) = window(args.from.as_ref(), args.to.as_ref());
    let params = QueryParams::default()
        .with_limit_per_record(args.latest)
        .with_start_time(start_time)
        .with_end_time(end_time)
        .with_order(if args.oldest_first { Order::OldestFirst } else { Order::NewestFirst })
        .with_grammar(args.grammar.into());
    let store = args.source.open(backend).await?;
    print(&*store, &args.pattern, params, args.output).await?;
    store.close().await?;
    Ok(())
}

/// Prints the rows of a query while they are read.
pub(crate) async fn print(
    store: &dyn PersistenceBackend,
    pattern: &str,
    params: QueryParams,
    output: Option<Format>,
) -> Result<(), Failure> {
    let mut rows = store.stream_typed::<Box<RawValue>>(pattern, params).await?;
    let mut printer = Printer::new(output, Header::values());
    while let Some(row) = rows.next().await {
        let row = row?;
        printer.line(&ValueLine::new(&row.record, row.value, row.stored_at))?;
    }
    printer.finish()?;
    match rows.skipped() {
        0 => Ok(()),
        skipped => Err(Failure::Failed(format!(
            "{} skipped: the stored text is not JSON",
            counted(skipped, "row")
        ))),
    }
}

//! `annals records`: lists the records.

use annals::PersistenceBackend;
use clap::Parser;

use crate::backend::Backend;
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::output::{Format, Header, Printer};
use crate::source::Source;

/// List records with their number of values and the time of the first and last one
///
/// The members are `record`, `count`, `first` and `last` (Unix milliseconds), ordered by name, byte
/// by byte. A record without values is not listed. AimX cannot count: with --aimx, all values are
/// read.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which records [default: all]; * matches any run of characters
    pattern: Option<String>,

    /// How wildcards in PATTERN work; with --aimx the server decides
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR", conflicts_with = "aimx")]
    grammar: Grammar,

    /// The format of the output [default: table on a terminal, ndjson otherwise]
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,

    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  annals records
  annals records 'host::disk::*' --output csv
  annals records '#' --grammar topic";

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    // Every record, in any grammar.
    let (pattern, grammar) = match args.pattern {
        Some(pattern) => (pattern, args.grammar),
        None => ("#".to_owned(), Grammar::Topic),
    };
    let store = args.source.open(backend).await?;
    let mut printer = Printer::new(args.output, Header::records());
    for summary in store.records(&pattern, grammar.into()).await? {
        printer.line(&summary)?;
    }
    printer.finish()?;
    store.close().await?;
    Ok(())
}

//! `annals records`: what is there.

use annals::PersistenceBackend;
use clap::Parser;

use crate::cli::{Backend, Grammar};
use crate::failure::Failure;
use crate::output::{Format, Header, Printer};
use crate::source::Source;

/// List records with their number of values and the first and last time
///
/// The members are `record`, `count`, `first` and `last` (Unix milliseconds), in byte order of the
/// name. A record without values is not listed. Over AimX, which does not count, all values are read
/// for it.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which records [default: all]: * stands for any run of characters, everything else is literal
    pattern: Option<String>,

    /// How the wildcards of PATTERN are read; with --aimx the server decides
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR", conflicts_with = "aimx")]
    grammar: Grammar,

    /// The form of the output [default: table on a terminal, ndjson otherwise]
    #[arg(long, value_enum, value_name = "FORM")]
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
    // Without a pattern every record is meant, whatever the grammar.
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

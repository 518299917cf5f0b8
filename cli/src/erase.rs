//! `annals erase`: deletes what must go.

use std::io::{self, IsTerminal, Write};

use annals::{
    Erasure, Pattern, PersistenceBackend, PersistenceError, Predicate, QueryParams, RecordSummary,
};
use clap::Parser;
use futures::StreamExt;

use crate::confirm::confirmed;
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::moment::{Moment, refuse_seconds, window};
use crate::output::counted;
use crate::query::{filter, rows};
use crate::store;

/// Delete stored values, wherever they are in time
///
/// All of them go at once, or none. Prints the number of deleted values. Asks for confirmation on a
/// terminal; elsewhere it needs --yes.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, override_usage = "annals erase [OPTIONS] <PATTERN>")]
pub(crate) struct Args {
    /// Which records; * matches any run of characters, everything else is literal
    pattern: String,

    /// Only values stored at T or later
    ///
    /// T is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z), or an age (24h,
    /// 30s, 7d, 1h30m).
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    from: Option<Moment>,

    /// Only values stored at T or earlier; T as in --from
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    to: Option<Moment>,

    /// Only values whose members satisfy FILTER, such as 'person = "ada"'; see `annals query --help`
    #[arg(long = "where", value_name = "FILTER", value_parser = filter)]
    filter: Option<Predicate>,

    /// How wildcards in PATTERN work
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR")]
    grammar: Grammar,

    /// Print how many values would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals erase 'badge::*' --where 'person = \"ada\"' --dry-run
  annals erase 'badge::*' --where 'person = \"ada\"' --yes
  annals erase sensor::7 --from 2026-05-17T08:00:00Z --to 2026-05-17T09:00:00Z

A batch that a recorder or an import sends again is not stored a second time, although its values \
were erased.";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    if !args.yes && !args.dry_run && !io::stdin().is_terminal() {
        let message = "there is no terminal to ask on: say --yes, or --dry-run to count the values";
        return Err(Failure::Usage(message.to_owned()));
    }
    refuse_seconds(&[("--from", &args.from), ("--to", &args.to)])?;
    let (start_time, end_time) = window(args.from.as_ref(), args.to.as_ref());
    let grammar = args.grammar.into();
    let erasure = Erasure::new(Pattern::new(&args.pattern, grammar)?)
        .with_start_time(start_time)
        .with_end_time(end_time)
        .with_where(args.filter.clone());
    let store = match args.dry_run {
        true => store::open_to_read(backend).await?,
        false => store::open_existing(backend).await?,
    };
    if args.dry_run || !args.yes {
        let (values, records) = count(&*store, &erasure).await?;
        if args.dry_run {
            store.close().await?;
            return print(values, "would be deleted");
        }
        let place = store::shown(backend);
        let (values, records) = (counted(values, "value"), counted(records, "record"));
        if !confirmed(&format!("Delete {values} of {records} in {place} for good?"))? {
            return Err(Failure::Failed("nothing was deleted".to_owned()));
        }
    }
    let erased = store.erase(&erasure).await.map_err(|error| match store::lacks_space(&error) {
        true => Failure::Failed(format!(
            "{error}; or erase less at once (--from, --to), or run `annals cleanup` first, which needs least \
             space"
        )),
        false => error.into(),
    })?;
    store.close().await?;
    print(erased, "deleted")
}

/// How many values of how many records it is now.
async fn count(
    store: &dyn PersistenceBackend,
    erasure: &Erasure,
) -> Result<(u64, u64), PersistenceError> {
    let (pattern, grammar) = (erasure.pattern.as_str(), erasure.pattern.grammar());
    if (erasure.start_time, erasure.end_time, &erasure.predicate) == (None, None, &None) {
        let records = store.records(pattern, grammar).await?;
        let values = records.iter().map(|RecordSummary { count, .. }| count).sum();
        return Ok((values, records.len() as u64));
    }
    let params = QueryParams::default()
        .with_start_time(erasure.start_time)
        .with_end_time(erasure.end_time)
        .with_grammar(grammar);
    let mut rows = rows(store, pattern, params, erasure.predicate.as_ref()).await?;
    let (mut values, mut records, mut last) = (0, 0, None);
    while let Some(row) = rows.next().await.transpose()? {
        values += 1;
        records += u64::from(last.as_ref() != Some(&row.record));
        last = Some(row.record);
    }
    Ok((values, records))
}

/// Prints the number alone where a program reads it.
pub(crate) fn print(values: u64, what: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.is_terminal() {
        true => writeln!(out, "{} {what}", counted(values, "value")),
        false => writeln!(out, "{values}"),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::Output)
}

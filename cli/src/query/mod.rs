//! `annals query`: prints stored values while they are read.

mod follow;

#[cfg(feature = "plot")]
use annals::aggregate::Member;
use annals::{
    Order, PersistenceBackend, PersistenceError, Predicate, QueryParams, RawRow, RowStream,
};
use clap::Parser;
use futures::StreamExt;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::backend::Backend;
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::moment::{Moment, window, zone};
use crate::output::{Format, Header, Printer, Style, ValueLine, WideRows, counted};
#[cfg(feature = "plot")]
use crate::plot::Chart;
use crate::plot::{Destination, OutputArgs};
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
    #[arg(long, visible_alias = "since", value_name = "T", allow_negative_numbers = true)]
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

    /// The value at T: the newest one of each record that was stored at T or earlier
    #[arg(
        long,
        value_name = "T",
        allow_negative_numbers = true,
        conflicts_with_all = ["latest", "from", "to"],
    )]
    at: Option<Moment>,

    /// The IANA time zone of --times local [default: this machine's] and of --plot [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,

    /// Only values whose members satisfy FILTER, such as 'celsius > 30 and ok = true'
    ///
    /// A comparison is a member (a name, or a JSON Pointer such as /outdoor/celsius), one of = != <
    /// <= > >=, and a number, a string in quotes, true, false or null; without a member it is about
    /// the value itself ('> 30'). `exists MEMBER`, `not`, `and`, `or` and parentheses combine.
    #[arg(long = "where", value_name = "FILTER", value_parser = filter)]
    filter: Option<Predicate>,

    /// The number in each value, for a chart: a member's name or a JSON Pointer
    /// [default: the value itself]
    #[arg(long, value_name = "MEMBER", default_value = "", hide_default_value = true)]
    member: String,

    #[command(flatten)]
    follow: follow::FollowArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  annals query 'host::cpu*' --latest 3
  annals query 'host::*' --from 24h --to 1h --oldest-first
  annals query '*' --from 2026-05-17T00:00:00Z --output csv > day.csv
  annals query 'plant::*' --from 7d --wide --excel=de > week.csv
  annals query '*' --output parquet > all.parquet
  annals query 'accuracy::*' --at 2026-11-28T08:00:00+01:00
  annals query 'host::cpu*' --from 24h --where 'percent > 90'
  annals query 'host::cpu*' --from 1h --plot --member percent
  annals query 'house.*.temperature' --grammar topic --latest 1
  annals query 'host::*' --follow --latest 1
  annals query '*' --follow --since 1h --cursor-file seen.cursor >> log.ndjson
  annals query --aimx unix:/run/weather.sock 'accuracy::*' --latest 5
  annals query -- '-a name that begins with a dash'

A row whose stored text is not JSON is skipped. The number of skipped rows is printed at the end, \
and the exit code is 1.";

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a whole number, 0 or more".to_owned())
}

/// A filter, or what is wrong with it.
pub(crate) fn filter(text: &str) -> Result<Predicate, String> {
    Predicate::parse(text).map_err(|error| match error {
        PersistenceError::InvalidPredicate { reason, .. } => reason,
        error => error.to_string(),
    })
}

/// The rows of a query, those that satisfy the filter if there is one.
pub(crate) async fn rows(
    store: &dyn PersistenceBackend,
    pattern: &str,
    params: QueryParams,
    filter: Option<&Predicate>,
) -> Result<RowStream, PersistenceError> {
    match filter {
        Some(filter) => store.query_where(pattern, params, filter).await,
        None => store.query_stream(pattern, params).await,
    }
}

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    if args.follow.is_on() {
        return follow::run(&backend.url, &args).await;
    }
    let destination = args.output.destination()?;
    let params = args.params();
    let store = args.source.open(backend).await?;
    let rows = rows(&*store, &args.pattern, params, args.filter.as_ref()).await?;
    match destination {
        Destination::Rows(format) => {
            let style = args.output.style(args.time_zone.clone());
            match args.output.is_wide() {
                true => print_wide(rows, &args, format, &style).await?,
                false => print(rows, format, &style).await?,
            }
        }
        #[cfg(feature = "plot")]
        Destination::Plot(form) => {
            let zone = args.time_zone.clone().unwrap_or(TimeZone::UTC);
            plot(rows, &args.member, zone).await?.print(form)?
        }
    }
    store.close().await?;
    Ok(())
}

impl Args {
    fn params(&self) -> QueryParams {
        let (start_time, end_time, limit) = match &self.at {
            Some(at) => (None, window(None, Some(at)).1, Some(1)),
            None => {
                let (start_time, end_time) = window(self.from.as_ref(), self.to.as_ref());
                (start_time, end_time, self.latest)
            }
        };
        let order = if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        QueryParams::default()
            .with_start_time(start_time)
            .with_end_time(end_time)
            .with_limit_per_record(limit)
            .with_order(order)
            .with_grammar(self.grammar.into())
    }
}

/// The numbers at `member` as a chart, one series per record.
#[cfg(feature = "plot")]
async fn plot(mut rows: RowStream, member: &str, zone: TimeZone) -> Result<Chart, Failure> {
    let member = Member::parse(member)?;
    let mut chart = Chart::new(zone);
    while let Some(row) = rows.next().await.transpose()? {
        if let Ok(Some(value)) = member.read(&row.json) {
            let at = i64::try_from(row.stored_at).unwrap_or(i64::MAX);
            chart.add(&row.record, at, Some(value))?;
        }
    }
    Ok(chart)
}

/// Prints the rows of a query while they are read.
pub(crate) async fn print(
    rows: RowStream,
    output: Option<Format>,
    style: &Style,
) -> Result<(), Failure> {
    let mut rows = rows.typed::<Box<RawValue>>();
    let mut printer = Printer::styled(output, Header::values(), style);
    while let Some(row) = rows.next().await {
        let row = row?;
        printer.line(&ValueLine::new(&row.record, row.value, row.stored_at, style))?;
    }
    printer.finish()?;
    all_read(rows.skipped())
}

/// Prints rows as they are delivered.
pub(crate) struct RowPrinter<'a> {
    printer: Printer,
    style: &'a Style,
    skipped: u64,
}

impl<'a> RowPrinter<'a> {
    pub(crate) fn new(output: Format, style: &'a Style) -> Self {
        let printer = Printer::styled(Some(output), Header::values(), style).without_count();
        Self { printer, style, skipped: 0 }
    }

    pub(crate) fn rows(&mut self, rows: &[RawRow]) -> Result<(), Failure> {
        for row in rows {
            match serde_json::from_str::<Box<RawValue>>(&row.json) {
                Ok(value) => self.printer.line(&ValueLine::new(
                    &row.record,
                    value,
                    row.stored_at,
                    self.style,
                ))?,
                Err(_) => self.skipped += 1,
            }
        }
        Ok(())
    }

    /// Hands over what was printed so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.printer.flush()
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.printer.finish()?;
        all_read(self.skipped)
    }
}

/// Prints a line for each time, with a column for each record.
async fn print_wide(
    rows: RowStream,
    args: &Args,
    output: Option<Format>,
    style: &Style,
) -> Result<(), Failure> {
    let mut rows = rows.typed::<Box<RawValue>>();
    let mut wide = WideRows::new();
    while let Some(row) = rows.next().await {
        let row = row?;
        wide.add(&row.record, row.stored_at, row.value.get())?;
    }
    wide.print(output, style, !args.oldest_first)?;
    all_read(rows.skipped())
}

fn all_read(skipped: u64) -> Result<(), Failure> {
    match skipped {
        0 => Ok(()),
        skipped => Err(Failure::Failed(format!(
            "{} skipped: the stored text is not JSON",
            counted(skipped, "row")
        ))),
    }
}

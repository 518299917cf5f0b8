//! `annals aggregate`: statistics over stored values, per interval.

use std::time::Duration;

use annals::{
    Aggregate, Bucket, Fill, Function, Interpolation, Order, PersistenceBackend, PersistenceError,
    Predicate, Width,
};
use clap::{Parser, ValueEnum};
use futures::{StreamExt, TryStreamExt};
use jiff::tz::TimeZone;

use crate::backend::Backend;
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::moment::{Moment, duration, now_ms, window};
use crate::output::{BucketTable, Printer, WideBuckets};
#[cfg(feature = "plot")]
use crate::plot::Chart;
use crate::plot::{Destination, OutputArgs};
use crate::query::filter;
use crate::source::Source;
use crate::stderr::print_note;

/// Print statistics over stored values: counts, means, percentiles, rates, durations, …
///
/// Each line is one interval (bucket) of one record, with the members `record`, `start` and `end`
/// (Unix milliseconds), `count`, and one member for each function in --show. Values without a
/// number at --member are counted in `skipped`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, override_usage = "annals aggregate [OPTIONS] <PATTERN>")]
pub(crate) struct Args {
    /// Which records; * matches any run of characters, everything else is literal
    pattern: String,

    /// The number in each value: a member's name (celsius) or a JSON Pointer (/outdoor/celsius)
    /// [default: the value itself]
    #[arg(long, value_name = "MEMBER", default_value = "", hide_default_value = true)]
    member: String,

    /// The width of a bucket: 15m, 1h, 24h; or of the calendar: 1d, 1w, 1mo, 1q, 1y
    /// [default: one bucket]
    ///
    /// A calendar width starts at local midnight in --time-zone: a day has 23 or 25 hours when the
    /// clocks change. 24h is a fixed width and starts at --origin.
    #[arg(long, value_name = "WIDTH", value_parser = width, allow_hyphen_values = true)]
    every: Option<Width>,

    /// Only values stored at T or later
    ///
    /// T is Unix milliseconds (1740081234000), RFC 3339 (2026-05-17T08:30:00Z), or an age (24h,
    /// 30s, 7d, 1h30m).
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    from: Option<Moment>,

    /// Only values stored at T or earlier; T as in --from
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    to: Option<Moment>,

    /// Only values whose members satisfy FILTER, such as 'ok = true and mode != "test"'
    ///
    /// A comparison is a member (a name, or a JSON Pointer such as /outdoor/celsius), one of = != <
    /// <= > >=, and a number, a string in quotes, true, false or null; without a member it is about
    /// the value itself ('> 30'). `exists MEMBER`, `not`, `and`, `or` and parentheses combine.
    #[arg(long = "where", value_name = "FILTER", value_parser = filter)]
    filter: Option<Predicate>,

    /// The IANA time zone of calendar widths, of times in a table and of --times local
    /// [default: UTC; for --times local this machine's]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// What to compute, separated by commas
    ///
    /// count, skipped, sum, mean, min, min_at, max, max_at, first, first_at, last, last_at, stddev,
    /// median, any percentile such as p95 or p99.9; delta, increase and rate of a counter;
    /// time_weighted_mean, integral and covered_ms; and duration{"open"}, the milliseconds in which
    /// the value was "open".
    #[arg(long, value_name = "FUNCTIONS", default_value = "count,mean,min,max")]
    show: String,

    /// How to fill buckets without values
    #[arg(long, value_enum, default_value_t, value_name = "FILL")]
    fill: FillArg,

    /// Treat all matching records as one series
    #[arg(long)]
    merge: bool,

    /// Print the newest bucket of each record first
    #[arg(long)]
    newest_first: bool,

    /// A time at which a bucket of a fixed width starts: Unix milliseconds or RFC 3339
    /// [default: 1970-01-01T00:00:00Z]
    #[arg(long, value_name = "T", requires = "every", value_parser = origin)]
    origin: Option<Moment>,

    /// The longest time for which a value holds, in time-weighted functions [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_gap: Option<Duration>,

    /// The values between two stored ones, in time-weighted functions
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    interpolation: InterpolationArg,

    /// How wildcards in PATTERN work; with --aimx the server decides
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR", conflicts_with = "aimx")]
    grammar: Grammar,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  annals aggregate 'accuracy::vienna' --member value --from 24h
  annals aggregate 'accuracy::*' --member value --every 1h --from 24h --plot
  annals aggregate 'meter::*' --every 1mo --time-zone Europe/Vienna \\
      --show increase --fill null
  annals aggregate 'plant::*' --every 1h --show mean --wide --excel > h.csv
  annals aggregate door::front --every 1d --show 'duration{\"open\"}'
  annals aggregate 'sensor::*' --member celsius --every 1h --where 'ok = true'
  annals aggregate 'host::cpu*' --member percent --show p50,p95,p99.9

A bucket includes its start and excludes its end. With --from or --to a bucket at the edge covers a \
part of its interval; its start and end stay those of the whole one.";

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum FillArg {
    /// Leave them out
    #[default]
    None,
    /// Print them with a count of 0
    Null,
    /// Print them with the last value before
    Previous,
    /// Print them with values interpolated between their neighbours
    Linear,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum InterpolationArg {
    /// A value holds until the next one
    #[default]
    Step,
    /// A straight line to the next value
    Linear,
}

/// With an age, the buckets would be others at each call.
fn origin(text: &str) -> Result<Moment, String> {
    match text.parse()? {
        Moment::Ago(_) => Err("an age is no fixed time; write Unix milliseconds or RFC 3339 \
                               (1970-01-01T00:30:00Z for buckets that start at half past)"
            .to_owned()),
        at => Ok(at),
    }
}

fn width(text: &str) -> Result<Width, String> {
    Width::parse(text).map_err(|error| match error {
        PersistenceError::InvalidAggregate { reason, .. } => reason,
        error => error.to_string(),
    })
}

impl Args {
    fn aggregate(&self) -> Result<Aggregate, Failure> {
        let (start_time, end_time) = window(self.from.as_ref(), self.to.as_ref());
        let functions = Function::parse_list(&self.show)?;
        let mut aggregate = self.every.map_or_else(Aggregate::new, Aggregate::every);
        aggregate = aggregate
            .member(&self.member)
            .time_zone(self.time_zone.as_deref().unwrap_or("UTC"))
            .functions(functions)
            .merge(self.merge)
            .grammar(self.grammar.into())
            .order(if self.newest_first { Order::NewestFirst } else { Order::OldestFirst })
            .fill(match self.fill {
                FillArg::None => Fill::None,
                FillArg::Null => Fill::Null,
                FillArg::Previous => Fill::Previous,
                FillArg::Linear => Fill::Linear,
            })
            .interpolation(match self.interpolation {
                InterpolationArg::Step => Interpolation::Step,
                InterpolationArg::Linear => Interpolation::Linear,
            });
        if let Some(filter) = &self.filter {
            aggregate = aggregate.with_where(filter.clone());
        }
        if let Some(start_time) = start_time {
            aggregate = aggregate.start_time(start_time);
        }
        if let Some(end_time) = end_time {
            aggregate = aggregate.end_time(end_time);
        }
        if let Some(origin) = &self.origin {
            let origin = i64::try_from(origin.at_or_before(now_ms()));
            aggregate = aggregate.origin(origin.unwrap_or(i64::MAX));
        }
        if let Some(max_gap) = self.max_gap {
            aggregate = aggregate.max_gap(max_gap);
        }
        Ok(aggregate)
    }
}

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    let aggregate = args.aggregate()?;
    let destination = args.output.destination()?;
    if args.output.is_wide() && args.every.is_none() {
        let why = "--wide has a line for each bucket; give their width with --every";
        return Err(Failure::Usage(why.to_owned()));
    }
    let store = args.source.open(backend).await?;
    let buckets = store.aggregate_stream(&args.pattern, &aggregate).await?;
    // The aggregate has refused an unknown zone.
    let asked = args.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    let zone = asked.clone().unwrap_or(TimeZone::UTC);
    let mut samples = Samples::default();
    let mut buckets = buckets.inspect_ok(|bucket| samples.add(bucket));
    let style = args.output.style(asked);
    match destination {
        Destination::Rows(format) if args.output.is_wide() => {
            let mut wide = WideBuckets::new(aggregate.shown(), &style);
            while let Some(bucket) = buckets.next().await.transpose()? {
                wide.add(&bucket)?;
            }
            wide.print(format, args.newest_first)?;
        }
        Destination::Rows(format) => {
            let table = BucketTable::new(aggregate.shown(), zone, style.clone());
            let mut printer = Printer::styled(format, table.header(), &style);
            while let Some(bucket) = buckets.next().await.transpose()? {
                printer.line(&table.line(&bucket))?;
            }
            printer.finish()?;
        }
        #[cfg(feature = "plot")]
        Destination::Plot(form) => {
            let mut chart = Chart::new(zone);
            while let Some(bucket) = buckets.next().await.transpose()? {
                chart.add_bucket(&bucket, aggregate.shown())?;
            }
            chart.print(form)?;
        }
    }
    samples.note_if_none(&args);
    store.close().await?;
    Ok(())
}

/// What was found in all buckets.
#[derive(Default)]
struct Samples {
    count: u64,
    skipped: u64,
}

impl Samples {
    fn add(&mut self, bucket: &Bucket) {
        self.count += bucket.count;
        self.skipped += bucket.skipped;
    }

    /// A misspelt member looks like values without numbers. Durations need none, and those who ask for
    /// `skipped` expect it.
    fn note_if_none(&self, args: &Args) {
        let is_expected = ["duration", "skipped"].iter().any(|name| args.show.contains(name));
        if self.count > 0 || self.skipped == 0 || is_expected {
            return;
        }
        let place = match args.member.as_str() {
            "" => "is a number; --member names the member that has it".to_owned(),
            member => format!("has a number at \"{member}\""),
        };
        let skipped = self.skipped;
        print_note(&format!("note: no value of {skipped} {place}"));
    }
}

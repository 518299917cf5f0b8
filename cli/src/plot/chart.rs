//! What a chart shows: series of points over time.

use annals::{Bucket, Function};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::failure::Failure;

/// More points than this fit neither a screen nor an image.
const MOST_POINTS: usize = 1_000_000;
/// More series than this cannot be told apart.
pub(super) const MOST_SERIES: usize = 8;

/// Series of points over time, in one chart.
pub(crate) struct Chart {
    pub(super) series: Vec<Series>,
    zone: TimeZone,
    points: usize,
    /// Records beyond [`MOST_SERIES`], the last of which is named.
    pub(super) not_drawn: u64,
    last_not_drawn: String,
}

/// The points of one line.
pub(super) struct Series {
    record: String,
    /// The function of an aggregate, if the record has a line for each of several.
    function: Option<String>,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// The ranges of time and value that a chart covers, neither empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranges {
    pub(super) time: [f64; 2],
    pub(super) value: [f64; 2],
}

impl Chart {
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { series: Vec::new(), zone, points: 0, not_drawn: 0, last_not_drawn: String::new() }
    }

    /// Adds a point of a record, or a gap for `None`.
    pub(crate) fn add(&mut self, record: &str, at: i64, value: Option<f64>) -> Result<(), Failure> {
        self.add_to(record, None, at, value)
    }

    /// Adds the functions of a bucket: a line for each while there is one record, the first of them
    /// for several records.
    pub(crate) fn add_bucket(
        &mut self,
        bucket: &Bucket,
        shown: &[Function],
    ) -> Result<(), Failure> {
        let is_value = |function: &&Function| {
            use Function::{Count, FirstAt, LastAt, MaxAt, MinAt, Skipped};
            !matches!(function, Count | Skipped | FirstAt | LastAt | MaxAt | MinAt)
        };
        let mut functions: Vec<_> = shown.iter().filter(is_value).collect();
        if self.series.first().is_some_and(|first| first.record != *bucket.record) {
            self.series.dedup_by(|next, first| next.record == first.record);
            self.series.iter_mut().for_each(|series| series.function = None);
            functions.truncate(1);
        }
        if functions.is_empty() {
            functions.push(&Function::Count);
        }
        for function in &functions {
            let value = bucket.value(function).map(annals::BucketValue::as_f64);
            let name = (functions.len() > 1).then(|| function.name());
            self.add_to(&bucket.record, name, bucket.start, value)?;
        }
        Ok(())
    }

    fn add_to(
        &mut self,
        record: &str,
        function: Option<&str>,
        at: i64,
        value: Option<f64>,
    ) -> Result<(), Failure> {
        let is_same =
            |series: &Series| series.record == record && series.function.as_deref() == function;
        let series = match self.series.iter().rposition(is_same) {
            Some(known) => &mut self.series[known],
            None if self.series.len() < MOST_SERIES => {
                self.series.push(Series {
                    record: record.to_owned(),
                    function: function.map(str::to_owned),
                    points: Vec::new(),
                });
                let last = self.series.len() - 1;
                &mut self.series[last]
            }
            None => {
                if self.last_not_drawn != record {
                    self.not_drawn += 1;
                    record.clone_into(&mut self.last_not_drawn);
                }
                return Ok(());
            }
        };
        if self.points == MOST_POINTS {
            return Err(Failure::Usage(format!(
                "a chart has at most {MOST_POINTS} points; narrow the window or the pattern, or \
                 plot `annals aggregate` with a larger --every"
            )));
        }
        self.points += 1;
        series.points.push((at as f64, value.filter(|value| value.is_finite())));
        Ok(())
    }

    pub(super) fn ranges(&self) -> Option<Ranges> {
        let points = || self.series.iter().flat_map(|series| series.numbers());
        points().next()?;
        let range = |numbers: &mut dyn Iterator<Item = f64>, least: f64| {
            let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), n| {
                (low.min(n), high.max(n))
            });
            let margin = if low < high { 0.0 } else { least.max(low.abs() * 0.1) };
            [low - margin, high + margin]
        };
        Some(Ranges {
            time: range(&mut points().map(|(at, _)| at), 500.0),
            value: range(&mut points().map(|(_, value)| value), 1.0),
        })
    }

    /// A time on the axis, as precise as the range needs.
    pub(super) fn time_label(&self, at: f64, ranges: Ranges) -> String {
        const DAY: f64 = 86_400_000.0;
        let format = match ranges.time[1] - ranges.time[0] {
            span if span > 4.0 * DAY => "%Y-%m-%d",
            span if span > DAY / 144.0 => "%m-%d %H:%M",
            _ => "%H:%M:%S%.3f",
        };
        match Timestamp::from_millisecond(at as i64) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime(format).to_string(),
            Err(_) => at.to_string(),
        }
    }
}

impl Series {
    pub(super) fn name(&self) -> String {
        match &self.function {
            Some(function) => format!("{} {function}", self.record),
            None => self.record.clone(),
        }
    }

    fn numbers(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().filter_map(|(at, value)| Some((*at, (*value)?)))
    }

    /// The points between gaps.
    pub(super) fn segments(&self) -> Vec<Vec<(f64, f64)>> {
        let segments = self.points.split(|(_, value)| value.is_none());
        let segments = segments.filter(|segment| !segment.is_empty());
        segments.map(|s| s.iter().filter_map(|(at, v)| Some((*at, (*v)?))).collect()).collect()
    }
}

//! Buckets computed by the server: the statement, and what its rows mean.
//!
//! The server groups by intervals that are buckets or parts of buckets. Its sums of doubles are not
//! compensated, so each group comes with a bound of the error of its sum.

use annals_core::aggregate::{Partial, Plan, Sample};
use annals_core::{Function, PersistenceError, Result};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::extract::Extract;
use crate::net::{Parameter, int8};
use crate::sql::Sql;

/// About how many rows a group has when a bucket is divided into groups, so that its sum is exact enough.
const ROWS_PER_PIECE: u64 = 1_024;

/// Times and sequence numbers from here on are not exact as doubles.
const EXACT: i64 = 1 << 53;

/// The intervals of the groups.
pub(super) enum Grid {
    /// Intervals of this width, from this start on.
    Uniform(i64, i64),
    /// The starts of the intervals.
    Starts(Vec<i64>),
}

impl Grid {
    /// The buckets of rows from `first` to `last`, and their number. `None`: there are too many in
    /// between, most of which can have no rows.
    pub(super) fn buckets(plan: &Plan, first: i64, last: i64) -> Result<Option<(Self, usize)>> {
        let mut bounds = match plan.boundaries(first.cast_unsigned(), last.cast_unsigned()) {
            Ok(bounds) => bounds,
            Err(PersistenceError::TooManyBuckets { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let buckets = bounds.len() - 1;
        if buckets == 1 {
            // The only one may reach to the ends of time.
            return Ok(Some((Self::Uniform(first, i64::MAX), 1)));
        }
        let width = bounds[1].saturating_sub(bounds[0]);
        let is_uniform = bounds.windows(2).all(|pair| pair[1].saturating_sub(pair[0]) == width);
        if is_uniform {
            return Ok(Some((Self::Uniform(bounds[0], width), buckets)));
        }
        bounds.pop();
        Ok(Some((Self::Starts(bounds), buckets)))
    }

    /// Parts of one bucket with so many rows from `first` to `last`.
    pub(super) fn pieces((first, last): (u64, u64), rows: u64) -> Self {
        let pieces = rows.div_ceil(ROWS_PER_PIECE).max(1);
        let width = (last - first) / pieces + 1;
        Self::Uniform(first.cast_signed(), i64::try_from(width).unwrap_or(i64::MAX))
    }

    fn expression(&self) -> &'static str {
        match self {
            Self::Uniform(..) => "(stored_at - $4::bigint) / $5::bigint",
            Self::Starts(_) => "width_bucket(stored_at, $4::bigint[])",
        }
    }

    pub(super) fn parameters(&self) -> Vec<Parameter<'_>> {
        match self {
            Self::Uniform(start, width) => vec![int8(start), int8(width)],
            Self::Starts(starts) => vec![(starts, Type::INT8_ARRAY)],
        }
    }
}

/// Whether the server can compute the functions of a plan.
pub(super) fn can_group(plan: &Plan) -> bool {
    let needs = plan.needs();
    // Percentiles of several records cannot be put together.
    !(needs.stddev || needs.path || needs.states || (needs.samples && plan.merges()))
}

/// What a statement computes besides counts, times and percentiles.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    sum: bool,
    extremes: bool,
    /// The times of the extremes.
    times: bool,
    /// The first and the last sample.
    ends: bool,
}

impl Wanted {
    pub(super) fn new(plan: &Plan) -> Self {
        let needs = plan.needs();
        let times = |function: &Function| matches!(function, Function::MinAt | Function::MaxAt);
        Self {
            sum: needs.sum,
            extremes: needs.extremes || needs.sum,
            times: plan.functions().iter().any(times),
            ends: plan.needs_ends(),
        }
    }

    /// Groups the rows of the records `$1`, or of `all` records, in the window `$2` to `$3`.
    pub(super) fn statement(
        self,
        sql: &Sql,
        plan: &Plan,
        extract: &Extract,
        grid: &Grid,
        all: bool,
    ) -> String {
        let records = if all { "" } else { "record_id = ANY ($1::bigint[]) AND" };
        let from =
            format!("{}.history WHERE {records} stored_at >= $2 AND stored_at <= $3", sql.schema);
        let columns = if self.ends { "record_id, stored_at, seq" } else { "record_id, stored_at" };
        let samples = extract.samples(columns, &from);
        // Arrays are compared element by element, which finds the time of an extreme and the value at
        // an end.
        let columns = [
            (true, "count(*), count(sample), min(stored_at), max(stored_at)"),
            (self.sum, "sum(sample)"),
            (self.extremes, "min(sample), max(sample)"),
            (
                self.times,
                "min(ARRAY[sample, stored_at]) FILTER (WHERE sample IS NOT NULL), \
                 max(ARRAY[sample, -stored_at]) FILTER (WHERE sample IS NOT NULL)",
            ),
            (
                self.ends,
                "min(ARRAY[stored_at, seq, sample]) FILTER (WHERE sample IS NOT NULL), \
                 max(ARRAY[stored_at, seq, sample]) FILTER (WHERE sample IS NOT NULL), max(seq)",
            ),
        ];
        let columns = columns.iter().filter(|(wanted, _)| *wanted);
        let mut columns: Vec<String> = columns.map(|(_, column)| (*column).to_owned()).collect();
        // The two samples at the rank of each percentile. The server sorts once for all of them.
        for percentile in plan.percentiles() {
            let (numerator, denominator) = percentile.ratio();
            columns.extend([1, 2].map(|first| {
                format!(
                    "(array_agg(sample ORDER BY sample) FILTER (WHERE sample IS NOT NULL))\
                     [{first} + div({numerator}::numeric * (count(sample) - 1), {denominator})::int]"
                )
            }));
        }
        format!(
            "SELECT record_id, {} AS piece, {} FROM ({samples}) AS samples GROUP BY record_id, piece",
            grid.expression(),
            columns.join(", ")
        )
    }
}

/// The statistics of one group.
pub(super) struct Group {
    pub(super) record_id: i64,
    pub(super) count: u64,
    skipped: u64,
    /// The first and the last row.
    pub(super) rows: (u64, u64),
    sum: f64,
    /// The greatest possible error of the sum; infinite if something else is not exact.
    error: f64,
    extremes: Option<(Sample, Sample)>,
    ends: Option<(Sample, Sample)>,
    percentiles: Vec<f64>,
}

impl Group {
    pub(super) fn read(wanted: Wanted, plan: &Plan, row: &Row) -> Self {
        let (all, count): (i64, i64) = (row.get(2), row.get(3));
        let (first, last): (i64, i64) = (row.get(4), row.get(5));
        let mut columns = 6..;
        let mut next = || columns.next().unwrap_or_default();
        let array = |column: usize| row.get::<_, Option<Vec<f64>>>(column);
        let at = |at: f64, value| Sample { at: at as u64, value };
        let mut sum = 0.0;
        if wanted.sum {
            sum = row.get::<_, Option<f64>>(next()).unwrap_or(0.0);
        }
        let mut extremes = None;
        if wanted.extremes {
            let sample = |value| Sample { at: first.cast_unsigned(), value };
            let pair = row.get::<_, Option<f64>>(next()).zip(row.get(next()));
            extremes = pair.map(|(min, max)| (sample(min), sample(max)));
        }
        // The bound of a sum of n numbers: (n - 1) · u · Σ|x|, where Σ|x| is |Σx| if all have one sign.
        let absolute = match extremes {
            Some((min, max)) if min.value < 0.0 && max.value > 0.0 => {
                count as f64 * max.value.max(-min.value)
            }
            _ => sum.abs(),
        };
        let mut error = (count - 1).max(0) as f64 * f64::EPSILON / 2.0 * absolute;
        if wanted.times {
            let pair = array(next()).zip(array(next()));
            extremes = pair.map(|(min, max)| (at(min[1], min[0]), at(-max[1], max[0])));
        }
        let mut ends = None;
        let mut greatest = last;
        if wanted.ends {
            let pair = array(next()).zip(array(next()));
            ends = pair.map(|(first, last)| (at(first[0], first[2]), at(last[0], last[2])));
            greatest = last.max(row.get(next()));
        }
        if (wanted.times || wanted.ends) && greatest >= EXACT {
            error = f64::INFINITY;
        }
        let percentiles = plan.percentiles().iter().filter_map(|percentile| {
            let (low, high): (Option<f64>, Option<f64>) = (row.get(next()), row.get(next()));
            Some(percentile.interpolate(count.cast_unsigned(), low?, high.or(low)?))
        });
        let percentiles = percentiles.collect();
        Self {
            record_id: row.get(0),
            count: count.cast_unsigned(),
            skipped: (all - count).cast_unsigned(),
            rows: (first.cast_unsigned(), last.cast_unsigned()),
            sum,
            error,
            extremes,
            ends,
            percentiles,
        }
    }

    pub(super) fn partial(&self) -> Partial {
        let mut partial = Partial::default().with_count(self.count).with_skipped(self.skipped);
        partial = partial.with_sum(self.sum, 0.0).with_percentiles(self.percentiles.clone());
        if let Some((min, max)) = self.extremes {
            partial = partial.with_min(min).with_max(max);
        }
        match self.ends {
            Some((first, last)) => partial.with_first(first).with_last(last),
            None => partial,
        }
    }
}

/// The relative error that the sum of a bucket may have. The contract demands 1e-12.
const TOLERANCE: f64 = 0.9e-12;

/// Whether the groups of a bucket may be used.
pub(super) fn are_exact(groups: &[Group]) -> bool {
    let error: f64 = groups.iter().map(|group| group.error).sum();
    let sum: f64 = groups.iter().map(|group| group.sum).sum();
    error <= TOLERANCE * sum.abs()
}

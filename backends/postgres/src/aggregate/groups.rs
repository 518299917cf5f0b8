//! Buckets computed by the server: the statement, and what its rows mean.
//!
//! The server groups by intervals that are buckets or parts of buckets. Its sums of doubles are not
//! compensated, so each group comes with a bound of the error of each sum.

use annals_core::aggregate::{Partial, Plan, Sample};
use annals_core::{Function, Interpolation, PersistenceError, Result};
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
    !(needs.stddev || needs.states || (needs.samples && plan.merges()))
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
    /// The area under the samples, the time they cover, and their rises.
    path: bool,
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
            path: needs.path,
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
        let samples = format!("({}) AS samples", extract.samples(columns, &from));
        let (piece, samples) = match self.path {
            true => ("piece", segments(plan, grid, &samples)),
            false => (grid.expression(), samples),
        };
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
            (self.path, "sum(area), sum(terms), sum(held)::bigint, sum(rise), sum(abs(rise))"),
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
            "SELECT record_id, {piece} AS piece, {} FROM {samples} GROUP BY record_id, piece",
            columns.join(", ")
        )
    }
}

/// Adds to each sample what lies between it and the next one of its group: for how long it `held`, the
/// `area` under it, the sum of the absolute `terms` of that, and the `rise` to the next one.
fn segments(plan: &Plan, grid: &Grid, samples: &str) -> String {
    let longest = plan.max_gap().and_then(|gap| i64::try_from(gap).ok()).unwrap_or(i64::MAX);
    let now = i64::try_from(plan.now()).unwrap_or(i64::MAX);
    let (area, terms) = match plan.interpolation() {
        Interpolation::Linear => {
            ("(sample + reached) / 2 * held", "(abs(sample) + abs(reached)) / 2 * held")
        }
        _ => ("sample * held", "abs(sample) * held"),
    };
    let grouped = format!("SELECT *, {} AS piece FROM {samples}", grid.expression());
    // Rows without a sample are a partition of their own, which nobody looks at.
    let paired = format!(
        "SELECT *, lead(sample) OVER path AS next, lead(stored_at) OVER path - stored_at AS distance \
         FROM ({grouped}) AS grouped WINDOW path AS \
         (PARTITION BY record_id, piece, sample IS NULL ORDER BY stored_at, seq)"
    );
    let held = format!(
        "SELECT *, CASE WHEN next IS NOT NULL \
         THEN greatest(least(distance, {longest}, {now} - stored_at), 0) END AS held \
         FROM ({paired}) AS paired"
    );
    // Where a line to the next sample has got to when the sample no longer holds.
    let reached = format!(
        "SELECT *, CASE WHEN held < distance \
         THEN sample + (next - sample) * (held::float8 / distance) ELSE next END AS reached \
         FROM ({held}) AS held"
    );
    format!(
        "(SELECT *, {area} AS area, {terms} AS terms, \
         CASE WHEN next >= sample THEN next - sample ELSE next END AS rise \
         FROM ({reached}) AS reached) AS segments"
    )
}

/// A sum of doubles, and the greatest possible error of it.
#[derive(Clone, Copy, Default)]
struct Total {
    sum: f64,
    error: f64,
}

impl Total {
    /// The sum of `count` numbers whose absolute values add up to `absolute`. Each number was rounded
    /// `roundings` times before. The bound is (n - 1 + roundings) · u · Σ|x|.
    fn new(sum: f64, absolute: f64, count: i64, roundings: i64) -> Self {
        let steps = (count - 1).max(0) + roundings;
        Self { sum, error: steps as f64 * f64::EPSILON / 2.0 * absolute }
    }
}

/// What lies between the first and the last sample of a group.
#[derive(Clone, Copy, Default)]
struct Path {
    area: Total,
    rises: Total,
    covered_ms: u64,
}

/// The statistics of one group.
pub(super) struct Group {
    pub(super) record_id: i64,
    pub(super) count: u64,
    skipped: u64,
    /// The first and the last row.
    pub(super) rows: (u64, u64),
    sum: Total,
    path: Option<Path>,
    /// Whether all times and sequence numbers are exact as doubles.
    is_exact: bool,
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
        // Σ|x| is |Σx| if all have one sign.
        let absolute = match extremes {
            Some((min, max)) if min.value < 0.0 && max.value > 0.0 => {
                count as f64 * max.value.max(-min.value)
            }
            _ => sum.abs(),
        };
        let sum = Total::new(sum, absolute, count, 0);
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
        let is_exact = !(wanted.times || wanted.ends) || greatest < EXACT;
        let mut path = None;
        if wanted.path {
            let number = |column: usize| row.get::<_, Option<f64>>(column).unwrap_or(0.0);
            // One rounding of a product, and up to six on the way to the end of a line.
            let area = Total::new(number(next()), number(next()), count, 7);
            let covered_ms = row.get::<_, Option<i64>>(next()).unwrap_or(0).cast_unsigned();
            let rises = Total::new(number(next()), number(next()), count, 1);
            path = Some(Path { area, rises, covered_ms });
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
            path,
            is_exact,
            extremes,
            ends,
            percentiles,
        }
    }

    pub(super) fn partial(&self) -> Partial {
        let mut partial = Partial::default().with_count(self.count).with_skipped(self.skipped);
        partial = partial.with_sum(self.sum.sum, 0.0).with_percentiles(self.percentiles.clone());
        if let Some((min, max)) = self.extremes {
            partial = partial.with_min(min).with_max(max);
        }
        if let Some(Path { area, rises, covered_ms }) = self.path {
            partial = partial.with_path((area.sum, 0.0), covered_ms, (rises.sum, 0.0));
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
    let is_near = |total: fn(&Group) -> Total| {
        let error: f64 = groups.iter().map(|group| total(group).error).sum();
        let sum: f64 = groups.iter().map(|group| total(group).sum).sum();
        error <= TOLERANCE * sum.abs()
    };
    groups.iter().all(|group| group.is_exact)
        && is_near(|group| group.sum)
        && is_near(|group| group.path.unwrap_or_default().area)
        && is_near(|group| group.path.unwrap_or_default().rises)
}

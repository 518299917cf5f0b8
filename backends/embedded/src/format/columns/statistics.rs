//! Statistics of the columns of a block: the answer to an aggregate for a bucket that has all rows of one
//! record in the block, without reading its columns.

use std::ops::Range;

use annals_core::Predicate;
use annals_core::aggregate::{Member, Partial, Sample};

use super::FormatError;
use super::column::Column;
use super::decode::Packed;
use super::filter::Verdict;
use super::number::{to_f64, to_mantissa};
use super::numbers::{ShapeNumbers, scalar};
use super::times::Times;
use crate::format::varint::{Reader, put, put_step};

/// In place of a number of samples, plus 1: they have to be read.
const UNKNOWN: u64 = 0;

/// The fewest bytes of an extent's statistics.
const LEAST_BYTES: usize = 4;

/// Statistics of a member of adjacent rows of one record in a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// The rows.
    pub rows: Range<usize>,
    /// The time of the first row, in Unix milliseconds.
    pub first: u64,
    /// The time of the last row, in Unix milliseconds.
    pub last: u64,
    /// The statistics of their samples, and how many of the rows have none.
    pub samples: Partial,
    /// Whether all of them, or none, satisfy the predicate; `Yes` if there is none.
    pub verdict: Verdict,
}

/// Adjacent rows of one record that are all of one shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExtentStatistics {
    /// The number of the extent.
    pub(super) extent: usize,
    rows: u64,
    pub(super) shape: usize,
    first: u64,
    last: u64,
    /// For each scalar of the shape its samples; `None` where they have to be read.
    columns: Vec<Option<ColumnStatistics>>,
}

/// The samples of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ColumnStatistics {
    count: u64,
    ends: Option<Ends>,
}

/// What there is if there are samples.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ends {
    /// The exact sum of both is the sum of the samples.
    sum: (f64, f64),
    first: Sample,
    last: Sample,
    min: Sample,
    max: Sample,
}

impl ColumnStatistics {
    /// `None` if a sum of two numbers is not exact.
    fn of(samples: &Partial) -> Option<Self> {
        let sum = samples.sum()?;
        let ends = || {
            let (first, last) = (samples.first()?, samples.last()?);
            Some(Ends { sum, first, last, min: samples.min()?, max: samples.max()? })
        };
        Some(Self { count: samples.count(), ends: ends() })
    }

    /// The statistics of `rows` rows.
    fn samples(&self, rows: u64) -> Partial {
        let partial = Partial::default().with_count(self.count).with_skipped(rows - self.count);
        let Some(Ends { sum: (high, low), first, last, min, max }) = self.ends else {
            return partial;
        };
        partial.with_sum(high, low).with_first(first).with_last(last).with_min(min).with_max(max)
    }
}

/// A block whose statistics are computed.
pub(super) struct Source<'a> {
    /// The rows of each extent.
    pub(super) extents: &'a [usize],
    pub(super) times: &'a [u64],
    /// The shape of each row; empty if there is one shape.
    pub(super) shape_of: &'a [u16],
    /// The rows of each shape, and its columns unless it is for rows that are kept as a whole.
    pub(super) shapes: Vec<(usize, Option<&'a [Column]>)>,
}

impl Source<'_> {
    /// The statistics of all extents of at least this many rows that are of one shape and in order of time.
    pub(super) fn statistics(&self, least_rows: usize) -> Vec<ExtentStatistics> {
        let mut numbers: Vec<Option<Vec<ShapeNumbers>>> =
            self.shapes.iter().map(|_| None).collect();
        let mut before = vec![0; self.shapes.len()];
        let (mut all, mut start) = (Vec::new(), 0);
        for (extent, rows) in self.extents.iter().enumerate() {
            let range = start..start + rows;
            start = range.end;
            let shapes = self.shape_of.get(range.clone()).unwrap_or_default();
            let shape = usize::from(shapes.first().copied().unwrap_or_default());
            let is_of_one_shape = shapes.iter().all(|other| usize::from(*other) == shape);
            let times = &self.times[range];
            if is_of_one_shape
                && times.is_sorted()
                && *rows >= least_rows
                && let (of_shape, Some(columns)) = self.shapes[shape]
            {
                let read = |column| ShapeNumbers::of_column(column, of_shape);
                let numbers =
                    numbers[shape].get_or_insert_with(|| columns.iter().map(read).collect());
                let in_shape = before[shape]..before[shape] + rows;
                let columns = numbers
                    .iter()
                    .map(|column| ColumnStatistics::of(&column.samples(&in_shape, times)?));
                let columns = columns.collect();
                let (first, last, rows) = (times[0], times[rows - 1], *rows as u64);
                all.push(ExtentStatistics { extent, rows, shape, first, last, columns });
            }
            match shapes {
                [] => before[0] += rows,
                shapes => shapes.iter().for_each(|shape| before[usize::from(*shape)] += 1),
            }
        }
        all
    }
}

/// What the statistics of a block are read with: the rows of its extents, the rows of its shapes with the
/// decimals of their columns, and its times.
pub(super) struct Context<'a> {
    pub(super) extents: &'a [usize],
    pub(super) shapes: &'a [(usize, Vec<u8>)],
    pub(super) times: Times,
}

impl ExtentStatistics {
    /// The smallest and the greatest sample of a scalar of the shape, if there are samples; `None` if that is
    /// not known.
    pub(super) fn extremes(&self, scalar: usize) -> Option<Option<(f64, f64)>> {
        let ends = self.columns.get(scalar)?.as_ref()?.ends;
        Some(ends.map(|ends| (ends.min.value, ends.max.value)))
    }

    /// Appends all statistics of a block; nothing if there are none.
    pub(super) fn put_all(all: &[Self], context: &Context<'_>, out: &mut Vec<u8>) {
        if all.is_empty() {
            return;
        }
        put(out, all.len() as u64);
        let mut next = 0;
        for one in all {
            put(out, (one.extent - next) as u64);
            next = one.extent + 1;
            one.put(context, out);
        }
    }

    fn put(&self, Context { shapes, times, .. }: &Context<'_>, out: &mut Vec<u8>) {
        let begin = times.number(self.first);
        put(out, self.shape as u64);
        put(out, begin);
        put(out, times.number(self.last) - begin);
        for (column, scale) in self.columns.iter().zip(&shapes[self.shape].1) {
            let Some(ColumnStatistics { count, ends }) = column else {
                put(out, UNKNOWN);
                continue;
            };
            put(out, count + 1);
            let Some(Ends { sum: (high, low), first, last, min, max }) = ends else { continue };
            out.extend([high, low].iter().flat_map(|part| part.to_le_bytes()));
            let samples = [first, last, min, max];
            let mantissas = samples.map(|sample| to_mantissa(sample.value, *scale));
            let is_decimal = mantissas.iter().all(Option::is_some);
            out.push(u8::from(is_decimal));
            for (sample, mantissa) in samples.into_iter().zip(mantissas) {
                match mantissa.filter(|_| is_decimal) {
                    Some(mantissa) => put_step(out, 0, mantissa as u64),
                    None => out.extend(sample.value.to_le_bytes()),
                }
                put(out, times.number(sample.at) - begin);
            }
        }
    }

    /// Reads what [`put_all`](Self::put_all) wrote.
    pub(super) fn read_all(
        header: &mut Reader<'_>,
        context: &Context<'_>,
    ) -> Result<Vec<Self>, FormatError> {
        let count = header.count(LEAST_BYTES)?;
        let (mut next, mut all) = (0, Vec::with_capacity(count));
        for _ in 0..count {
            let step: usize = header.small()?;
            let extent = step.checked_add(next).ok_or_else(damaged)?;
            all.push(Self::read(header, extent, context)?);
            next = extent + 1;
        }
        if all.is_empty() { Err(damaged()) } else { Ok(all) }
    }

    fn read(
        header: &mut Reader<'_>,
        extent: usize,
        Context { extents, shapes, times }: &Context<'_>,
    ) -> Result<Self, FormatError> {
        let rows = *extents.get(extent).ok_or_else(damaged)?;
        let shape: usize = header.small()?;
        let (of_shape, scales) = shapes.get(shape).ok_or_else(damaged)?;
        let first = header.number()?;
        let last = first.checked_add(header.number()?).ok_or_else(damaged)?;
        if rows > *of_shape {
            return Err(damaged());
        }
        let rows = rows as u64;
        let columns = scales.iter().map(|scale| {
            let Some(count) = header.number()?.checked_sub(1) else { return Ok(None) };
            if count > rows {
                return Err(damaged());
            }
            let ends = match count {
                0 => None,
                _ => Some(Ends::read(header, *scale, (first, last), times)?),
            };
            Ok(Some(ColumnStatistics { count, ends }))
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let (first, last) = (times.time(first)?, times.time(last)?);
        Ok(Self { extent, rows, shape, first, last, columns })
    }
}

impl Ends {
    fn read(
        header: &mut Reader<'_>,
        scale: u8,
        (first, last): (u64, u64),
        times: &Times,
    ) -> Result<Self, FormatError> {
        let sum = (header.float()?, header.float()?);
        let is_decimal = match header.byte()? {
            0 => false,
            1 => true,
            _ => return Err(damaged()),
        };
        let mut sample = || -> Result<Sample, FormatError> {
            let value =
                if is_decimal { to_f64(header.step(0)? as i64, scale) } else { header.float()? };
            let number = first.checked_add(header.number()?).filter(|number| *number <= last);
            Ok(Sample { value, at: times.time(number.ok_or_else(damaged)?)? })
        };
        let (first, last, min, max) = (sample()?, sample()?, sample()?, sample()?);
        Ok(Self { sum, first, last, min, max })
    }
}

fn damaged() -> FormatError {
    FormatError::Damaged("statistics do not add up")
}

impl Packed<'_> {
    /// Compares the statistics with the rows.
    pub(in super::super) fn check_statistics(&self) -> Result<(), FormatError> {
        if self.statistics.is_empty() {
            return Ok(());
        }
        let (_, times, columns) = self.decode()?;
        let extents: Vec<usize> = self.extents.iter().map(|(_, rows)| *rows).collect();
        let shapes = columns.shapes.iter();
        let shapes = shapes.map(|of| (of.rows, of.is_json.then_some(of.columns.as_slice())));
        let source = Source {
            extents: &extents,
            times: &times,
            shape_of: &columns.shape_of,
            shapes: shapes.collect(),
        };
        let has = self.statistics.iter().map(|one| extents[one.extent]);
        let computed = source.statistics(has.min().unwrap_or(usize::MAX));
        let is_same = computed == self.statistics;
        if is_same { Ok(()) } else { Err(FormatError::Damaged("statistics contradict its rows")) }
    }

    /// The rows of an extent.
    pub(super) fn rows_of_extent(&self, extent: usize) -> Option<Range<usize>> {
        let start = self.extents.get(..extent)?.iter().map(|(_, rows)| rows).sum();
        Some(start..start + self.extents.get(extent)?.1)
    }

    /// The statistics of a member, as far as the block has them.
    pub(in super::super) fn statistics(
        &self,
        member: &Member,
        predicate: Option<&Predicate>,
    ) -> Result<Vec<Statistics>, FormatError> {
        let verdicts = match predicate {
            Some(predicate) => self.verdicts_by_statistics(predicate)?,
            None => vec![Verdict::Yes; self.statistics.len()],
        };
        let scalars: Vec<Option<usize>> = self
            .shapes
            .iter()
            .map(|shape| shape.is_json.then(|| scalar(&shape.pieces, member)).flatten())
            .collect();
        let statistics = self.statistics.iter().zip(verdicts).filter_map(|(one, verdict)| {
            let rows = self.rows_of_extent(one.extent)?;
            let samples = match scalars.get(one.shape)? {
                Some(scalar) => one.columns.get(*scalar)?.as_ref()?.samples(one.rows),
                None => Partial::default().with_skipped(one.rows),
            };
            Some(Statistics { rows, first: one.first, last: one.last, samples, verdict })
        });
        Ok(statistics.collect())
    }
}

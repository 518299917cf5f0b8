//! Statistics of the columns of a block: the answer to an aggregate for a bucket that has all rows of one
//! record in the block, without reading its columns.

use std::ops::Range;

use annals_core::aggregate::{Member, Partial, Sample};

use super::FormatError;
use super::column::Column;
use super::decode::Packed;
use super::numbers::{ShapeNumbers, scalar};
use super::times::Times;
use crate::format::varint::{Reader, put};

/// The bytes of a column's statistics, at the least.
const LEAST_COLUMN_BYTES: usize = 1;

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
}

/// Adjacent rows of one record that are all of one shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExtentStatistics {
    /// The number of the extent.
    extent: usize,
    pub(super) shape: usize,
    pub(super) first: u64,
    pub(super) last: u64,
    /// For each scalar of the shape its samples; `None` where they have to be read.
    pub(super) columns: Vec<Option<Partial>>,
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
                let columns = numbers.iter().map(|column| column.statistics(&in_shape, times));
                let columns = columns.collect();
                let (first, last) = (times[0], times[rows - 1]);
                all.push(ExtentStatistics { extent, shape, first, last, columns });
            }
            match shapes {
                [] => before[0] += rows,
                shapes => shapes.iter().for_each(|shape| before[usize::from(*shape)] += 1),
            }
        }
        all
    }
}

impl ExtentStatistics {
    /// Appends all statistics of a block; nothing if there are none.
    pub(super) fn put_all(all: &[Self], times: &Times, out: &mut Vec<u8>) {
        if all.is_empty() {
            return;
        }
        put(out, all.len() as u64);
        let mut next = 0;
        for one in all {
            put(out, (one.extent - next) as u64);
            next = one.extent + 1;
            one.put(times, out);
        }
    }

    fn put(&self, times: &Times, out: &mut Vec<u8>) {
        put(out, self.shape as u64);
        put(out, times.number(self.first));
        put(out, times.number(self.last) - times.number(self.first));
        for column in &self.columns {
            let Some((samples, (high, low))) =
                column.as_ref().and_then(|samples| Some((samples, samples.sum()?)))
            else {
                put(out, 0);
                continue;
            };
            put(out, samples.count() + 1);
            let ends = [samples.first(), samples.last(), samples.min(), samples.max()];
            if samples.count() > 0 {
                out.extend([high, low].iter().flat_map(|part| part.to_le_bytes()));
            }
            for sample in ends.into_iter().flatten() {
                out.extend(sample.value.to_le_bytes());
                put(out, times.number(sample.at) - times.number(self.first));
            }
        }
    }

    /// Reads what [`put_all`](Self::put_all) wrote. `shapes` has the rows and the scalars of each shape.
    pub(super) fn read_all(
        header: &mut Reader<'_>,
        extents: impl Iterator<Item = usize>,
        shapes: &[(usize, usize)],
        times: &Times,
    ) -> Result<Vec<Self>, FormatError> {
        if header.0.is_empty() {
            return Ok(Vec::new());
        }
        let count = header.count(LEAST_COLUMN_BYTES)?;
        let (mut extents, mut all) = (extents.enumerate(), Vec::with_capacity(count));
        for _ in 0..count {
            let (extent, rows) = extents
                .nth(header.small()?)
                .ok_or(FormatError::Damaged("statistics belong to no record"))?;
            all.push(Self::read(header, (extent, rows), shapes, times)?);
        }
        if all.is_empty() { Err(damaged()) } else { Ok(all) }
    }

    fn read(
        header: &mut Reader<'_>,
        (extent, rows): (usize, usize),
        shapes: &[(usize, usize)],
        times: &Times,
    ) -> Result<Self, FormatError> {
        let shape: usize = header.small()?;
        let (_, scalars) =
            shapes.get(shape).filter(|(of_shape, _)| *of_shape >= rows).ok_or_else(damaged)?;
        let first = header.number()?;
        let last = first.checked_add(header.number()?).ok_or_else(damaged)?;
        let mut columns = Vec::with_capacity(*scalars);
        for _ in 0..*scalars {
            let count = header.number()?;
            let samples = match count.checked_sub(1) {
                None => None,
                Some(count) if count <= rows as u64 => {
                    Some(samples(header, count, rows as u64 - count, (first, last), times)?)
                }
                Some(_) => return Err(damaged()),
            };
            columns.push(samples);
        }
        let (first, last) = (times.time(first)?, times.time(last)?);
        Ok(Self { extent, shape, first, last, columns })
    }
}

fn damaged() -> FormatError {
    FormatError::Damaged("statistics do not add up")
}

fn samples(
    header: &mut Reader<'_>,
    count: u64,
    skipped: u64,
    (first, last): (u64, u64),
    times: &Times,
) -> Result<Partial, FormatError> {
    let samples = Partial::default().with_count(count).with_skipped(skipped);
    if count == 0 {
        return Ok(samples);
    }
    let (high, low) = (header.float()?, header.float()?);
    let mut sample = || -> Result<Sample, FormatError> {
        let value = header.float()?;
        let number = first.checked_add(header.number()?).filter(|number| *number <= last);
        Ok(Sample { value, at: times.time(number.ok_or_else(damaged)?)? })
    };
    let samples = samples.with_first(sample()?).with_last(sample()?);
    Ok(samples.with_min(sample()?).with_max(sample()?).with_sum(high, low))
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
        let least_rows = has.min().unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        ExtentStatistics::put_all(&source.statistics(least_rows), &self.times, &mut bytes);
        let shapes = self.shapes.iter().map(|shape| (shape.rows, shape.columns.len()));
        let shapes: Vec<(usize, usize)> = shapes.collect();
        let computed = ExtentStatistics::read_all(
            &mut Reader(&bytes),
            extents.iter().copied(),
            &shapes,
            &self.times,
        )?;
        let is_same = computed == self.statistics;
        if is_same { Ok(()) } else { Err(FormatError::Damaged("statistics contradict its rows")) }
    }

    /// The statistics of a member, as far as the block has them.
    pub(in super::super) fn statistics(&self, member: &Member) -> Vec<Statistics> {
        let scalars: Vec<Option<usize>> = self
            .shapes
            .iter()
            .map(|shape| shape.is_json.then(|| scalar(&shape.pieces, member)).flatten())
            .collect();
        let mut starts = Vec::with_capacity(self.extents.len());
        let mut start = 0;
        for (_, rows) in &self.extents {
            starts.push(start..start + rows);
            start += rows;
        }
        let statistics = self.statistics.iter().filter_map(|one| {
            let rows = starts.get(one.extent)?.clone();
            let samples = match scalars.get(one.shape)? {
                Some(scalar) => one.columns.get(*scalar)?.clone()?,
                None => Partial::default().with_skipped(rows.len() as u64),
            };
            Some(Statistics { rows, first: one.first, last: one.last, samples })
        });
        statistics.collect()
    }
}

//! Rows enter, statistics leave: the answer to an aggregate for a bucket that has all rows of one record in the
//! block, without reading its columns.

use std::ops::Range;

use annals_core::Predicate;
use annals_core::aggregate::{Member, Partial};

use super::FormatError;
use super::column::Column;
use super::decode::Packed;
use super::filter::Verdict;
use super::numbers::{ShapeNumbers, scalar};
use super::statistics::{ColumnStatistics, ExtentStatistics};

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

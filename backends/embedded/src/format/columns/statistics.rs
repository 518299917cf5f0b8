//! Statistics of the columns of a block, and their bytes.

use annals_core::aggregate::{Partial, Sample};

use super::FormatError;
use super::number::{to_f64, to_mantissa};
use super::times::Times;
use crate::format::varint::{Reader, put, put_step};

/// In place of a number of samples, plus 1: they have to be read.
const UNKNOWN: u64 = 0;

/// The fewest bytes of an extent's statistics.
const LEAST_BYTES: usize = 4;

/// Adjacent rows of one record that are all of one shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExtentStatistics {
    /// The number of the extent.
    pub(super) extent: usize,
    pub(super) rows: u64,
    pub(super) shape: usize,
    pub(super) first: u64,
    pub(super) last: u64,
    /// For each scalar of the shape its samples; `None` where they have to be read.
    pub(super) columns: Vec<Option<ColumnStatistics>>,
}

/// The samples of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ColumnStatistics {
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
    pub(super) fn of(samples: &Partial) -> Option<Self> {
        let sum = samples.sum()?;
        let ends = || {
            let (first, last) = (samples.first()?, samples.last()?);
            Some(Ends { sum, first, last, min: samples.min()?, max: samples.max()? })
        };
        Some(Self { count: samples.count(), ends: ends() })
    }

    /// The statistics of `rows` rows.
    pub(super) fn samples(&self, rows: u64) -> Partial {
        let partial = Partial::default().with_count(self.count).with_skipped(rows - self.count);
        let Some(Ends { sum: (high, low), first, last, min, max }) = self.ends else {
            return partial;
        };
        partial.with_sum(high, low).with_first(first).with_last(last).with_min(min).with_max(max)
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

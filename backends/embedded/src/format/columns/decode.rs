//! Bytes become shapes and columns, and these the rows.

use std::ops::Range;
use std::sync::OnceLock;

use super::super::varint::Reader;
use super::super::{FormatError, frame};
use super::column::{Column, Description};
use super::print::Printer;
use super::segment::Segment;
use super::statistics::{Context, ExtentStatistics};
use super::times::Times;
use super::{MOST_CELLS, MOST_ROWS, MOST_SCALARS, MOST_SHAPES, MOST_TEXT, SHORT, VERSION};
use crate::ids::RecordId;

/// Text is printed for this many rows at once, when one of them is asked for.
const PRINTED_ROWS: usize = 32;

/// A block whose header was read and whose columns were not.
#[derive(Debug)]
pub(in super::super) struct Packed<'a> {
    pub(super) rows: usize,
    text_bytes: usize,
    /// The record and the rows of each.
    pub(super) extents: Vec<(RecordId, usize)>,
    pub(super) times: Times,
    numbers: Segment<'a>,
    shape_of: Option<Segment<'a>>,
    pub(super) shapes: Vec<PackedShape<'a>>,
    pub(super) statistics: Vec<ExtentStatistics>,
}

#[derive(Debug)]
pub(super) struct PackedShape<'a> {
    pub(super) pieces: Vec<Box<str>>,
    pub(super) is_json: bool,
    pub(super) rows: usize,
    pub(super) columns: Vec<Description<'a>>,
}

impl<'a> Packed<'a> {
    pub(in super::super) fn read(block: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader(block);
        if reader.byte()? != VERSION {
            return Err(FormatError::Damaged("it has another version"));
        }
        let length: usize = reader.small()?;
        let (header, bytes) =
            reader.0.split_at_checked(length).ok_or(FormatError::Damaged("it ends too early"))?;
        frame::decompress(header, |content| Self::read_header(Reader(content), bytes))
    }

    fn read_header(mut header: Reader<'_>, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let wrong = || FormatError::Damaged("its rows do not add up");
        let rows: usize = header.small()?;
        let text_bytes: usize = header.small()?;
        if rows == 0 || rows > MOST_ROWS || text_bytes > MOST_TEXT {
            return Err(FormatError::Damaged("it is larger than a block can be"));
        }
        let count = header.count(2)?;
        let mut extents = Vec::with_capacity(count);
        let (mut record, mut left) = (0, rows);
        for _ in 0..count {
            record = header.step(record)?;
            let extent: usize = header.small()?;
            left = left.checked_sub(extent).filter(|_| extent > 0).ok_or_else(wrong)?;
            let id = RecordId::try_from(record);
            extents
                .push((id.map_err(|_| FormatError::Damaged("a record has no such id"))?, extent));
        }
        if left > 0 {
            return Err(wrong());
        }
        let times = Times { base: header.number()?, unit: header.number()? };
        let mut segments = Segment::divide(&mut header, bytes)?.into_iter();
        let mut next = || segments.next().ok_or(FormatError::Damaged("a column is missing"));
        let numbers = next()?;
        let count = header.count(1)?;
        if count == 0 || count > MOST_SHAPES {
            return Err(FormatError::Damaged("it has no shape, or too many"));
        }
        let shape_of = if count > 1 { Some(next()?) } else { None };
        let mut shapes = Vec::with_capacity(count);
        for _ in 0..count {
            shapes.push(PackedShape::read(&mut header, &mut segments)?);
        }
        let all: usize = shapes.iter().map(|shape| shape.rows).sum();
        let cells: usize = shapes.iter().map(|shape| shape.rows * shape.columns.len()).sum();
        if cells > MOST_CELLS {
            return Err(FormatError::Damaged("it has more columns than a block can have"));
        }
        if all != rows || segments.next().is_some() {
            return Err(wrong());
        }
        let statistics = if header.0.is_empty() {
            Vec::new()
        } else {
            let of_extents: Vec<usize> = extents.iter().map(|(_, rows)| *rows).collect();
            let of_shapes: Vec<(usize, Vec<u8>)> = shapes
                .iter()
                .map(|shape| (shape.rows, shape.columns.iter().map(Description::scale).collect()))
                .collect();
            let context = Context { extents: &of_extents, shapes: &of_shapes, times };
            ExtentStatistics::read_all(&mut header, &context)?
        };
        if !header.0.is_empty() {
            return Err(wrong());
        }
        Ok(Self { rows, text_bytes, extents, times, numbers, shape_of, shapes, statistics })
    }

    /// Reads the times.
    pub(super) fn times(&self) -> Result<Vec<u64>, FormatError> {
        let Times { base, unit } = self.times;
        let mut times: Vec<u64> = self.numbers.numbers(self.rows)?;
        self.times.time(times.iter().max().copied().unwrap_or(0))?;
        times.iter_mut().for_each(|time| *time = *time * unit + base);
        Ok(times)
    }

    /// The shape of each row, and the number of its rows before; both empty if there is one shape.
    pub(super) fn shape_of(&self) -> Result<(Vec<u16>, Vec<u32>), FormatError> {
        let Some(segment) = self.shape_of else { return Ok(Default::default()) };
        let shape_of: Vec<u16> = segment.numbers(self.rows)?;
        let mut counts = vec![0; self.shapes.len()];
        let mut ranks = Vec::with_capacity(self.rows);
        for shape in &shape_of {
            let count = counts
                .get_mut(usize::from(*shape))
                .ok_or(FormatError::Damaged("a row has no such shape"))?;
            ranks.push(*count);
            *count += 1;
        }
        let is_sound =
            self.shapes.iter().zip(&counts).all(|(shape, count)| shape.rows == *count as usize);
        if is_sound {
            Ok((shape_of, ranks))
        } else {
            Err(FormatError::Damaged("its rows do not add up"))
        }
    }

    /// The rows of an extent.
    pub(super) fn rows_of_extent(&self, extent: usize) -> Option<Range<usize>> {
        let start = self.extents.get(..extent)?.iter().map(|(_, rows)| rows).sum();
        Some(start..start + self.extents.get(extent)?.1)
    }

    /// Reads everything.
    pub(in super::super) fn decode(
        &self,
    ) -> Result<(Vec<RecordId>, Vec<u64>, Columns), FormatError> {
        let mut records = Vec::with_capacity(self.rows);
        for (record, rows) in &self.extents {
            records.extend(std::iter::repeat_n(*record, *rows));
        }
        let (shape_of, ranks) = self.shape_of()?;
        // Numbers print at most a few times the memory they take; all other text is counted.
        let mut text = 0usize;
        let mut shapes = Vec::with_capacity(self.shapes.len());
        for PackedShape { pieces, is_json, rows, columns } in &self.shapes {
            let between: usize = pieces.iter().map(|piece| piece.len()).sum();
            text = text.saturating_add(between.saturating_mul(*rows));
            let columns = columns.iter().map(|column| column.decode(self.text_bytes));
            let columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
            let of_columns = columns.iter().map(|column| column.text_bytes(*rows));
            text = of_columns.fold(text, usize::saturating_add);
            let printer = Printer::new(pieces, &columns);
            let pieces = pieces.clone();
            let (is_json, rows, tree) = (*is_json, *rows, OnceLock::new());
            shapes.push(Shape { pieces, printer, tree, is_json, rows, columns });
        }
        if text > self.text_bytes {
            return Err(FormatError::Damaged("it has more text than it says"));
        }
        let chunks = self.rows.div_ceil(PRINTED_ROWS);
        let columns = Columns {
            rows: self.rows,
            text_bytes: self.text_bytes,
            shape_of,
            ranks,
            shapes,
            printed: (0..chunks).map(|_| OnceLock::new()).collect(),
        };
        Ok((records, self.times()?, columns))
    }
}

impl<'a> PackedShape<'a> {
    fn read(
        header: &mut Reader<'_>,
        segments: &mut impl Iterator<Item = Segment<'a>>,
    ) -> Result<Self, FormatError> {
        let is_json = match header.byte()? {
            0 => false,
            1 => true,
            _ => return Err(FormatError::Damaged("a shape is of no kind")),
        };
        let rows: usize = header.small()?;
        let scalars: usize = header.small()?;
        if rows == 0 || rows > MOST_ROWS || scalars == 0 || scalars > MOST_SCALARS {
            return Err(FormatError::Damaged("a shape is empty or too large"));
        }
        let mut pieces = Vec::with_capacity(scalars + 1);
        for _ in 0..=scalars {
            pieces.push(header.text()?.into());
        }
        let columns = (0..scalars).map(|_| Description::read(header, segments, rows));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self { pieces, is_json, rows, columns })
    }
}

/// Columns that were read. They print the text of rows when it is asked for.
#[derive(Debug, Clone)]
pub(in super::super) struct Columns {
    rows: usize,
    text_bytes: usize,
    /// For each row its shape, and how many rows of that shape come before; empty if there is one shape.
    pub(super) shape_of: Vec<u16>,
    pub(super) ranks: Vec<u32>,
    pub(super) shapes: Vec<Shape>,
    printed: Box<[OnceLock<Printed>]>,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) pieces: Vec<Box<str>>,
    printer: Printer,
    /// For typed reads.
    pub(super) tree: OnceLock<Option<annals_core::page::Shape>>,
    pub(super) is_json: bool,
    pub(super) rows: usize,
    pub(super) columns: Vec<Column>,
}

/// The text of some rows.
#[derive(Debug, Clone)]
struct Printed {
    ends: Vec<usize>,
    text: String,
}

impl Columns {
    /// The text of a row.
    pub(in super::super) fn json(&self, row: usize) -> &str {
        let (chunk, at) = (row / PRINTED_ROWS, row % PRINTED_ROWS);
        let Printed { ends, text } = self.printed[chunk].get_or_init(|| self.print(chunk));
        let start = if at == 0 { 0 } else { ends[at - 1] };
        text.get(start..ends[at]).unwrap_or_default()
    }

    fn print(&self, chunk: usize) -> Printed {
        let rows = chunk * PRINTED_ROWS..((chunk + 1) * PRINTED_ROWS).min(self.rows);
        let bytes = rows.len() * (self.text_bytes / self.rows + 8) + SHORT;
        let mut text = Vec::with_capacity(bytes);
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            self.print_row(row, &mut text);
            ends.push(text.len());
        }
        // All parts are UTF-8.
        Printed { ends, text: String::from_utf8(text).unwrap_or_default() }
    }

    /// The shape of a row, and its position among the rows of that.
    #[inline]
    pub(super) fn place(&self, row: usize) -> (usize, usize) {
        match self.shape_of.get(row) {
            None => (0, row),
            Some(shape) => (usize::from(*shape), self.ranks[row] as usize),
        }
    }

    /// Appends the text of a row.
    #[inline]
    pub(in super::super) fn print_row(&self, row: usize, text: &mut Vec<u8>) {
        let (shape, at) = self.place(row);
        let Shape { printer, columns, .. } = &self.shapes[shape];
        printer.print(columns, at, text);
    }

    pub(in super::super) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Its memory in bytes, with all text printed.
    pub(in super::super) fn memory(&self) -> usize {
        let columns = self.shapes.iter().flat_map(|shape| &shape.columns);
        let columns: usize = columns.map(Column::memory).sum();
        columns + self.text_bytes + self.rows * (size_of::<usize>() + 6)
    }
}
